"""A cancer classifier from patient features to a calibrated probability: calibration, fitting and prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nodules.models.cancer.calibration import Calibration, choose_calibration
from nodules.models.cancer.cross_fitting import (
    Array,
    HeldOut,
    choose_variants,
    fit_families,
    held_out_predictions,
    mean_of,
)
from nodules.models.cancer.estimators import FAMILIES, Estimator, families_of, fit_constant
from nodules.models.cancer.params import LEARNED, ClassifierParams, LearnedName, ModelName
from nodules.models.cancer.table import LabelledTable, numbers
from nodules.models.runtime.seeds import seed_of

_INNER, _FINAL, _CALIBRATION = range(3)


@dataclass(frozen=True)
class Classifier:
    """A fitted and calibrated classifier.

    Attributes
    ----------
    name : str
        One of `MODEL_NAMES`.
    features : tuple of str
        The columns it uses, in the order in which it was fitted; empty for a constant model.
    members : dict of Estimator
        Fitted estimators by family, whose probabilities are averaged. Only ``average`` has more than one. The key of a
        constant model is its name.
    calibration : Calibration, optional
        Calibration of the mean probability; None for a constant model.
    """

    name: ModelName
    features: tuple[str, ...]
    members: dict[str, Estimator]
    calibration: Calibration | None

    def uncalibrated(self, values: Array) -> Array:
        """Probabilities before calibration, float64 (patients,), from values (patients, features)."""
        return np.asarray(np.mean([member.probabilities(values) for member in self.members.values()], axis=0))


@dataclass(frozen=True)
class OutOfFoldResult:
    """Out-of-fold evaluation of one model on the training patients.

    Attributes
    ----------
    calibration : Calibration
        Fitted to the out-of-fold predictions.
    calibrated : float64 (patients,)
        The out-of-fold predictions after this calibration.
    losses : float64 (patients,)
        Log-loss of each patient, predicted and calibrated by models fitted without that patient.
    """

    calibration: Calibration
    calibrated: Array
    losses: Array

    @property
    def log_loss(self) -> float:
        """Mean of the losses."""
        return float(self.losses.mean())


def calibrate_out_of_fold(name: ModelName, table: LabelledTable, held_out: HeldOut, seed: int) -> OutOfFoldResult:
    """Calibrate a learned model on its out-of-fold predictions; `held_out` has one variant per family."""
    probabilities = mean_of(name, held_out)
    calibration, losses = choose_calibration(table.truth, probabilities, seed_of(seed, _CALIBRATION))
    return OutOfFoldResult(calibration, calibration.of(probabilities), losses)


def evaluate_out_of_fold(
    table: LabelledTable, params: ClassifierParams, seed: int, jobs: int = 1
) -> tuple[ClassifierParams, dict[LearnedName, OutOfFoldResult]]:
    """Evaluate all learned models out of fold; also returns the settings, with the penalty that was chosen."""
    held_out = held_out_predictions(FAMILIES, table, params, seed_of(seed, _INNER), folds=params.inner_folds, jobs=jobs)
    params, held_out = choose_variants(params, table, held_out)
    return params, {name: calibrate_out_of_fold(name, table, held_out, seed) for name in LEARNED}


def fit_learned(
    names: tuple[ModelName, ...],
    table: LabelledTable,
    params: ClassifierParams,
    calibrations: Mapping[ModelName, Calibration | None],
    seed: int,
    threads: int = 1,
) -> dict[ModelName, Classifier]:
    """Fit learned models to all patients; `params` must hold a single penalty."""
    families = tuple(family for family in FAMILIES if any(family in families_of(name) for name in names))
    columns, fitted = fit_families(families, table, params, seed_of(seed, _FINAL), threads)
    used = tuple(table.columns[column] for column in columns)
    return {
        name: Classifier(name, used, {family: fitted[family][0] for family in families_of(name)}, calibrations[name])
        for name in names
    }


def constant(name: ModelName, table: LabelledTable) -> Classifier:
    """Fit a model that gives every patient the same probability."""
    return Classifier(name, (), {name: fit_constant(name, table.truth)}, None)


def predict(classifier: Classifier, features: pd.DataFrame) -> pd.Series:
    """Probability of cancer of each row of `features`.

    Columns are taken by name: their order does not matter, and other columns are ignored.

    Raises
    ------
    ValueError
        If a column that the model uses is missing, appears twice or does not hold numbers.
    """
    values = feature_values(classifier, features)
    probabilities = classifier.uncalibrated(values) if len(values) else np.empty(0)
    if classifier.calibration is not None:
        probabilities = classifier.calibration.of(probabilities)
    return pd.Series(probabilities, index=features.index, name="probability")


def feature_values(classifier: Classifier, features: pd.DataFrame) -> Array:
    """Values of the columns that a classifier uses, float64 (patients, features); raises the errors of `predict`."""
    missing = [name for name in classifier.features if name not in features.columns]
    if missing:
        raise ValueError(f"the {classifier.name} model needs the features {missing}, which are not in the table")
    return numbers(features[list(classifier.features)])
