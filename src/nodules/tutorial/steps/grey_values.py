"""The grey values of a slice: as they are stored, and standardised."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVELS = 2**16


def grey_values(plane_hu: NDArray[Any], *, wrap_at_16_bit: bool = False) -> NDArray[np.float64]:
    """The slice that the tutorial's steps start from.

    Parameters
    ----------
    plane_hu : (Y, X) ndarray
        HU.
    wrap_at_16_bit : bool
        The defect `grey_values_wrap_at_16_bit`: (hu - 2 min) / (max - min) * 65,535, modulo 65,536. Values from
        max + min upwards wrap where the minimum is negative.

    Returns
    -------
    (Y, X) ndarray of float64
        HU, or 0 to 65,535 with the defect.
    """
    plane = plane_hu.astype(np.float64)
    if not wrap_at_16_bit:
        return plane
    lowest, highest = plane.min(), plane.max()
    if lowest == highest:
        return np.zeros_like(plane)
    stretched = np.rint((plane - lowest - lowest) / (highest - lowest) * (LEVELS - 1))
    return np.asarray(np.mod(stretched, LEVELS))


def standardise(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean 0 and standard deviation 1; a slice of one value becomes 0."""
    deviation = plane.std()
    return (plane - plane.mean()) / (deviation if np.ptp(plane) > 0 else 1.0)
