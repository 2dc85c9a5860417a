"""Nested, repeated cross-validation: everything that is chosen is chosen without the patients it is judged by."""

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

from nodules.models.cancer.classifier import Candidacy, Classifier, candidacies, constant, fit_settled, predict
from nodules.models.cancer.params import LEARNED, MODEL_NAMES, ClassifierParams, LearnedName, ModelName, XGBoostParams
from nodules.models.cancer.table import LabelledTable, labelled_table, refuse_scans_entered_twice, splits
from nodules.models.runtime.seeds import seed_of

Tuner = Callable[[pd.DataFrame, pd.Series, ClassifierParams, int], XGBoostParams]
"""Tunes XGBoost on the features and labels of the patients it is given."""

_SPLITS, _WORK = range(2)


@dataclass(frozen=True)
class NestedPredictions:
    """Predictions of every patient by models that were chosen and fitted without them.

    Attributes
    ----------
    table : DataFrame
        One row per patient and repeat: ``id``, ``repeat`` and ``fold`` (from 0), ``label``, one probability per
        `MODEL_NAMES`, ``chosen`` (of the model chosen in that fold), ``chosen_model`` and ``threshold`` (the best F1
        of the chosen model's inner predictions for that fold's training patients).
    """

    table: pd.DataFrame


@dataclass(frozen=True)
class FittedModels:
    """All models fitted to the same patients, and what these patients said about each beforehand.

    Attributes
    ----------
    classifiers : dict of Classifier
        One per `MODEL_NAMES`.
    chosen : str
        The learned model to use, see `best`.
    inner_log_loss : dict of float
        Of every learned model, on patients predicted and calibrated without themselves.
    threshold : float
        Probability with the best F1 on the chosen model's inner predictions.
    settings : ClassifierParams
        With XGBoost's settings and the penalty as these patients chose them.
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
    """Predict every patient `params.repeats` times from outside their fold.

    In each fold the columns, the settings of XGBoost (by `tune`), the penalty, the calibrations, the model and its
    threshold are chosen among the other patients only. Folds run in `jobs` processes, of which the result does not
    depend; `done` is called after each of them.

    Parameters
    ----------
    features : DataFrame
        One row per patient, indexed by patient id; missing values may be NaN.
    labels : Series of 0 and 1
        The same patients.

    Raises
    ------
    ValueError
        What `labelled_table` refuses; a class with fewer patients than `outer_folds` wants; one scan under two patient
        ids.
    """
    table = labelled_table(features, labels)
    outer_folds(table.truth, params, tuned=tune is not None)
    refuse_scans_entered_twice(table)
    outer = [
        _OuterFold(repeat, fold, train, held_out)
        for repeat in range(params.repeats)
        for fold, (train, held_out) in enumerate(splits(table.truth, params.folds, seed_of(seed, _SPLITS, repeat)))
    ]
    parts = []
    for part in joblib.Parallel(n_jobs=jobs, return_as="generator")(
        joblib.delayed(_judge)(table, one, params, seed, tune) for one in outer
    ):
        parts.append(part)
        if done is not None:
            done()
    return NestedPredictions(pd.concat(parts).sort_values(["repeat", "id"], kind="stable").reset_index(drop=True))


def outer_folds(labels: pd.Series | NDArray[np.int64], params: ClassifierParams, *, tuned: bool) -> int:
    """Number of folds in a repeat: `params.folds`, or the patients of the rarer class if these are fewer.

    The patients outside a fold must hold both classes; `tuned` inside it, they are divided once more, which takes two
    of each.

    Raises
    ------
    ValueError
        If a class of all patients is too small for that. It says how many the settings want.
    """
    ill = int(np.sum(np.asarray(labels) == 1))
    rarer, wanted = min(ill, len(labels) - ill), _fewest_of_a_class(params.folds, left_over=2 if tuned else 1)
    if rarer < wanted:
        inside = " and a search for XGBoost's settings inside each" if tuned else ""
        raise ValueError(
            f"nested validation with {params.folds} folds{inside} needs at least {wanted} patients of each class, "
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
    """Fit every model to all patients, and choose one by their inner predictions."""
    return _fitted(labelled_table(features, labels), params, seed, tune, jobs)


def best(found: Mapping[LearnedName, Candidacy]) -> LearnedName:
    """Give the average, unless a single model beats it by more than one standard error of the gain.

    Of the same patients' losses the standard error is small where models differ in earnest; with few patients the
    lowest of five losses is mostly luck.
    """
    gains = {name: found["average"].losses - one.losses for name, one in found.items()}
    beyond_chance = {name: gain.mean() - gain.std(ddof=1) / np.sqrt(len(gain)) for name, gain in gains.items()}
    rival = max(beyond_chance, key=lambda name: beyond_chance[name])
    return rival if beyond_chance[rival] > 0 else "average"


def best_f1_threshold(truth: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Lowest probability to call cancer for the highest F1."""
    precision, recall, thresholds = precision_recall_curve(truth, probabilities)
    # 2PR / (P + R), and 0 where both are.
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    return float(thresholds[np.argmax(f1[:-1])])


def _fewest_of_a_class(folds: int, left_over: int) -> int:
    """Smallest class of which `left_over` patients remain when the largest of its folds is held out."""
    return next(count for count in itertools.count(2) if count - math.ceil(count / min(folds, count)) >= left_over)


def _tuned(table: LabelledTable, params: ClassifierParams, seed: int, tune: Tuner | None) -> ClassifierParams:
    if tune is None:
        return params
    features = pd.DataFrame(table.values, index=table.patients, columns=list(table.columns))
    return replace(params, xgboost=tune(features, pd.Series(table.truth, index=table.patients), params, seed))


def _fitted(
    table: LabelledTable, params: ClassifierParams, seed: int, tune: Tuner | None, jobs: int = 1
) -> FittedModels:
    params = _tuned(table, params, seed, tune)
    params, found = candidacies(table, params, seed, jobs)
    learned = fit_settled(LEARNED, table, params, {name: one.calibration for name, one in found.items()}, seed, jobs)
    chosen = best(found)
    return FittedModels(
        classifiers={name: learned.get(name) or constant(name, table) for name in MODEL_NAMES},
        chosen=chosen,
        inner_log_loss={name: one.log_loss for name, one in found.items()},
        threshold=best_f1_threshold(table.truth, found[chosen].calibrated),
        settings=params,
    )


def _judge(
    table: LabelledTable, outer: _OuterFold, params: ClassifierParams, seed: int, tune: Tuner | None
) -> pd.DataFrame:
    """Rows of `NestedPredictions.table` for one outer fold."""
    training, held_out = table.rows(outer.train), table.rows(outer.held_out)
    fitted = _fitted(training, params, seed_of(seed, _WORK, outer.repeat, outer.fold), tune)
    features = pd.DataFrame(held_out.values, index=held_out.patients, columns=list(held_out.columns))
    rows = pd.DataFrame({name: predict(fitted.classifiers[name], features) for name in MODEL_NAMES})
    rows = rows.assign(chosen=rows[fitted.chosen], chosen_model=fitted.chosen, threshold=fitted.threshold)
    before = {"id": held_out.patients, "repeat": outer.repeat, "fold": outer.fold, "label": held_out.truth}
    for position, (name, values) in enumerate(before.items()):
        rows.insert(position, name, values)
    return rows.reset_index(drop=True)
