"""Logistic regression from the networks' outputs, and the diameter where it is known, to a calibrated probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le, Len
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from nodules.models.false_positive_reduction.score_fusion import standardised_logistic
from nodules.models.malignancy.network import TARGETS

INVERSE_PENALTY = 0.1  # for standardised inputs
LIMITS = (0.001, 0.999)  # a thousand nodules support no greater certainty

Finite = Annotated[float, Ge(-1e6), Le(1e6)]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Fusion:
    """Log-odds as a weighted sum.

    Attributes
    ----------
    weights : tuple of float
        Of the networks' mean log-odds, one per target.
    diameter_weight : float
        Of the natural logarithm of the diameter in mm; 0 if it is not used.
    intercept : float
        Constant term.
    """

    weights: Annotated[tuple[Finite, ...], Len(len(TARGETS), len(TARGETS))]
    diameter_weight: Finite
    intercept: Finite

    def probability(self, log_odds: Array, diameters_mm: ArrayLike | None = None) -> Array:
        """Calibrated probability (N,) for outputs (N, len(TARGETS)) and diameters (N,), within `LIMITS`.

        Raises
        ------
        ValueError
            If the diameters are needed and are not N positive numbers.
        """
        total = log_odds @ np.array(self.weights) + self.intercept
        if self.diameter_weight:
            total = total + self.diameter_weight * np.log(_checked(diameters_mm, len(log_odds)))
        return np.clip(expit(total), *LIMITS)


@dataclass(frozen=True)
class Fusions:
    """One fusion for nodules of which only the centre is known, and one that uses the diameter too."""

    by_centre: Fusion
    by_centre_and_diameter: Fusion


def fit(log_odds: Array, malignant: Array, diameters_mm: ArrayLike | None = None) -> Fusion:
    """Fit a fusion to out-of-fold outputs.

    Parameters
    ----------
    log_odds : (N, len(TARGETS)) ndarray
        Outputs of networks that have not seen the patients of these nodules.
    malignant : (N,) ndarray
        1, 0, or NaN for nodules that do not count; both 1 and 0 occur.
    diameters_mm : (N,) array-like of float, optional
        Without it, the fusion does not use the diameter.

    Raises
    ------
    ValueError
        If not both labels occur, or the diameters are not N positive numbers.
    """
    inputs = log_odds
    if diameters_mm is not None:
        inputs = np.column_stack([log_odds, np.log(_checked(diameters_mm, len(log_odds)))])
    counted = np.isfinite(malignant)
    weights, intercept = standardised_logistic(inputs[counted], malignant[counted] == 1, INVERSE_PENALTY)
    diameter_weight = weights[len(TARGETS)] if diameters_mm is not None else 0.0
    return Fusion(tuple(weights[: len(TARGETS)]), diameter_weight, intercept)


def _checked(diameters_mm: ArrayLike | None, count: int) -> Array:
    diameters = np.asarray(diameters_mm, dtype=float)
    if diameters.shape != (count,) or not np.isfinite(diameters).all() or not (diameters > 0).all():
        raise ValueError(f"diameters_mm: expected {count} positive numbers, got shape {diameters.shape}: {diameters}")
    return diameters
