"""The grey value between lung and tissue: two-class k-means on the middle of a slice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MIDDLE = (100 / 512, 400 / 512)
"""Rows and columns that the tutorial's clustering sees, as shares of the slice."""


def middle(plane_yx: NDArray[np.float64]) -> NDArray[np.float64]:
    """View of the middle of a slice."""
    rows, columns = (slice(int(MIDDLE[0] * size), int(MIDDLE[1] * size)) for size in plane_yx.shape)
    return plane_yx[rows, columns]


def level_extremes(plane_yx: NDArray[np.float64]) -> NDArray[np.float64]:
    """Copy of a slice whose smallest and largest values are the mean of its middle.

    The smallest is the filling around the scanner's circle in many series, which would be a cluster of its own.
    """
    extreme = (plane_yx == plane_yx.min()) | (plane_yx == plane_yx.max())
    return np.where(extreme, middle(plane_yx).mean(), plane_yx)
