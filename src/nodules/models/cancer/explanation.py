"""Explanation of a classifier: contributions of features to one patient's log-odds, and permutation importance."""

from __future__ import annotations

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.special import expit, logit
from xgboost import DMatrix

from nodules.models.cancer.calibration import Calibration
from nodules.models.cancer.classifier import Classifier, feature_values, fit_learned
from nodules.models.cancer.cross_fitting import log_loss
from nodules.models.cancer.estimators import BoostedTrees, Estimator, Forest
from nodules.models.cancer.params import ClassifierParams, ModelName
from nodules.models.cancer.penalised_logistic import PenalisedLogistic
from nodules.models.cancer.table import labelled_table

BASE = "base"
SHUFFLES = 5
"""Shuffles of each feature in each fold, in `held_out_importance`."""
_NEGLIGIBLE = 1e-9

Array = NDArray[np.float64]


def contributions(classifier: Classifier, features: pd.DataFrame) -> pd.DataFrame:
    """Contribution of every feature to each patient's log-odds of cancer.

    The contributions are exact tree SHAP values for boosted trees, the terms of a logistic model, and the changes along
    each patient's decision paths for a forest. An average of models has the mean of their contributions. Each row is
    then multiplied by one non-negative factor, so that it adds up to the calibrated log-odds.

    Returns
    -------
    DataFrame
        Rows as in `features`, one column per feature of the classifier and ``base``; each row adds up to the log-odds
        of `classifier.predict`. A feature that the model does not use has 0.

    References
    ----------
    Lundberg et al. 2020, From local explanations to global understanding with explainable AI for trees; Palczewska et
    al. 2013, Interpreting random forest models using a feature contribution method.
    """
    values = feature_values(classifier, features)
    members = list(classifier.members.values())
    shares, bases = zip(*(_probability_shares(member, values) for member in members), strict=True)
    parts, base = np.mean(shares, axis=0), float(np.mean(bases))
    predicted, at_base = classifier.uncalibrated(values) if len(values) else np.empty(0), np.array([base])
    if classifier.calibration is not None:
        predicted, at_base = classifier.calibration.of(predicted), classifier.calibration.of(at_base)
    log_odds = logit(predicted)
    parts = _rescaled(parts, log_odds - logit(at_base))
    table = pd.DataFrame(parts, index=features.index, columns=list(classifier.features))
    return table.assign(**{BASE: log_odds - parts.sum(axis=1)})


def permutation_importance(
    classifier: Classifier, features: pd.DataFrame, labels: pd.Series, seed: int, repeats: int, max_features: int = 30
) -> pd.DataFrame:
    """Rise of the log-loss when one feature's values are shuffled among the patients.

    Tested are the `max_features` features with the largest mean contribution to these patients' log-odds, except those
    that contribute nothing.

    Parameters
    ----------
    features : DataFrame
        Features of patients to whom the classifier was not fitted, indexed by patient id.
    labels : Series of 0 and 1
        The same patients.
    repeats : int
        Shuffles of each feature.

    Returns
    -------
    DataFrame
        ``feature, log_loss_increase, standard_deviation`` (over `repeats` shuffles), most important first.

    References
    ----------
    Breiman 2001, Random forests, section 10.
    """
    table = labelled_table(features[list(classifier.features)], labels)
    ordered = features.loc[table.patients]
    mean_moves = contributions(classifier, ordered).drop(columns=BASE).abs().mean().to_numpy()
    tested = [column for column in np.argsort(-mean_moves, kind="stable")[:max_features] if mean_moves[column] > 0]
    before = log_loss(table.truth, _calibrated(classifier, table.values))
    generator = np.random.default_rng(seed)
    rows = []
    for column in tested:
        shuffled = np.tile(table.values, (repeats, 1))
        shuffled[:, column] = np.concatenate([generator.permutation(table.values[:, column]) for _ in range(repeats)])
        probabilities = _calibrated(classifier, shuffled).reshape(repeats, -1)
        rises = np.array([log_loss(table.truth, one) for one in probabilities]) - before
        rows.append((classifier.features[column], float(rises.mean()), float(rises.std())))
    found = pd.DataFrame(rows, columns=["feature", "log_loss_increase", "standard_deviation"])
    return found.sort_values("log_loss_increase", ascending=False, kind="stable").reset_index(drop=True)


