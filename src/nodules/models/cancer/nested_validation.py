"""Nested, repeated cross-validation of the classifiers: every choice is made without the held-out patients."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve

from nodules.models.cancer.classifier import (
    Classifier,
    OutOfFoldResult,
    constant,
    evaluate_out_of_fold,
    fit_learned,
    predict,
)
from nodules.models.cancer.params import LEARNED, MODEL_NAMES, ClassifierParams, LearnedName, ModelName, XGBoostParams
from nodules.models.cancer.table import LabelledTable, labelled_table, refuse_duplicate_scans, splits
from nodules.models.runtime.seeds import seed_of

Tuner = Callable[[pd.DataFrame, pd.Series, ClassifierParams, int], XGBoostParams]
"""A function that tunes XGBoost: features, labels, settings of all models, seed -> settings of XGBoost."""

_SPLITS, _WORK = range(2)


@dataclass(frozen=True)
class NestedPredictions:
    """Predictions of every patient by models that were chosen and fitted without that patient.

    Attributes
    ----------
    table : DataFrame
        One row per patient and repeat: ``id``, ``repeat`` and ``fold`` (from 0), ``label``, one probability per
        `MODEL_NAMES`, ``chosen`` (probability by the model chosen in that fold), ``chosen_model`` and ``threshold``
        (the probability with the best F1 on the chosen model's inner predictions of that fold's training patients).
    """

    table: pd.DataFrame


@dataclass(frozen=True)
class FittedModels:
    """All models fitted to the same patients, with the out-of-fold results by which one of them was chosen.

    Attributes
    ----------
    classifiers : dict of Classifier
        One per `MODEL_NAMES`.
    chosen : str
        The learned model to use, see `best`.
    inner_log_loss : dict of float
        Out-of-fold log-loss of every learned model, after calibration.
    threshold : float
        Probability with the best F1 on the chosen model's out-of-fold predictions.
    settings : ClassifierParams
        Settings with the penalty, and the settings of XGBoost, that were chosen on these patients.
    """

    classifiers: dict[ModelName, Classifier]
    chosen: LearnedName
    inner_log_loss: dict[LearnedName, float]
    threshold: float
    settings: ClassifierParams


@dataclass(frozen=True)
class _OuterFold:
    repeat: int
    fold: int
    train: NDArray[np.intp]
    held_out: NDArray[np.intp]


def validate(
    features: pd.DataFrame,
    labels: pd.Series,
    params: ClassifierParams,
    seed: int,
    *,
    tune: Tuner | None = None,
    jobs: int = 1,
    done: Callable[[], None] | None = None,
) -> NestedPredictions:
    """Predict every patient out of fold, `params.repeats` times.

    In each fold the features, the settings of XGBoost (by `tune`), the penalty, the calibrations, the model and its
    threshold are chosen on the other patients only. The folds run in `jobs` processes; their number does not affect the
    result. `done` is called after each fold.

    Parameters
    ----------
    features : DataFrame
        One row per patient, indexed by patient id; missing values may be NaN.
    labels : Series of 0 and 1
        The same patients.

    Raises
    ------
    ValueError
        If `labelled_table` or `outer_folds` raises it, or if one scan appears under two patient ids.
    """
    table = labelled_table(features, labels)
    outer_folds(table.truth, params, tuned=tune is not None)
    refuse_duplicate_scans(table)
    outer = [
        _OuterFold(repeat, fold, train, held_out)
        for repeat in range(params.repeats)
        for fold, (train, held_out) in enumerate(splits(table.truth, params.folds, seed_of(seed, _SPLITS, repeat)))
    ]
    parts = []
    for part in joblib.Parallel(n_jobs=jobs, return_as="generator")(
        joblib.delayed(_evaluate_fold)(table, one, params, seed, tune) for one in outer
    ):
        parts.append(part)
        if done is not None:
            done()
    return NestedPredictions(pd.concat(parts).sort_values(["repeat", "id"], kind="stable").reset_index(drop=True))


def outer_folds(labels: pd.Series | NDArray[np.int64], params: ClassifierParams, *, tuned: bool) -> int:
    """Number of folds in a repeat: `params.folds`, or the number of patients of the rarer class if that is lower.

    The training patients of every fold must include both classes. If XGBoost is tuned inside the folds, they are split
    once more and must include two patients of each class.

    Raises
    ------
    ValueError
        If a class has too few patients; the message says how many are needed.
    """
    ill = int(np.sum(np.asarray(labels) == 1))
    rarer, needed = min(ill, len(labels) - ill), _fewest_of_a_class(params.folds, remaining=2 if tuned else 1)
    if rarer < needed:
        inside = " and a search for XGBoost's settings inside each" if tuned else ""
        raise ValueError(
            f"nested validation with {params.folds} folds{inside} needs at least {needed} patients of each class, "
            f"got {len(labels)} patients, {ill} of them with cancer"
        )
    return min(params.folds, rarer)


def fit_models(
    features: pd.DataFrame,
    labels: pd.Series,
    params: ClassifierParams,
    seed: int,
    *,
    tune: Tuner | None = None,
    jobs: int = 1,
) -> FittedModels:
    """Fit every model to all patients, and choose one by the out-of-fold predictions."""
    return _choose_and_fit(labelled_table(features, labels), params, seed, tune, jobs)


def best(found: Mapping[LearnedName, OutOfFoldResult]) -> LearnedName:
    """Return ``average``, unless another model beats it by more than one standard error of the gain in log-loss.

    With few patients the lowest of five log-losses is mostly chance, so it alone does not decide. The losses are paired
    by patient, so the standard error of their difference is small.
    """
    gains = {name: found["average"].losses - one.losses for name, one in found.items()}
    beyond_chance = {name: gain.mean() - gain.std(ddof=1) / np.sqrt(len(gain)) for name, gain in gains.items()}
    rival = max(beyond_chance, key=lambda name: beyond_chance[name])
    return rival if beyond_chance[rival] > 0 else "average"


def best_f1_threshold(truth: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Threshold with the highest F1: patients with this probability or a higher one are called positive."""
    precision, recall, thresholds = precision_recall_curve(truth, probabilities)
    # F1 = 2PR / (P + R), and 0 where both are 0.
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    return float(thresholds[np.argmax(f1[:-1])])


