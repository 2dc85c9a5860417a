"""How round a candidate is: sphericity from a surface area that holds on any grid."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import SphericalVoronoi

# One of each pair of opposite neighbours among the 26 (z, y, x).
STEPS = tuple((z, y, x) for z in (0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1) if (z, y, x) > (0, 0, 0))


def sphericity(mask_zyx: NDArray[np.bool_], spacing_zyx_mm: tuple[float, float, float]) -> float:
    """Surface of the sphere of the same volume divided by the mask's own: 1 for a ball, less for anything else.

    After Wadell (J. Geology 43, 1935). A shape of a few voxels cannot be told from a ball and gives 1, and so does an
    empty one.
    """
    volume_mm3 = np.count_nonzero(mask_zyx) * float(np.prod(spacing_zyx_mm))
    if volume_mm3 == 0:
        return 1.0
    ball_mm2 = np.pi ** (1 / 3) * (6 * volume_mm3) ** (2 / 3)
    return float(min(1.0, ball_mm2 / surface_mm2(mask_zyx, spacing_zyx_mm)))


def surface_mm2(mask_zyx: NDArray[np.bool_], spacing_zyx_mm: tuple[float, float, float]) -> float:
    """Surface area by Crofton's formula: four times the mean, over all directions, of what parallel lines cut.

    The lines run along the 13 directions to a voxel's neighbours. Each direction counts as much as it has of the
    sphere of directions, which depends on the spacing (Lehmann and Legland, Insight Journal 2012; Ohser and Muecklich,
    Statistical Analysis of Microstructures, 2000). Unlike the area of voxel faces or of a triangle mesh it does not
    grow with the staircase of the voxels.
    """
    mask = np.pad(mask_zyx, 1)
    steps_mm = np.asarray(STEPS) * np.asarray(spacing_zyx_mm)
    line_mm2 = float(np.prod(spacing_zyx_mm)) / np.linalg.norm(steps_mm, axis=1)  # area that belongs to one line
    # A line is in the mask as often as it leaves it.
    left = [np.count_nonzero(mask & ~np.roll(mask, step, axis=(0, 1, 2))) for step in STEPS]
    return float(4 * np.sum(_shares(tuple(spacing_zyx_mm)) * line_mm2 * left))


@functools.lru_cache(maxsize=64)
def _shares(spacing_zyx_mm: tuple[float, ...]) -> NDArray[np.float64]:
    """Share of all directions that are nearest to each of the steps or its opposite."""
    towards = np.asarray(STEPS) * np.asarray(spacing_zyx_mm)
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    areas = SphericalVoronoi(np.concatenate([towards, -towards])).calculate_areas()
    shares: NDArray[np.float64] = (areas[: len(STEPS)] + areas[len(STEPS) :]) / areas.sum()
    return shares
