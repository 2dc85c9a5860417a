"""Normalisation by the grey values of the lungs: mean 0 and standard deviation 1, with the background at -1.2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BACKGROUND_SD = 1.2
"""The background lies this many standard deviations below the mean of the lungs."""


@dataclass(frozen=True)
class GreyScale:
    """Mean, standard deviation and number of the grey values in the lungs."""

    mean: float
    deviation: float
    count: int


def scale_of(values: NDArray[np.float64]) -> GreyScale:
    """Grey scale of values; there must be at least one."""
    return GreyScale(float(values.mean()), float(values.std()), int(values.size))


def pooled(scales: Sequence[GreyScale]) -> GreyScale:
    """Pool the grey scales of several parts (at least one) into that of all their values together."""
    counts = np.array([scale.count for scale in scales], dtype=float)
    means = np.array([scale.mean for scale in scales])
    mean = float(np.average(means, weights=counts))
    variances = np.array([scale.deviation**2 for scale in scales]) + (means - mean) ** 2
    return GreyScale(mean, float(np.sqrt(np.average(variances, weights=counts))), int(counts.sum()))


def renormalise(
    grey_yx: NDArray[np.float64], lungs_yx: NDArray[np.bool_], scale: GreyScale, *, from_darkest: bool = False
) -> NDArray[np.float64]:
    """Mask a slice with its lungs and scale it by their mean and standard deviation.

    Parameters
    ----------
    grey_yx : (Y, X) ndarray of float64
        Grey values: HU, or 16-bit levels with the defect `grey_values_wrap_at_16_bit`.
    lungs_yx : (Y, X) ndarray of bool
        Lung mask; everything else becomes background.
    scale : GreyScale
        Mean and deviation to scale by. A deviation of 0 is replaced by 1.
    from_darkest : bool
        Apply the defect `background_from_darkest_voxel`: pixels with the smallest value of the masked slice become
        background.

    Returns
    -------
    (Y, X) ndarray of float64
        The scaled slice, with a background of -1.2.
    """
    masked = grey_yx * lungs_yx
    background = masked == masked.min() if from_darkest else ~lungs_yx
    masked[background] = scale.mean - BACKGROUND_SD * scale.deviation
    return (masked - scale.mean) / (scale.deviation or 1.0)


def stretch_range(plane_yx: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale a cropped slice to mean 0 and range 1, the last scaling of the published code."""
    return (plane_yx - plane_yx.mean()) / (np.ptp(plane_yx) or 1.0)
