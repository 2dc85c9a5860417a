"""Grey values of a slice: HU or 16-bit levels, and their standardisation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVELS = 2**16


def grey_values(plane_hu: NDArray[Any], *, wrap_at_16_bit: bool = False) -> NDArray[np.float64]:
    """Convert a slice to the grey values that the tutorial's steps start from.

    Parameters
    ----------
    plane_hu : (Y, X) ndarray
        The slice in HU.
    wrap_at_16_bit : bool
        Apply the defect `grey_values_wrap_at_16_bit`: (hu - 2 min) / (max - min) * 65,535, modulo 65,536. If the
        minimum is negative, values from max + min upwards wrap around.

    Returns
    -------
    (Y, X) ndarray of float64
        HU, or levels from 0 to 65,535 with the defect.
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
    """Scale a slice to mean 0 and standard deviation 1; a slice with a single value becomes 0."""
    deviation = plane.std()
    return (plane - plane.mean()) / (deviation if np.ptp(plane) > 0 else 1.0)
