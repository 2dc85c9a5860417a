"""Balls of two sizes as rated nodules, and settings of a training that takes seconds."""

from __future__ import annotations

import numpy as np

from nodules.imaging.network_input.cube import CubeParams
from nodules.models.malignancy.network import TARGETS, RatingNetworkParams
from nodules.models.malignancy.rated_cubes import RatedCubes, RatingVariationParams, targets
from nodules.models.malignancy.training import MalignancyParams

SMALL_PX, LARGE_PX = 2.0, 4.5
PARAMS = MalignancyParams(
    networks=2,
    epochs=4,
    steps_per_epoch=6,
    batch_size=8,
    learning_rate=0.01,
    weight_decay=0.001,
    other_scores_weight=0.3,
    mask_weight=1.0,
    flips=2,
    cube=CubeParams(32.0, 16, (-1000.0, 300.0)),
    network=RatingNetworkParams(2, 0.0),
    variation=RatingVariationParams(jitter_mm=2.0, hu_shift=10.0, hu_noise=10.0),
)


def rated_balls(count: int, margin_px: int = 1, seed: int = 1) -> RatedCubes:
    """Bright balls on dark ground; every other one is large and rated 4.5, the others are small and rated 1.5."""
    size = PARAMS.cube.size_px + 2 * margin_px
    random = np.random.default_rng(seed)
    offset = np.moveaxis(np.indices((size,) * 3), 0, -1) - (size - 1) / 2
    large = np.arange(count) % 2 == 0
    radii = np.where(large, LARGE_PX, SMALL_PX)
    masks = np.linalg.norm(offset, axis=-1) <= radii[:, None, None, None]
    hu = np.where(masks, 100, random.integers(-900, -700, masks.shape)).astype(np.int16)
    scores = [dict.fromkeys(TARGETS[1:-1], 3.0) | {"malignancy": 4.5 if one else 1.5} for one in large]
    diameters_mm = 2 * radii * PARAMS.cube.step_mm
    return RatedCubes(hu, masks.astype(np.uint8) * 100, targets(scores, diameters_mm))
