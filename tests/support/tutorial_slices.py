"""Slices with two lungs far enough from each other and from the skin for the tutorial's pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nodules.imaging.geometry.volume import Volume
from nodules.tutorial.steps.defects import TutorialDefects
from nodules.tutorial.steps.settings import TutorialParams

SIZE_PX = 256
BODY_RADII_PX, LUNG_RADII_PX = (90, 115), (45, 32)
LUNG_CENTRES_YX = ((120, 83), (120, 173))
AIR_HU, TISSUE_HU, LUNG_HU = -1000, 40, -850


def tutorial_params(size_px: int = 64, nodules: str = "largest", **defects: bool) -> TutorialParams:
    return TutorialParams(
        nodules=nodules,
        size_px=size_px,
        window_hu=(-1000.0, 400.0),
        max_lung_hu=-400.0,
        min_probability=0.5,
        defects=TutorialDefects(**defects),
    )


def chest_slice(lung_hu: int = LUNG_HU, scale: float = 1.0, noise_hu: float = 20.0, seed: int = 0) -> NDArray[np.int16]:
    """A slice of 256 x 256; `scale` makes the lungs smaller, 0 leaves them out."""
    plane = np.full((SIZE_PX, SIZE_PX), AIR_HU, dtype=float)
    plane[ellipse((128, 128), BODY_RADII_PX)] = TISSUE_HU
    plane[true_lungs(scale)] = lung_hu
    plane += np.random.default_rng(seed).normal(0, noise_hu, plane.shape) if noise_hu else 0
    return np.rint(plane).astype(np.int16)


def true_lungs(scale: float = 1.0) -> NDArray[np.bool_]:
    if not scale:
        return np.zeros((SIZE_PX, SIZE_PX), dtype=bool)
    first, second = (ellipse(centre, tuple(scale * r for r in LUNG_RADII_PX)) for centre in LUNG_CENTRES_YX)
    return first | second


def chest(*planes: NDArray[np.int16], spacing_zyx_mm: tuple[float, float, float] = (2.5, 0.75, 0.75)) -> Volume:
    return Volume(np.stack(planes), spacing_zyx_mm)


def ellipse(centre_yx: tuple[float, float], radii_yx: tuple[float, ...]) -> NDArray[np.bool_]:
    y, x = np.ogrid[:SIZE_PX, :SIZE_PX]
    return ((y - centre_yx[0]) / radii_yx[0]) ** 2 + ((x - centre_yx[1]) / radii_yx[1]) ** 2 <= 1
