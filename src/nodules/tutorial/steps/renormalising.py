"""Grey values of the lungs alone: mean 0, deviation 1, and everything else a little darker than they."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BACKGROUND_SD = 1.2


@dataclass(frozen=True)
class GreyScale:
    """Mean and standard deviation of the grey values in lungs, and how many values they are of."""

    mean: float
    deviation: float
    count: int


def scale_of(values: NDArray[np.float64]) -> GreyScale:
    """Scale of some values, at least one."""
    return GreyScale(float(values.mean()), float(values.std()), int(values.size))


def pooled(scales: Sequence[GreyScale]) -> GreyScale:
    """Scale of all values of at least one part, as if they had been taken together."""
    counts = np.array([scale.count for scale in scales], dtype=float)
    means = np.array([scale.mean for scale in scales])
    mean = float(np.average(means, weights=counts))
    variances = np.array([scale.deviation**2 for scale in scales]) + (means - mean) ** 2
    return GreyScale(mean, float(np.sqrt(np.average(variances, weights=counts))), int(counts.sum()))


def renormalise(
    grey_yx: NDArray[np.float64], lungs_yx: NDArray[np.bool_], scale: GreyScale, *, from_darkest: bool = False
) -> NDArray[np.float64]:
    """Mask a slice and put it on the scale of the lungs.

    Parameters
    ----------
    grey_yx : (Y, X) ndarray of float64
        HU, or 16-bit levels with that defect.
    lungs_yx : (Y, X) ndarray of bool
        What stays visible.
    scale : GreyScale
        Its mean goes to 0; lungs of one value are not divided.
    from_darkest : bool
        The defect `background_from_darkest_voxel`: what has the smallest value of the masked slice becomes background.

    Returns
    -------
    (Y, X) ndarray of float64
        The background is -1.2.
    """
    masked = grey_yx * lungs_yx
    background = masked == masked.min() if from_darkest else ~lungs_yx
    masked[background] = scale.mean - BACKGROUND_SD * scale.deviation
    return (masked - scale.mean) / (scale.deviation or 1.0)


def stretch_range(plane_yx: NDArray[np.float64]) -> NDArray[np.float64]:
    """The published code's last scaling of each cut slice: mean 0 and a range of 1."""
    return (plane_yx - plane_yx.mean()) / (np.ptp(plane_yx) or 1.0)
