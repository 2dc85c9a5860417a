"""Shape measures of a candidate: sphericity, surface area, share of solid voxels and spiculation."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import SphericalVoronoi

# One of each pair of opposite steps (z, y, x) to the 26 neighbours.
STEPS = tuple((z, y, x) for z in (0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1) if (z, y, x) > (0, 0, 0))

SOLID_HU = -300.0  # Scholten et al., Eur Radiol 2015; 25: 488-496: best agreement between software and radiologists
# Closer than 2 mm, the blurred edge is brighter than any strand; beyond 5 mm lie vessels of the lung.
SHELL_MM = (2.0, 5.0)
STRAND_PERCENT = 5.0  # vessels attached to a nodule fill less of the shell than this; strands fill more
MIN_SHELL_VOXELS = 20
MIN_CONTRAST_HU = 50.0  # below this contrast to the lung, the margin of a nodule cannot be assessed


def sphericity(mask_zyx: NDArray[np.bool_], spacing_zyx_mm: tuple[float, float, float]) -> float:
    """Surface area of the ball of the same volume divided by that of the mask: 1 for a ball, less for other shapes.

    The definition is Wadell's (J. Geology 43, 1935). Shapes of a few voxels cannot be distinguished from a ball and
    give 1, as do empty masks.
    """
    volume_mm3 = np.count_nonzero(mask_zyx) * float(np.prod(spacing_zyx_mm))
    if volume_mm3 == 0:
        return 1.0
    ball_mm2 = np.pi ** (1 / 3) * (6 * volume_mm3) ** (2 / 3)
    return float(min(1.0, ball_mm2 / surface_mm2(mask_zyx, spacing_zyx_mm)))


def solid_share(hu: NDArray[np.float64]) -> float:
    """Share of a nodule's voxels (N,) above `SOLID_HU`; about 0 for ground glass."""
    return float(np.mean(hu > SOLID_HU))


def spiculation(
    hu_zyx: NDArray[np.int16],
    nodule_zyx: NDArray[np.bool_],
    lung_zyx: NDArray[np.bool_],
    spacing_zyx_mm: tuple[float, float, float],
) -> float:
    """Measure the brightness of strands around a nodule: 0 for a smooth margin, rarely above 0.3.

    Spiculation means strands that radiate from the margin into the lung (Hansell et al., Fleischner Society glossary,
    Radiology 2008; 246: 697-722). Strands are thinner than a voxel and do not appear in the outline, but they brighten
    some of the lung around it. The HU in the shell `SHELL_MM` outside the outline are then skewed upwards. With the
    95th, 50th and 5th percentiles of these HU, the measure is ((p95 - p50) - (p50 - p5)) / contrast between nodule and
    lung. Noise is symmetric and cancels.

    Parameters
    ----------
    hu_zyx : (Z, Y, X) ndarray of int16
        HU of the nodule and at least `SHELL_MM` around it, or as much of that as the scan contains.
    nodule_zyx, lung_zyx : (Z, Y, X) ndarray of bool
        Non-empty mask of the outline, and mask of the lung to which the shell is restricted.
    spacing_zyx_mm : tuple of float
        Spacing of the grid.

    Returns
    -------
    float
        From 0 to 1. It is 0 if there is too little lung around the nodule or too little contrast.
    """
    distance_mm = ndimage.distance_transform_edt(~nodule_zyx, spacing_zyx_mm)
    around = hu_zyx[lung_zyx & (distance_mm > SHELL_MM[0]) & (distance_mm <= SHELL_MM[1])]
    if around.size < MIN_SHELL_VOXELS:
        return 0.0
    dark, median, bright = np.percentile(around, [STRAND_PERCENT, 50.0, 100.0 - STRAND_PERCENT])
    contrast = float(hu_zyx[nodule_zyx].mean()) - median
    if contrast < MIN_CONTRAST_HU:
        return 0.0
    return float(np.clip(((bright - median) - (median - dark)) / contrast, 0.0, 1.0))


def surface_mm2(mask_zyx: NDArray[np.bool_], spacing_zyx_mm: tuple[float, float, float]) -> float:
    """Surface area by Crofton's formula, from the number of intersections with parallel lines.

    The lines run along the 13 directions to a voxel's neighbours. Each direction is weighted by its share of the sphere
    of directions, which depends on the spacing (Lehmann and Legland, Insight Journal 2012; Ohser and Muecklich,
    Statistical Analysis of Microstructures, 2000). Unlike the area of voxel faces or of a triangle mesh, the result is
    not biased by the staircase shape of the voxels.
    """
    mask = np.pad(mask_zyx, 1)
    steps_mm = np.asarray(STEPS) * np.asarray(spacing_zyx_mm)
    line_mm2 = float(np.prod(spacing_zyx_mm)) / np.linalg.norm(steps_mm, axis=1)  # area per line
    # A line enters the mask as often as it leaves it.
    left = [np.count_nonzero(mask & ~np.roll(mask, step, axis=(0, 1, 2))) for step in STEPS]
    return float(4 * np.sum(_shares(tuple(spacing_zyx_mm)) * line_mm2 * left))


@functools.lru_cache(maxsize=64)
def _shares(spacing_zyx_mm: tuple[float, ...]) -> NDArray[np.float64]:
    """Share of all directions that are closest to each step or its opposite."""
    towards = np.asarray(STEPS) * np.asarray(spacing_zyx_mm)
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    areas = SphericalVoronoi(np.concatenate([towards, -towards])).calculate_areas()
    shares: NDArray[np.float64] = (areas[: len(STEPS)] + areas[len(STEPS) :]) / areas.sum()
    return shares