def _fewest_of_a_class(folds: int, remaining: int) -> int:
    """Smallest size of a class of which `remaining` patients are left when the largest of its folds is held out."""
    return next(count for count in itertools.count(2) if count - math.ceil(count / min(folds, count)) >= remaining)


def _tune_xgboost(table: LabelledTable, params: ClassifierParams, seed: int, tune: Tuner | None) -> ClassifierParams:
    if tune is None:
        return params
    features = pd.DataFrame(table.values, index=table.patients, columns=list(table.columns))
    return replace(params, xgboost=tune(features, pd.Series(table.truth, index=table.patients), params, seed))


def _choose_and_fit(
    table: LabelledTable, params: ClassifierParams, seed: int, tune: Tuner | None, jobs: int = 1
) -> FittedModels:
    params = _tune_xgboost(table, params, seed, tune)
    params, found = evaluate_out_of_fold(table, params, seed, jobs)
    learned = fit_learned(LEARNED, table, params, {name: one.calibration for name, one in found.items()}, seed, jobs)
    chosen = best(found)
    return FittedModels(
        classifiers={name: learned.get(name) or constant(name, table) for name in MODEL_NAMES},
        chosen=chosen,
        inner_log_loss={name: one.log_loss for name, one in found.items()},
        threshold=best_f1_threshold(table.truth, found[chosen].calibrated),
        settings=params,
    )


def _evaluate_fold(
    table: LabelledTable, outer: _OuterFold, params: ClassifierParams, seed: int, tune: Tuner | None
) -> pd.DataFrame:
    """Rows of `NestedPredictions.table` for one outer fold."""
    training, held_out = table.rows(outer.train), table.rows(outer.held_out)
    fitted = _choose_and_fit(training, params, seed_of(seed, _WORK, outer.repeat, outer.fold), tune)
    features = pd.DataFrame(held_out.values, index=held_out.patients, columns=list(held_out.columns))
    rows = pd.DataFrame({name: predict(fitted.classifiers[name], features) for name in MODEL_NAMES})
    rows = rows.assign(chosen=rows[fitted.chosen], chosen_model=fitted.chosen, threshold=fitted.threshold)
    leading = {"id": held_out.patients, "repeat": outer.repeat, "fold": outer.fold, "label": held_out.truth}
    for position, (name, values) in enumerate(leading.items()):
        rows.insert(position, name, values)
    return rows.reset_index(drop=True)
