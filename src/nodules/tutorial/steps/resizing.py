"""Resizing of a cropped slice and of its nodule mask to the network's size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.transform import resize


def resize_image(cut_yx: NDArray[np.float64], size_px: int) -> NDArray[np.float32]:
    """Resize a cropped slice to (size_px, size_px) by linear interpolation."""
    return np.asarray(resize(cut_yx, (size_px, size_px)), dtype=np.float32)


def resize_mask(cut_yx: NDArray[np.bool_], size_px: int, *, divided_by_255: bool = False) -> NDArray[np.float32]:
    """Resize a cropped mask to (size_px, size_px) with values 0 and 1, by nearest neighbour.

    With the defect `node_mask_divided_by_255`, it is interpolated linearly as an 8-bit picture, from 0 to 1 / 255.
    """
    if divided_by_255:
        return resize_image(cut_yx / 255.0, size_px)
    return np.asarray(resize(cut_yx, (size_px, size_px), order=0), dtype=np.float32)
