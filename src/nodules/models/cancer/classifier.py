"""Classifiers from patient features to a calibrated probability of cancer: fitting, calibration, prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nodules.models.cancer.calibration import Calibration, choose_and_judge
from nodules.models.cancer.cross_fitting import Array, HeldOut, fit_families, held_out_predictions, mean_of, settled
from nodules.models.cancer.estimators import FAMILIES, Estimator, families_of, fit_constant
from nodules.models.cancer.params import LEARNED, ClassifierParams, LearnedName, ModelName
from nodules.models.cancer.table import LabelledTable, numbers
from nodules.models.runtime.seeds import seed_of

_INNER, _FINAL, _CALIBRATION = range(3)


@dataclass(frozen=True)
class Classifier:
    """A fitted model.

    Attributes
    ----------
    name : str
        One of `MODEL_NAMES`.
    features : tuple of str
        The columns it uses, in the order it was fitted to; none for the constant models.
    members : dict of Estimator
        Fitted models by family, whose mean is taken; one, but for ``average``. A constant model stands under its name.
    calibration : Calibration, optional
        Of the mean; None for the constant models.
    """

    name: ModelName
    features: tuple[str, ...]
    members: dict[str, Estimator]
    calibration: Calibration | None

    def stated(self, values: Array) -> Array:
        """Probabilities before calibration of rows of `features`, float64 (patients,)."""
        return np.asarray(np.mean([member.probabilities(values) for member in self.members.values()], axis=0))


@dataclass(frozen=True)
class Candidacy:
    """What the training patients say about one model before it is fitted to all of them.

    Attributes
    ----------
    calibration : Calibration
        Fitted to the held-out predictions.
    calibrated : float64 (patients,)
        Those predictions, calibrated.
    losses : float64 (patients,)
        Minus the log of the probability of what came true, for each patient predicted and calibrated without itself.
    """

    calibration: Calibration
    calibrated: Array
    losses: Array

    @property
    def log_loss(self) -> float:
        """Mean of the losses."""
        return float(self.losses.mean())


def candidacy(name: ModelName, table: LabelledTable, held_out: HeldOut, seed: int) -> Candidacy:
    """Calibrate a learned model on its held-out predictions; `held_out` has one variant per family."""
    probabilities = mean_of(name, held_out)
    calibration, losses = choose_and_judge(table.truth, probabilities, seed_of(seed, _CALIBRATION))
    return Candidacy(calibration, calibration.of(probabilities), losses)


def candidacies(
    table: LabelledTable, params: ClassifierParams, seed: int, jobs: int = 1
) -> tuple[ClassifierParams, dict[LearnedName, Candidacy]]:
    """Judge all learned models among the patients of `table`; gives the settings with the penalty settled as well."""
    held_out = held_out_predictions(FAMILIES, table, params, seed_of(seed, _INNER), folds=params.inner_folds, jobs=jobs)
    params, held_out = settled(params, table, held_out)
    return params, {name: candidacy(name, table, held_out, seed) for name in LEARNED}


def fit_settled(
    names: tuple[ModelName, ...],
    table: LabelledTable,
    params: ClassifierParams,
    calibrations: Mapping[ModelName, Calibration | None],
    seed: int,
    threads: int = 1,
) -> dict[ModelName, Classifier]:
    """Fit learned models to all patients; `params` hold a single penalty."""
    families = tuple(family for family in FAMILIES if any(family in families_of(name) for name in names))
    columns, fitted = fit_families(families, table, params, seed_of(seed, _FINAL), threads)
    used = tuple(table.columns[column] for column in columns)
    return {
        name: Classifier(name, used, {family: fitted[family][0] for family in families_of(name)}, calibrations[name])
        for name in names
    }


def constant(name: ModelName, table: LabelledTable) -> Classifier:
    """Fit a model that looks at no feature."""
    return Classifier(name, (), {name: fit_constant(name, table.truth)}, None)


def predict(classifier: Classifier, features: pd.DataFrame) -> pd.Series:
    """Probability of cancer of each row of `features`.

    Columns are taken by name: their order is free and columns the model does not use are left aside.

    Raises
    ------
    ValueError
        If a column the model uses is missing, appears twice or does not hold numbers.
    """
    values = used_values(classifier, features)
    probabilities = classifier.stated(values) if len(values) else np.empty(0)
    if classifier.calibration is not None:
        probabilities = classifier.calibration.of(probabilities)
    return pd.Series(probabilities, index=features.index, name="probability")


def used_values(classifier: Classifier, features: pd.DataFrame) -> Array:
    """Values of the columns a classifier uses, float64 (patients, features); raises what `predict` raises."""
    missing = [name for name in classifier.features if name not in features.columns]
    if missing:
        raise ValueError(f"the {classifier.name} model needs the features {missing}, which the table lacks")
    return numbers(features[list(classifier.features)])