def held_out_importance(
    name: ModelName,
    features: pd.DataFrame,
    labels: pd.Series,
    folds: pd.Series,
    settings: ClassifierParams,
    calibration: Calibration | None,
    seed: int,
    jobs: int,
) -> pd.DataFrame:
    """Permutation importance on the patients of each fold, for a model fitted to the other folds.

    Parameters
    ----------
    name : str
        Name of the model.
    features, labels
        Features and labels of all patients, by patient id.
    folds : Series of int
        The fold in which each patient is held out.
    settings, calibration
        Settings and calibration of the model fitted to all patients; they are not chosen again.
    seed : int
        Seed of the fits and of the shuffles.
    jobs : int
        Number of processes.

    Returns
    -------
    DataFrame
        ``feature``, ``log_loss_increase``, ``standard_deviation`` (of the mean over the folds), most important first.
    """
    tasks = [folds.index[folds == fold] for fold in sorted(folds.unique())]
    tables = joblib.Parallel(n_jobs=jobs)(
        joblib.delayed(_importance_in_fold)(held_out, name, features, labels, settings, calibration, seed)
        for held_out in tasks
    )
    found = pd.concat([table.set_index("feature")["log_loss_increase"] for table in tables], axis=1).fillna(0.0)
    weights = np.array([len(held_out) for held_out in tasks]) / len(folds)
    rises = found.to_numpy(dtype=float)  # the dtype must be given: without any tested feature the table has none
    mean = rises @ weights
    spread = np.sqrt((rises - mean[:, np.newaxis]) ** 2 @ weights / max(len(tasks) - 1, 1))
    table = pd.DataFrame({"feature": found.index, "log_loss_increase": mean, "standard_deviation": spread})
    return table.sort_values(["log_loss_increase", "feature"], ascending=[False, True], ignore_index=True)


def _importance_in_fold(
    held_out: pd.Index,
    name: ModelName,
    features: pd.DataFrame,
    labels: pd.Series,
    settings: ClassifierParams,
    calibration: Calibration | None,
    seed: int,
) -> pd.DataFrame:
    others = labels.index.difference(held_out)
    table = labelled_table(features.loc[others], labels.loc[others])
    model = fit_learned((name,), table, settings, {name: calibration}, seed)[name]
    return permutation_importance(model, features.loc[held_out], labels.loc[held_out], seed, SHUFFLES)


def _calibrated(classifier: Classifier, values: Array) -> Array:
    probabilities = classifier.uncalibrated(values)
    return classifier.calibration.of(probabilities) if classifier.calibration else probabilities


def _probability_shares(member: Estimator, values: Array) -> tuple[Array, float]:
    """Contributions to each patient's probability (patients, features), and the base probability they are added to."""
    if not len(values):
        return np.zeros(values.shape), 0.5
    if isinstance(member, PenalisedLogistic):
        return _from_log_odds(member.terms(values), member.intercept)
    if isinstance(member, BoostedTrees):
        inputs = DMatrix(values)
        found = np.stack([model.get_booster().predict(inputs, pred_contribs=True) for model in member.models])
        found = found.mean(axis=0, dtype=np.float64)
        return _from_log_odds(found[:, :-1], float(found[0, -1]))
    if isinstance(member, Forest):
        return _path_contributions(member, values)
    return np.zeros(values.shape), float(member.probabilities(values)[0])


def _from_log_odds(parts: Array, base: float) -> tuple[Array, float]:
    before = float(expit(base))
    return _rescaled(parts, expit(base + parts.sum(axis=1)) - before), before


def _path_contributions(forest: Forest, values: Array) -> tuple[Array, float]:
    """Sum the changes of the share of cancer along each decision path; a change belongs to the feature of the split."""
    paths, starts = forest.trees.decision_path(values)
    changes, split_features, base = [], [], 0.0
    for grown in forest.trees.estimators_:
        tree = grown.tree_
        shares = tree.value[:, 0, 1] / tree.value[:, 0].sum(axis=1)
        change, feature = np.zeros(tree.node_count), np.zeros(tree.node_count, dtype=np.intp)
        for children in (tree.children_left, tree.children_right):
            parents = np.flatnonzero(children >= 0)
            change[children[parents]] = shares[children[parents]] - shares[parents]
            feature[children[parents]] = tree.feature[parents]
        changes.append(change)
        split_features.append(feature)
        base += float(shares[0])
    count = len(forest.trees.estimators_)
    nodes = int(starts[-1])
    by_feature = csr_matrix(
        (np.concatenate(changes), (np.arange(nodes), np.concatenate(split_features))), shape=(nodes, values.shape[1])
    )
    return np.asarray((paths @ by_feature).todense()) / count, base / count


def _rescaled(parts: Array, totals: Array) -> Array:
    """Multiply each row so that it adds up to its entry of `totals`; a row whose sum is 0 becomes 0."""
    found = parts.sum(axis=1)
    nonzero = np.abs(found) > _NEGLIGIBLE
    factors = np.where(nonzero, totals / np.where(nonzero, found, 1.0), 0.0)
    return np.asarray(parts * factors[:, None])
