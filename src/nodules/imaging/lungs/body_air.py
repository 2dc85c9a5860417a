"""Separation of the air inside the body from the air around it, slice by slice."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nodules.imaging.geometry.morphology import IN_PLANE, clear_border, share_of_surroundings, widen

ROOM_HU = -960.0  # room air and padding are below; lung is above, unless it is destroyed
RIM_VOXELS = 2  # width of the blurred rim between room air and what touches it
# Share of the outline of a lung cut off by the image edge that may be open. Clothes and foam are open all round.
MAX_OPEN_SHARE = 0.3
MIN_CUT_LUNG_MM2 = 1000.0
SOFT_TISSUE_HU = -200.0
COUCH_SHARE = 0.95  # at least this share of a slice's soft tissue lies in front of the couch and the mattress
CUT_LUNG_SHARE = (0.15, 0.85)  # share of a slice's soft tissue in front of a cut-off lung; less for a blanket


def find_inner_air(
    hu_zyx: NDArray[np.float32], air_zyx: NDArray[np.bool_], spacing_zyx_mm: tuple[float, float, float]
) -> NDArray[np.bool_]:
    """Find air that is not connected to the image edge in its slice, and lung that the image edge cuts off slightly.

    Parameters
    ----------
    hu_zyx : (Z, Y, X) ndarray of float32
        HU.
    air_zyx : (Z, Y, X) ndarray of bool
        Voxels as dark as lung or darker.
    spacing_zyx_mm : tuple of float
        Spacing of the grid.

    Returns
    -------
    (Z, Y, X) ndarray of bool
    """
    inner = clear_border(air_zyx)
    room = hu_zyx < ROOM_HU
    room &= ~clear_border(room)
    doubtful = air_zyx & ~inner & ~widen(room, RIM_VOXELS)
    parts, count = ndimage.label(doubtful, IN_PLANE)
    areas_mm2 = np.bincount(parts.ravel(), minlength=count + 1) * spacing_zyx_mm[1] * spacing_zyx_mm[2]
    large = areas_mm2 >= MIN_CUT_LUNG_MM2
    large[0] = False
    body_air = inner & ~_couch(hu_zyx, inner)
    if not large.any():
        return body_air
    share = _tissue_in_front(hu_zyx, parts, count)
    lung = large & (share >= CUT_LUNG_SHARE[0]) & (share <= CUT_LUNG_SHARE[1])
    lung &= _open_share(parts, air_zyx & ~inner) <= MAX_OPEN_SHARE
    return body_air | lung[parts]


def _couch(hu_zyx: NDArray[np.float32], air_zyx: NDArray[np.bool_]) -> NDArray[np.bool_]:
    parts, count = ndimage.label(air_zyx, IN_PLANE)
    return (_tissue_in_front(hu_zyx, parts, count) > COUCH_SHARE)[parts] & air_zyx


def _tissue_in_front(hu_zyx: NDArray[np.float32], parts_zyx: NDArray[Any], count: int) -> NDArray[np.float64]:
    """Share of the slice's soft tissue in front of each part, averaged over the voxels of the part."""
    in_front = np.cumsum((hu_zyx > SOFT_TISSUE_HU).sum(axis=2), axis=1, dtype=float)
    in_front /= np.maximum(in_front[:, -1:], 1)
    inside = parts_zyx > 0
    numbers = parts_zyx[inside]
    weights = np.broadcast_to(in_front[..., np.newaxis], parts_zyx.shape)[inside]
    total = np.bincount(numbers, weights=weights, minlength=count + 1)
    return total / np.maximum(np.bincount(numbers, minlength=count + 1), 1)


def _open_share(parts_zyx: NDArray[Any], outer_air_zyx: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of each part's outline that borders on other air or on the image edge."""
    around = ((0, 0), (1, 1), (1, 1))
    parts, outside = np.pad(parts_zyx, around), np.pad(outer_air_zyx, around, constant_values=True)
    return share_of_surroundings(parts, outside, np.ones_like(outside), steps=1)
