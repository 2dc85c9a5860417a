"""From air-filled lung to whole lung: with its vessels and the nodules on its wall, without the large airways."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import convex_hull_image

from nodules.imaging import in_plane
from nodules.imaging.lung_sides import LEFT, RIGHT

MIN_CALIBRE_MM = 8.0  # narrower bronchi run inside the lung and are part of it
RING_MM = 5.0
MAX_LUNG_SHARE = 0.5  # of the ring around a section of airway; with more it is a bronchus inside the lung
WALL_MM = 4.0  # depth under the convex hull of both lungs up to which a bay opens to the chest wall
MIN_WALL_SHARE = 0.9  # of the mouth of such a bay


def whole_lungs(
    labels_zyx: NDArray[np.uint8],
    airways_zyx: NDArray[np.bool_],
    spacing_zyx_mm: tuple[float, float, float],
    closing_mm: float,
    costal_closing_mm: float,
) -> NDArray[np.uint8]:
    """Close each lung in each slice and cut out trachea and main bronchi.

    Parameters
    ----------
    labels_zyx : (Z, Y, X) ndarray of uint8
        Air of the lungs: 1 right, 2 left.
    airways_zyx : (Z, Y, X) ndarray of bool
        Airways of any size.
    spacing_zyx_mm : tuple of float
        Spacing of the grid.
    closing_mm : float
        Radius of the closing everywhere.
    costal_closing_mm : float
        Radius of the closing for bays that open to the chest wall and not to the mediastinum.

    Returns
    -------
    (Z, Y, X) ndarray of uint8
        0 background, 1 right lung, 2 left lung.
    """
    sides = {side: in_plane.close(labels_zyx == side, spacing_zyx_mm, closing_mm) for side in (RIGHT, LEFT)}
    if costal_closing_mm > closing_mm:
        hull_depth_mm = _hull_depth_mm(sides[RIGHT] | sides[LEFT], spacing_zyx_mm)
        for side, lung in sides.items():
            sides[side] = lung | _costal_bays(lung, hull_depth_mm, spacing_zyx_mm, costal_closing_mm)
    right, left = sides[RIGHT] & (labels_zyx != LEFT), sides[LEFT] & (labels_zyx != RIGHT)
    whole = np.where(right, RIGHT, np.where(left, LEFT, 0)).astype(np.uint8)
    whole[right & left] = 0
    whole[_large_airways(airways_zyx, whole > 0, spacing_zyx_mm)] = 0
    return whole


def _hull_depth_mm(lungs_zyx: NDArray[np.bool_], spacing_zyx_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    """Depth under the convex hull of both lungs in each slice; 0 outside."""
    depth_mm = np.zeros(lungs_zyx.shape)
    if lungs_zyx.any():
        box = in_plane.bounding_box(lungs_zyx)
        hull = [_hull(plane) for plane in lungs_zyx[box]]
        padded = np.pad(np.stack(hull), ((0, 0), (1, 1), (1, 1)))
        depth_mm[box] = in_plane.depth_mm(padded, spacing_zyx_mm)[:, 1:-1, 1:-1]
    return depth_mm


def _hull(plane: NDArray[np.bool_]) -> NDArray[np.bool_]:
    if not (plane.any(axis=0).sum() > 1 < plane.any(axis=1).sum()):
        return plane  # empty or a straight line: its own hull
    return np.asarray(convex_hull_image(plane, offset_coordinates=True, include_borders=True))


def _costal_bays(
    lung_zyx: NDArray[np.bool_],
    hull_depth_mm: NDArray[np.float64],
    spacing_zyx_mm: tuple[float, float, float],
    radius_mm: float,
) -> NDArray[np.bool_]:
    """Bays of one lung whose mouth lies along the chest wall."""
    bays, _ = ndimage.label(in_plane.close(lung_zyx, spacing_zyx_mm, radius_mm) & ~lung_zyx, in_plane.IN_PLANE)
    open_to_wall = in_plane.share_of_surroundings(bays, hull_depth_mm <= WALL_MM, ~lung_zyx, steps=1) >= MIN_WALL_SHARE
    return open_to_wall[bays] & (bays > 0)


def _large_airways(
    airways_zyx: NDArray[np.bool_], lungs_zyx: NDArray[np.bool_], spacing_zyx_mm: tuple[float, float, float]
) -> NDArray[np.bool_]:
    """Sections of airway that are wide and not surrounded by lung."""
    large = np.zeros_like(airways_zyx)
    if not airways_zyx.any():
        return large
    steps = round(RING_MM / spacing_zyx_mm[2]) or 1
    box = in_plane.bounding_box(airways_zyx, (0, steps + 1, steps + 1))
    airways = airways_zyx[box]
    core = in_plane.depth_mm(airways, spacing_zyx_mm) > MIN_CALIBRE_MM / 2
    wide = airways & in_plane.dilate(core, spacing_zyx_mm, MIN_CALIBRE_MM / 2)
    sections, _ = ndimage.label(wide, in_plane.IN_PLANE)
    in_mediastinum = in_plane.share_of_surroundings(sections, lungs_zyx[box], ~airways, steps) <= MAX_LUNG_SHARE
    large[box] = in_mediastinum[sections] & wide
    return large
