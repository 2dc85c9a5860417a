"""Calibration of predicted probabilities: none, Platt's or isotonic, chosen by out-of-fold log-loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression

from nodules.log_loss import log_losses
from nodules.models.cancer.table import splits

CalibrationKind = Literal["none", "platt", "isotonic"]
KINDS: tuple[CalibrationKind, ...] = get_args(CalibrationKind)

_FOLDS = 10
# With fewer patients of a class, a gain by calibration cannot be told from chance.
_FEWEST_OF_A_CLASS = 10
_NEWTON_STEPS = 100

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """A non-decreasing function from predicted to calibrated probabilities, which are never 0 or 1.

    Attributes
    ----------
    kind : str
        ``none`` only clips probabilities; ``platt`` is linear in the log-odds; ``isotonic`` interpolates between knots.
    floor : float
        Calibrated probabilities lie within [floor, 1 - floor].
    slope, intercept : float
        Parameters of ``platt``; the slope is never negative.
    stated, calibrated : tuple of float
        Knots of ``isotonic``: predicted probabilities and their calibrated values, both non-decreasing.

    References
    ----------
    Platt 1999, Probabilistic outputs for support vector machines; Zadrozny and Elkan 2002, Transforming classifier
    scores into accurate multiclass probability estimates.
    """

    kind: CalibrationKind
    floor: float
    slope: float = 1.0
    intercept: float = 0.0
    stated: tuple[float, ...] = ()
    calibrated: tuple[float, ...] = ()

    def of(self, probabilities: ArrayLike) -> Array:
        """Calibrate an array of probabilities; the results lie within (0, 1)."""
        probabilities = np.clip(np.asarray(probabilities, dtype=np.float64), self.floor, 1 - self.floor)
        if self.kind == "platt":
            probabilities = expit(self.slope * logit(probabilities) + self.intercept)
        elif self.kind == "isotonic":
            probabilities = np.interp(probabilities, self.stated, self.calibrated)
        return np.clip(probabilities, self.floor, 1 - self.floor)

    def to_json(self) -> dict[str, Any]:
        """Describe the calibration by numbers and strings, for `from_json`."""
        described: dict[str, Any] = {"kind": self.kind, "floor": self.floor}
        if self.kind == "platt":
            described |= {"slope": self.slope, "intercept": self.intercept}
        elif self.kind == "isotonic":
            described |= {"stated": list(self.stated), "calibrated": list(self.calibrated)}
        return described

    @classmethod
    def from_json(cls, described: dict[str, Any]) -> Calibration:
        """Read what `to_json` wrote.

        Raises
        ------
        ValueError
            If it does not describe a calibration.
        """
        try:
            found = cls(
                described["kind"],
                float(described["floor"]),
                float(described.get("slope", 1.0)),
                float(described.get("intercept", 0.0)),
                tuple(map(float, described.get("stated", ()))),
                tuple(map(float, described.get("calibrated", ()))),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"a calibration must have a kind, a floor and numbers, got {described!r}") from error
        if (
            found.kind not in KINDS
            or not 0 < found.floor < 0.5
            or not (found.slope >= 0 and np.isfinite([found.slope, found.intercept]).all())
            or not found._has_rising_knots()
        ):
            raise ValueError(
                f"a calibration must be one of {', '.join(KINDS)} and must not decrease, got {described!r}"
            )
        return found

    def _has_rising_knots(self) -> bool:
        if self.kind != "isotonic":
            return not self.stated and not self.calibrated
        knots = (
            np.array([self.stated, self.calibrated]) if len(self.stated) == len(self.calibrated) else np.empty((2, 0))
        )
        return bool(knots.size and np.isfinite(knots).all() and (np.diff(knots, axis=1) >= 0).all())


def choose_calibration(truth: NDArray[np.int64], probabilities: Array, seed: int) -> tuple[Calibration, Array]:
    """Choose no, Platt's or isotonic calibration by cross-validated log-loss.

    A more complex calibration is chosen only if its gain exceeds the standard error of the gain.

    Parameters
    ----------
    truth : int64 (patients,)
        0 or 1.
    probabilities : float64 (patients,)
        Out-of-fold predictions of the same patients.

    Returns
    -------
    Calibration, float64 (patients,)
        The chosen calibration, fitted to all patients, and the loss of each patient under a calibration fitted
        without that patient.
    """
    chosen: CalibrationKind = "none"
    losses = log_losses(truth, fit_kind("none", truth, probabilities).of(probabilities))
    if min(truth.sum(), (1 - truth).sum()) >= _FEWEST_OF_A_CLASS:
        for kind in KINDS[1:]:
            other_losses = log_losses(truth, _cross_calibrated(kind, truth, probabilities, seed))
            gains = losses - other_losses
            if gains.mean() > gains.std(ddof=1) / np.sqrt(len(gains)):
                chosen, losses = kind, other_losses
    return fit_kind(chosen, truth, probabilities), losses


def fit_kind(kind: CalibrationKind, truth: NDArray[np.int64], probabilities: Array) -> Calibration:
    """Fit one kind of calibration to the predicted probabilities of labelled patients."""
    floor = 1 / (2 * (len(truth) + 1))
    inside = np.clip(probabilities, floor, 1 - floor)
    if kind == "platt":
        return Calibration(kind, floor, *_fit_platt(logit(inside), truth))
    if kind == "isotonic":
        fitted = IsotonicRegression().fit(inside, truth)
        calibrated = np.clip(fitted.y_thresholds_, floor, 1 - floor)
        return Calibration(
            kind, floor, stated=tuple(fitted.X_thresholds_.tolist()), calibrated=tuple(calibrated.tolist())
        )
    return Calibration("none", floor)


def _cross_calibrated(kind: CalibrationKind, truth: NDArray[np.int64], probabilities: Array, seed: int) -> Array:
    calibrated = np.empty(len(truth))
    for train, held_out in splits(truth, _FOLDS, seed):
        calibrated[held_out] = fit_kind(kind, truth[train], probabilities[train]).of(probabilities[held_out])
    return calibrated


def _fit_platt(log_odds: Array, truth: NDArray[np.int64]) -> tuple[float, float]:
    """Slope and intercept of Platt's logistic curve by Newton's method, with his targets just inside 0 and 1.

    A negative slope is replaced by 0. Out-of-fold predictions are biased against the labels of their own fold, so a
    negative slope would turn a model without any information into one that seems to have some.
    """
    positives, negatives = truth.sum(), (1 - truth).sum()
    target = np.where(truth == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    inputs = np.column_stack([log_odds, np.ones(len(truth))])
    flat = float(logit(target.mean()))
    line = np.array([0.0, flat])
    for _ in range(_NEWTON_STEPS):
        probabilities = expit(inputs @ line)
        curvature = (inputs * (probabilities * (1 - probabilities))[:, None]).T @ inputs + np.eye(2) * 1e-9
        step = np.linalg.solve(curvature, inputs.T @ (target - probabilities))
        line += step * min(1.0, 5.0 / (np.abs(step).max() + 1e-12))
        if np.abs(step).max() < 1e-10:
            break
    return (float(line[0]), float(line[1])) if line[0] > 0 else (0.0, flat)
