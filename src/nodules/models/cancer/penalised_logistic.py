"""Logistic regression with an L2 penalty that bears heavy tails, missing values and more features than patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

# In standard deviations; a value further out counts as one at the limit.
_FURTHEST = 6.0
_ITERATIONS = 500

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PenalisedLogistic:
    """A fitted model: log-odds = intercept + for each feature ``weight * standardised + missing_weight * missing``.

    A value x counts as asinh((x - centre) / scale), which is linear in the middle and logarithmic in both tails, then
    less `mean`, by `deviation`. A missing value counts as the mean; that it is missing has a weight of its own.

    Attributes
    ----------
    centre, scale, mean, deviation, weights, missing_share, missing_weights : float64 (features,)
        `missing_share` of the patients it was fitted to lacked the feature.
    intercept : float
        Log-odds of a patient with mean features.
    """

    centre: Array
    scale: Array
    mean: Array
    deviation: Array
    weights: Array
    missing_share: Array
    missing_weights: Array
    intercept: float

    def terms(self, values: Array) -> Array:
        """Each feature's part in the log-odds, float64 (patients, features)."""
        standardised = _standardised(values, self.centre, self.scale, self.mean, self.deviation)
        return np.asarray(standardised * self.weights + (np.isnan(values) - self.missing_share) * self.missing_weights)

    def probabilities(self, values: Array) -> Array:
        """Probability of cancer, float64 (patients,)."""
        return np.asarray(expit(self.terms(values).sum(axis=1) + self.intercept))


def fit_path(values: Array, truth: NDArray[np.int64], inverse_penalties: Sequence[float]) -> list[PenalisedLogistic]:
    """Fit one model per inverse penalty.

    Parameters
    ----------
    values : float64 (patients, features)
        Missing values are NaN.
    truth : int64 (patients,)
        0 or 1, both present.
    inverse_penalties : sequence of float
        scikit-learn's ``C``: of standardised features, so a larger one lets the weights grow.
    """
    centre, scale = _middle(values), _spread(values)
    bent = np.arcsinh((values - centre) / scale)
    mean, deviation = np.nanmean(bent, axis=0), _positive(np.nanstd(bent, axis=0))
    missing = np.isnan(values)
    share = missing.mean(axis=0)
    told = _distinct(missing, share)
    spread = np.sqrt(share * (1 - share))[told]
    inputs = np.hstack(
        [
            _standardised(values, centre, scale, mean, deviation),
            (missing[:, told] - share[told]) / spread,
        ]
    )
    models = []
    for weights, intercept in _weights(inputs, truth, inverse_penalties):
        missing_weights = np.zeros(len(share))
        missing_weights[told] = weights[len(share) :] / spread
        models.append(
            PenalisedLogistic(centre, scale, mean, deviation, weights[: len(share)], share, missing_weights, intercept)
        )
    return models


def _weights(inputs: Array, truth: NDArray[np.int64], inverse_penalties: Sequence[float]) -> list[tuple[Array, float]]:
    coordinates, back = _fewest_coordinates(inputs)
    model = LogisticRegression(max_iter=_ITERATIONS, warm_start=True)
    found: dict[float, tuple[Array, float]] = {}
    for inverse_penalty in sorted(inverse_penalties):
        model.set_params(C=inverse_penalty).fit(coordinates, truth)
        found[inverse_penalty] = (back @ model.coef_[0], float(model.intercept_[0]))
    return [found[inverse_penalty] for inverse_penalty in inverse_penalties]


def _fewest_coordinates(inputs: Array) -> tuple[Array, Array]:
    """Turn the inputs onto as many axes as there are patients; lengths, and so the penalty, stay what they are.

    Returns
    -------
    float64 (patients, axes), float64 (inputs, axes)
        Coordinates, and the turn from weights on the axes back to weights on the inputs.
    """
    patients, count = inputs.shape
    if count <= patients:
        return inputs, np.eye(count)
    squares, left = np.linalg.eigh(inputs @ inputs.T)
    held = squares > squares[-1] * 1e-10
    lengths = np.sqrt(squares[held])
    return left[:, held] * lengths, inputs.T @ (left[:, held] / lengths)


def _standardised(values: Array, centre: Array, scale: Array, mean: Array, deviation: Array) -> Array:
    bent = np.arcsinh((values - centre) / scale)
    return np.nan_to_num(np.clip((bent - mean) / deviation, -_FURTHEST, _FURTHEST))


def _middle(values: Array) -> Array:
    return np.nan_to_num(_quantile(values, 0.5))


def _spread(values: Array) -> Array:
    """Quartile distance; the standard deviation where half the values are equal; 1 where all are."""
    quartiles = _quantile(values, 0.75) - _quantile(values, 0.25)
    return _positive(np.where(quartiles > 0, quartiles, np.nanstd(values, axis=0)))


def _quantile(values: Array, share: float) -> Array:
    """A value of the column itself, not between two: NumPy's own quantile of columns with NaN takes seconds."""
    present = (~np.isnan(values)).sum(axis=0)
    place = np.floor(np.maximum(present - 1, 0) * share).astype(int)
    return np.asarray(np.sort(values, axis=0)[place, np.arange(values.shape[1])])


def _positive(spread: Array) -> Array:
    return np.where(spread > 0, spread, 1.0)


def _distinct(missing: NDArray[np.bool_], share: Array) -> NDArray[np.intp]:
    """Columns that stand for one way of being missing each: what one nodule lacks, it lacks in all its columns."""
    _, first = np.unique(missing, axis=1, return_index=True)
    return np.asarray([column for column in sorted(first) if 0 < share[column] < 1], dtype=np.intp)
