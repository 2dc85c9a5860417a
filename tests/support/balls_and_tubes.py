"""Bright balls and bright tubes in noise: the smallest task that a reducer must master."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nodules.imaging.network_input.cube import CubeParams
from nodules.models.false_positive_reduction.network import CubeNetworkParams
from nodules.models.false_positive_reduction.sampling import VariationParams, size_with_margin_px
from nodules.models.false_positive_reduction.training import FalsePositiveReductionParams
from nodules.models.false_positive_reduction.training_cubes import CubeSet

REDUCTION = FalsePositiveReductionParams(
    epochs=4,
    steps_per_epoch=12,
    batch_size=16,
    learning_rate=5.0e-3,
    listed_negatives=0,
    cube=CubeParams(20.0, 12, (-1000.0, 400.0)),
    network=CubeNetworkParams(filters=4, dropout=0.1),
    variation=VariationParams(jitter_mm=1.0, scale=(0.9, 1.1), hu_shift=10.0, hu_noise=10.0),
)
WIDE_PX = size_with_margin_px(REDUCTION.cube, REDUCTION.variation)


def ball_or_tube(is_ball: bool, random: np.random.Generator, size_px: int = WIDE_PX) -> NDArray[np.int16]:
    """HU of a cube with a ball in its middle, or a tube of the same thickness through it in any direction."""
    step_mm, radius_mm = REDUCTION.cube.step_mm, random.uniform(2.5, 5.0)
    places = np.stack(np.indices((size_px,) * 3) - (size_px - 1) / 2, axis=-1) * step_mm
    axis = random.standard_normal(3)
    axis /= np.linalg.norm(axis)
    along = 0 if is_ball else (places @ axis)[..., None] * axis
    inside = np.linalg.norm(places - along, axis=-1) <= radius_mm
    hu = np.where(inside, 20, -850) + random.normal(0, 25, inside.shape)
    return np.rint(hu).astype(np.int16)


def cube_set(count: int, seed: int, size_px: int = WIDE_PX) -> CubeSet:
    """As many balls as tubes, in turn."""
    random = np.random.default_rng(seed)
    is_ball = np.arange(count) % 2 == 0
    return CubeSet(np.stack([ball_or_tube(bool(ball), random, size_px) for ball in is_ball]), is_ball)
