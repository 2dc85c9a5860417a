"""Air inside the body, told from the air around it slice by slice."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nodules.imaging.geometry.morphology import IN_PLANE, not_outside, share_of_surroundings, widen

ROOM_HU = -960.0  # air of the room and padding lie below; lung, unless destroyed, above
RIM_VOXELS = 2  # blurred between the room and what touches it
MAX_OPEN_SHARE = 0.3  # of the outline of a lung that the edge of the image cuts; clothes and foam are open all around
MIN_CUT_LUNG_MM2 = 1000.0
SOFT_TISSUE_HU = -200.0
COUCH_SHARE = 0.95  # of a slice's soft tissue lies in front of couch and mattress
CUT_LUNG_SHARE = (0.15, 0.85)  # of it lies in front of a large section of lung; less in front of a blanket


def find_inner_air(
    hu_zyx: NDArray[np.float32], air_zyx: NDArray[np.bool_], spacing_zyx_mm: tuple[float, float, float]
) -> NDArray[np.bool_]:
    """Find the air that is not connected with the edge of its slice, and lung that the edge cuts a little.

    Parameters
    ----------
    hu_zyx : (Z, Y, X) ndarray of float32
        HU.
    air_zyx : (Z, Y, X) ndarray of bool
        Everything as dark as lung or darker.
    spacing_zyx_mm : tuple of float
        Spacing of the grid.

    Returns
    -------
    (Z, Y, X) ndarray of bool
    """
    inner = not_outside(air_zyx)
    room = hu_zyx < ROOM_HU
    room &= ~not_outside(room)
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
    """Share of a slice's soft tissue that lies in front of each part of this slice, on average over the part."""
    in_front = np.cumsum((hu_zyx > SOFT_TISSUE_HU).sum(axis=2), axis=1, dtype=float)
    in_front /= np.maximum(in_front[:, -1:], 1)
    inside = parts_zyx > 0
    numbers = parts_zyx[inside]
    weights = np.broadcast_to(in_front[..., np.newaxis], parts_zyx.shape)[inside]
    total = np.bincount(numbers, weights=weights, minlength=count + 1)
    return total / np.maximum(np.bincount(numbers, minlength=count + 1), 1)


def _open_share(parts_zyx: NDArray[Any], outer_air_zyx: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of the outline of each part along which more air or the edge of the image lies."""
    around = ((0, 0), (1, 1), (1, 1))
    parts, outside = np.pad(parts_zyx, around), np.pad(outer_air_zyx, around, constant_values=True)
    return share_of_surroundings(parts, outside, np.ones_like(outside), steps=1)
