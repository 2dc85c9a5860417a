"""Settings of a training that takes a moment: two filters, patches of 8 or 16 pixels, nothing varied."""

from __future__ import annotations

from nodules.models.unet.network import UNetParams
from nodules.models.unet.sampling import SamplingParams
from nodules.models.unet.training import TrainingParams

SAMPLING = SamplingParams(
    patch_px=8,
    nodule_share=1.0,
    hard_share=0.0,
    jitter_px=0,
    warped_share=0.0,
    flattened_share=0.0,
    scale=(1.0, 1.0),
    hu_shift=0.0,
    hu_noise=0.0,
    balance_diameters=False,
)
TRAINING = TrainingParams(
    epochs=2,
    steps_per_epoch=3,
    batch_size=4,
    patience=2,
    learning_rate=0.01,
    warmup_share=0.0,
    ema_momentum=0.0,
    cross_entropy_weight=1.0,
    focal_gamma=0.0,
    validation_patches=4,
    precision="float32",
    start_from=None,
    mining_epochs=[],
    network=UNetParams(filters=2, depth=1, stem_stride=1, normalisation="none", residual=False),
    sampling=SAMPLING,
)
