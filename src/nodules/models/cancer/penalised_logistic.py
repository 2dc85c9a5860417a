"""L2-penalised logistic regression for heavy-tailed features, missing values, and more features than patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

# Standardised values are clipped to this many standard deviations.
_MAX_DEVIATIONS = 6.0
_ITERATIONS = 500

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PenalisedLogistic:
    """A fitted model: log-odds = intercept + for each feature ``weight * standardised + missing_weight * missing``.

    A value x is transformed to asinh((x - centre) / scale), which is linear near the centre and logarithmic in both
    tails. It is then standardised: `mean` is subtracted, and the difference is divided by `deviation`. A missing value
    counts as the mean, and being missing has a weight of its own.

    Attributes
    ----------
    centre, scale, mean, deviation, weights, missing_share, missing_weights : float64 (features,)
        `missing_share` is the share of the training patients without the feature.
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
        """Contribution of each feature to the log-odds, float64 (patients, features)."""
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
        scikit-learn's ``C``, for standardised features; a larger value allows larger weights.
    """
    centre, scale = _median(values), _spread(values)
    transformed = np.arcsinh((values - centre) / scale)
    mean, deviation = np.nanmean(transformed, axis=0), _positive(np.nanstd(transformed, axis=0))
    missing = np.isnan(values)
    share = missing.mean(axis=0)
    patterns = _missing_patterns(missing, share)
    spread = np.sqrt(share * (1 - share))[patterns]
    inputs = np.hstack(
        [
            _standardised(values, centre, scale, mean, deviation),
            (missing[:, patterns] - share[patterns]) / spread,
        ]
    )
    models = []
    for weights, intercept in _weights(inputs, truth, inverse_penalties):
        missing_weights = np.zeros(len(share))
        missing_weights[patterns] = weights[len(share) :] / spread
        models.append(
            PenalisedLogistic(centre, scale, mean, deviation, weights[: len(share)], share, missing_weights, intercept)
        )
    return models


def _weights(inputs: Array, truth: NDArray[np.int64], inverse_penalties: Sequence[float]) -> list[tuple[Array, float]]:
    coordinates, back = _reduced_coordinates(inputs)
    model = LogisticRegression(max_iter=_ITERATIONS, warm_start=True)
    found: dict[float, tuple[Array, float]] = {}
    for inverse_penalty in sorted(inverse_penalties):
        model.set_params(C=inverse_penalty).fit(coordinates, truth)
        found[inverse_penalty] = (back @ model.coef_[0], float(model.intercept_[0]))
    return [found[inverse_penalty] for inverse_penalty in inverse_penalties]


def _reduced_coordinates(inputs: Array) -> tuple[Array, Array]:
    """Rotate the inputs onto at most as many axes as there are patients.

    A rotation keeps lengths, so the penalty stays the same, and the fit has fewer weights.

    Returns
    -------
    float64 (patients, axes), float64 (inputs, axes)
        Coordinates, and the matrix from weights of the axes back to weights of the inputs.
    """
    patients, count = inputs.shape
    if count <= patients:
        return inputs, np.eye(count)
    squares, left = np.linalg.eigh(inputs @ inputs.T)
    nonzero = squares > squares[-1] * 1e-10
    lengths = np.sqrt(squares[nonzero])
    return left[:, nonzero] * lengths, inputs.T @ (left[:, nonzero] / lengths)


def _standardised(values: Array, centre: Array, scale: Array, mean: Array, deviation: Array) -> Array:
    transformed = np.arcsinh((values - centre) / scale)
    return np.nan_to_num(np.clip((transformed - mean) / deviation, -_MAX_DEVIATIONS, _MAX_DEVIATIONS))


def _median(values: Array) -> Array:
    return np.nan_to_num(_quantile(values, 0.5))


def _spread(values: Array) -> Array:
    """Interquartile range; the standard deviation if that is 0, and 1 if all values are equal."""
    quartiles = _quantile(values, 0.75) - _quantile(values, 0.25)
    return _positive(np.where(quartiles > 0, quartiles, np.nanstd(values, axis=0)))


def _quantile(values: Array, share: float) -> Array:
    """Lower quantile of each column without interpolation; NumPy's own quantile takes seconds on columns with NaN."""
    present = (~np.isnan(values)).sum(axis=0)
    place = np.floor(np.maximum(present - 1, 0) * share).astype(int)
    return np.asarray(np.sort(values, axis=0)[place, np.arange(values.shape[1])])


def _positive(spread: Array) -> Array:
    return np.where(spread > 0, spread, 1.0)


def _missing_patterns(missing: NDArray[np.bool_], share: Array) -> NDArray[np.intp]:
    """One column for each distinct pattern of missing values; the features of one nodule are missing together."""
    _, first = np.unique(missing, axis=1, return_index=True)
    return np.asarray([column for column in sorted(first) if 0 < share[column] < 1], dtype=np.intp)
