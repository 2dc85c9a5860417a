"""Nodules of one scan grafted into the lung of another: the same few nodules in ever new surroundings.

After Dwibedi et al., "Cut, paste and learn", ICCV 2017, and Ghiasi et al., "Simple copy-paste is a strong data
augmentation method for instance segmentation", CVPR 2021.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

RIM_PX = 3  # beyond the nodule's mask, where its surroundings fade into those of the host
LUNG_SHARE = 0.9  # of the pixels that must be lung: around a nodule that is taken, and below one that is put down

HuMask = tuple[NDArray[np.float32], NDArray[np.float32]]


def has_lung_around(nodule_yx: NDArray[np.bool_], lungs_yx: NDArray[np.bool_], y: int, x: int) -> bool:
    """Whether the cross-section at (y, x) can be taken out of its slice: no chest wall would come along.

    Parameters
    ----------
    nodule_yx, lungs_yx : (Y, X) ndarray of bool
        All nodules of the slice, and its lungs.
    """
    own = _part_at(nodule_yx, y, x)
    if own is None:
        return False
    around = ndimage.binary_dilation(own, iterations=RIM_PX)
    return bool(lungs_yx[around].mean() >= LUNG_SHARE)


def graft(host: HuMask, lungs_yx: NDArray[np.float32], donor: HuMask, y: int, x: int) -> HuMask:
    """Put the donor's nodule at (y, x) into the host at the same pixels; what is denser is seen, as in a projection.

    So vessels run through ground glass and up to a solid nodule, and the lung's own texture stays.

    Parameters
    ----------
    host, donor : (P, P, C) and (P, P) ndarray of float32
        HU and nodule mask; a pixel of 0.5 and more is nodule.
    lungs_yx : (P, P) ndarray of float32
        Lungs of the host; a nodule that would not lie in them is left out.

    Returns
    -------
    (P, P, C) and (P, P) ndarray of float32
        HU and mask of the host with the nodule, or as they were.
    """
    hu, mask = host
    own = _part_at(donor[1] >= 0.5, y, x)
    if own is None or (lungs_yx[own] >= 0.5).mean() < LUNG_SHARE:
        return host
    fading = 1 - (ndimage.distance_transform_edt(~own) - 1) / RIM_PX
    share = np.clip(fading, 0, 1).astype(np.float32)[..., None]
    return hu + share * np.maximum(donor[0] - hu, 0), np.maximum(mask, own.astype(np.float32))


def _part_at(mask_yx: NDArray[np.bool_], y: int, x: int) -> NDArray[np.bool_] | None:
    """Connected part of a mask at a pixel; None if that is outside."""
    labels, _ = ndimage.label(mask_yx)
    inside = 0 <= y < labels.shape[0] and 0 <= x < labels.shape[1] and labels[y, x]
    return np.asarray(labels == labels[y, x]) if inside else None
