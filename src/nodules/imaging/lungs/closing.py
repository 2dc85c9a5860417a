"""Morphological closing of the lungs: includes vessels and pleural nodules, excludes the large airways."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull

from nodules.imaging.geometry import morphology
from nodules.imaging.lungs.sides import LEFT, RIGHT

MIN_CALIBRE_MM = 8.0  # narrower bronchi lie inside the lung and count as lung
RING_MM = 5.0
MAX_LUNG_SHARE = 0.5  # of the ring around an airway section; above it, the section is a bronchus inside the lung
WALL_MM = 4.0  # voxels up to this depth below the convex hull of both lungs are at the chest wall
MIN_WALL_SHARE = 0.9  # share of a bay's opening that must be at the chest wall
ROUNDING = 1e-9


def close_lungs(
    labels_zyx: NDArray[np.uint8],
    airways_zyx: NDArray[np.bool_],
    spacing_zyx_mm: tuple[float, float, float],
    closing_mm: float,
    costal_closing_mm: float,
) -> NDArray[np.uint8]:
    """Close each lung in each slice and remove the trachea and the main bronchi.

    Parameters
    ----------
    labels_zyx : (Z, Y, X) ndarray of uint8
        Air-filled lung: 1 right, 2 left.
    airways_zyx : (Z, Y, X) ndarray of bool
        Airways of any size.
    spacing_zyx_mm : tuple of float
        Spacing of the grid.
    closing_mm : float
        Closing radius everywhere.
    costal_closing_mm : float
        Closing radius for bays that open to the chest wall rather than to the mediastinum.

    Returns
    -------
    (Z, Y, X) ndarray of uint8
        0 background, 1 right lung, 2 left lung.
    """
    sides = {side: morphology.close(labels_zyx == side, spacing_zyx_mm, closing_mm) for side in (RIGHT, LEFT)}
    if costal_closing_mm > closing_mm:
        at_wall = _at_wall(sides[RIGHT] | sides[LEFT], spacing_zyx_mm)
        for side, lung in sides.items():
            sides[side] = lung | _costal_bays(lung, at_wall, spacing_zyx_mm, costal_closing_mm)
    right, left = sides[RIGHT] & (labels_zyx != LEFT), sides[LEFT] & (labels_zyx != RIGHT)
    whole = np.where(right, RIGHT, np.where(left, LEFT, 0)).astype(np.uint8)
    whole[right & left] = 0
    whole[_large_airways(airways_zyx, whole > 0, spacing_zyx_mm)] = 0
    return whole


def _at_wall(lungs_zyx: NDArray[np.bool_], spacing_zyx_mm: tuple[float, float, float]) -> NDArray[np.bool_]:
    """Voxels at most `WALL_MM` below the convex hull of both lungs in each slice, or outside the hull."""
    at_wall = np.ones_like(lungs_zyx)
    if lungs_zyx.any():
        box = morphology.bounding_box(lungs_zyx)
        hull = np.pad(np.stack([_hull(plane) for plane in lungs_zyx[box]]), ((0, 0), (1, 1), (1, 1)))
        at_wall[box] = morphology.dilate(~hull, spacing_zyx_mm, WALL_MM)[:, 1:-1, 1:-1]
    return at_wall


def _hull(plane: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels whose centre lies in the convex hull of one slice's mask, whose pixels count as squares."""
    rows = np.flatnonzero(plane.any(axis=1))
    if not rows.size:
        return plane
    first, last = plane[rows].argmax(axis=1), plane.shape[1] - 1 - plane[rows, ::-1].argmax(axis=1)
    corners = [(y, x) for y in (rows - 0.5, rows + 0.5) for x in (first - 0.5, last + 0.5)]
    along_y, along_x, offset = ConvexHull(np.concatenate([np.stack(corner, axis=1) for corner in corners])).equations.T
    slanted = np.abs(along_x) > ROUNDING  # the other edges only bound the rows
    y = np.arange(rows[0], rows[-1] + 1)[:, np.newaxis]
    bounds = -(along_y[slanted] * y + offset[slanted]) / along_x[slanted]
    low = np.where(along_x[slanted] < 0, bounds, -np.inf).max(axis=1, keepdims=True)
    high = np.where(along_x[slanted] > 0, bounds, np.inf).min(axis=1, keepdims=True)
    x = np.arange(plane.shape[1])
    hull = np.zeros_like(plane)
    hull[rows[0] : rows[-1] + 1] = (x >= low - ROUNDING) & (x <= high + ROUNDING)
    return hull


def _costal_bays(
    lung_zyx: NDArray[np.bool_],
    at_wall_zyx: NDArray[np.bool_],
    spacing_zyx_mm: tuple[float, float, float],
    radius_mm: float,
) -> NDArray[np.bool_]:
    """Bays of one lung that open to the chest wall."""
    bays, _ = ndimage.label(morphology.close(lung_zyx, spacing_zyx_mm, radius_mm) & ~lung_zyx, morphology.IN_PLANE)
    open_to_wall = morphology.share_of_surroundings(bays, at_wall_zyx, ~lung_zyx, steps=1) >= MIN_WALL_SHARE
    return open_to_wall[bays] & (bays > 0)


def _large_airways(
    airways_zyx: NDArray[np.bool_], lungs_zyx: NDArray[np.bool_], spacing_zyx_mm: tuple[float, float, float]
) -> NDArray[np.bool_]:
    """Airway sections that are wide and not surrounded by lung."""
    large = np.zeros_like(airways_zyx)
    if not airways_zyx.any():
        return large
    steps = round(RING_MM / spacing_zyx_mm[2]) or 1
    box = morphology.bounding_box(airways_zyx, (0, steps + 1, steps + 1))
    airways = airways_zyx[box]
    core = morphology.erode(airways, spacing_zyx_mm, MIN_CALIBRE_MM / 2)
    wide = airways & morphology.dilate(core, spacing_zyx_mm, MIN_CALIBRE_MM / 2)
    sections, _ = ndimage.label(wide, morphology.IN_PLANE)
    in_mediastinum = morphology.share_of_surroundings(sections, lungs_zyx[box], ~airways, steps) <= MAX_LUNG_SHARE
    large[box] = in_mediastinum[sections] & wide
    return large
