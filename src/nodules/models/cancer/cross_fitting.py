"""Out-of-fold predictions of the training patients, on which settings, calibrations and the model are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import joblib
import numpy as np
from numpy.typing import NDArray

from nodules.log_loss import log_losses
from nodules.models.cancer.estimators import Estimator, Family, families_of, fit_variants, variants_of
from nodules.models.cancer.feature_selection import screen
from nodules.models.cancer.params import ClassifierParams, LogisticParams, ModelName
from nodules.models.cancer.table import LabelledTable, splits
from nodules.models.runtime.seeds import seed_of

Array = NDArray[np.float64]
HeldOut = dict[Family, Array]


def held_out_predictions(
    families: Sequence[Family],
    table: LabelledTable,
    params: ClassifierParams,
    seed: int,
    *,
    folds: int,
    jobs: int = 1,
) -> HeldOut:
    """Predict every patient by each family's variants; features are selected and models fitted without that patient.

    Returns
    -------
    dict of float64 (patients, variants)
        Uncalibrated probabilities. If a class has fewer than two patients, there are no folds, and every probability
        is the share of patients with cancer.
    """
    predicted = {name: np.full((len(table.truth), variants_of(name, params)), table.truth.mean()) for name in families}
    if min(table.truth.sum(), (1 - table.truth).sum()) < 2:
        return predicted
    division = list(splits(table.truth, folds, seed))
    parts = joblib.Parallel(n_jobs=jobs)(
        joblib.delayed(_predict_fold)(families, table, train, held_out, params, seed_of(seed, fold))
        for fold, (train, held_out) in enumerate(division)
    )
    for (_, held_out), part in zip(division, parts, strict=True):
        for name in families:
            predicted[name][held_out] = part[name]
    return predicted


def choose_variants(
    params: ClassifierParams, table: LabelledTable, predictions: HeldOut
) -> tuple[ClassifierParams, HeldOut]:
    """Choose the variant of each family with the lowest log-loss; returns its settings and its predictions."""
    best = {
        name: int(np.argmin([log_loss(table.truth, variant) for variant in probabilities.T]))
        for name, probabilities in predictions.items()
    }
    if "logistic" in best:
        chosen = params.logistic.inverse_penalties[best["logistic"]]
        params = replace(params, logistic=LogisticParams((chosen,)))
    return params, {name: probabilities[:, [best[name]]] for name, probabilities in predictions.items()}


def mean_of(name: ModelName, predictions: HeldOut) -> Array:
    """Mean of the predictions of a model's families, float64 (patients,)."""
    return np.asarray(np.mean([predictions[family][:, 0] for family in families_of(name)], axis=0))


def fit_families(
    families: Sequence[Family], table: LabelledTable, params: ClassifierParams, seed: int, threads: int = 1
) -> tuple[NDArray[np.intp], dict[Family, list[Estimator]]]:
    """Select features and fit every variant of each family to them; also returns the positions of these columns."""
    columns = screen(table.values, table.truth, params.max_features)
    values = np.ascontiguousarray(table.values[:, columns])
    return columns, {name: fit_variants(name, values, table.truth, params, seed, threads) for name in families}


def log_loss(truth: NDArray[np.int64], probabilities: Array) -> float:
    """Mean log-loss; probabilities are clipped to [eps, 1 - eps] with the eps of float64."""
    return float(log_losses(truth, probabilities, float(np.finfo(np.float64).eps)).mean())


def _predict_fold(
    families: Sequence[Family],
    table: LabelledTable,
    train: NDArray[np.intp],
    held_out: NDArray[np.intp],
    params: ClassifierParams,
    seed: int,
) -> HeldOut:
    columns, fitted = fit_families(families, table.rows(train), params, seed)
    unseen = table.values[np.ix_(held_out, columns)]
    return {
        name: np.column_stack([variant.probabilities(unseen) for variant in variants])
        for name, variants in fitted.items()
    }
