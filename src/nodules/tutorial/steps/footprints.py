"""Erosion and dilation with squares of an even side, which cannot be centred on a pixel.

A square of ones of side n reaches n / 2 pixels one way and n / 2 - 1 the other. Beyond the edge the slice is mirrored.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

ERODED_PX, DILATED_PX = 4, 10


def erode(mask_yx: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Take a pixel off above and left and two below and right of each region."""
    filtered = ndimage.minimum_filter(mask_yx.view(np.uint8), ERODED_PX, mode="reflect", origin=-1)
    return np.asarray(filtered > 0)


def dilate(mask_yx: NDArray[np.bool_], *, mirrored: bool = False) -> NDArray[np.bool_]:
    """Add five pixels above and left and four below and right of each region; the other way round if `mirrored`."""
    filtered = ndimage.maximum_filter(mask_yx.view(np.uint8), DILATED_PX, mode="reflect", origin=0 if mirrored else -1)
    return np.asarray(filtered > 0)
