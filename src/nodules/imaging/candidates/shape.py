"""How a candidate looks: how round, from a surface area that holds on any grid; how solid; how spiculated."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import SphericalVoronoi

# One of each pair of opposite neighbours among the 26 (z, y, x).
STEPS = tuple((z, y, x) for z in (0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1) if (z, y, x) > (0, 0, 0))

SOLID_HU = -300.0  # Scholten et al., Eur Radiol 2015; 25: 488-496: best agreement of software with radiologists
# Nearer than 2 mm the blurred edge is brighter than any strand; farther than 5 mm the lung's vessels are met.
SHELL_MM = (2.0, 5.0)
STRAND_PERCENT = 5.0  # a vessel that leaves a nodule takes less of the shell than this, the strands around it more
MIN_SHELL_VOXELS = 20
MIN_CONTRAST_HU = 50.0  # fainter than that against the lung, a nodule shows no margin to speak of


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


def solid_share(hu: NDArray[np.float64]) -> float:
    """Share of a nodule's voxels (N,) above `SOLID_HU`; about 0 for ground glass."""
    return float(np.mean(hu > SOLID_HU))


def spiculation(
    hu_zyx: NDArray[np.int16],
    nodule_zyx: NDArray[np.bool_],
    lung_zyx: NDArray[np.bool_],
    spacing_zyx_mm: tuple[float, float, float],
) -> float:
    """How far bright strands stand out around a nodule: 0 for a smooth margin, seldom above 0.3.

    Spiculation is strands that radiate from the margin into the lung (Hansell et al., Fleischner Society glossary,
    Radiology 2008; 246: 697-722). They are thinner than a voxel and leave no trace in the outline, but they brighten
    some of the lung around it: the HU in the shell `SHELL_MM` outside the outline are then skewed upwards. Measured is
    the brightest twentieth's distance to the median less that of the darkest twentieth, so that noise, which is
    symmetric, cancels, relative to the contrast between nodule and lung.

    Parameters
    ----------
    hu_zyx : (Z, Y, X) ndarray of int16
        The nodule and at least `SHELL_MM` around it, or as much of that as the scan has.
    nodule_zyx, lung_zyx : (Z, Y, X) ndarray of bool
        The outline, not empty; where the shell may lie.
    spacing_zyx_mm : tuple of float
        Spacing of the grid.

    Returns
    -------
    float
        From 0 to 1; 0 where too little lung lies around the nodule or it hardly stands out.
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
