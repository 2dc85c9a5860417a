"""Which features moved a patient's probability, and which ones a model cannot do without."""

from __future__ import annotations

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.special import expit, logit
from xgboost import DMatrix

from nodules.models.cancer.calibration import Calibration
from nodules.models.cancer.classifier import Classifier, fit_settled, used_values
from nodules.models.cancer.cross_fitting import log_loss
from nodules.models.cancer.estimators import BoostedTrees, Estimator, Forest
from nodules.models.cancer.params import ClassifierParams, ModelName
from nodules.models.cancer.penalised_logistic import PenalisedLogistic
from nodules.models.cancer.table import labelled_table

BASE = "base"
SHUFFLES = 5
"""Of each feature in each fold, for `held_out_importance`."""
_NOTHING = 1e-9

Array = NDArray[np.float64]


def contributions(classifier: Classifier, features: pd.DataFrame) -> pd.DataFrame:
    """Share of every feature in each patient's log-odds of cancer.

    Boosted trees are taken apart by exact tree SHAP values, a logistic model into its terms, a forest along each
    patient's way down its trees; the parts of an average are averaged. In each row they are then stretched by one
    factor, never negative, so that they add up to the calibrated log-odds.

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
    values = used_values(classifier, features)
    members = list(classifier.members.values())
    shares, bases = zip(*(_probability_shares(member, values) for member in members), strict=True)
    parts, base = np.mean(shares, axis=0), float(np.mean(bases))
    stated, nobody = classifier.stated(values) if len(values) else np.empty(0), np.array([base])
    if classifier.calibration is not None:
        stated, nobody = classifier.calibration.of(stated), classifier.calibration.of(nobody)
    log_odds = logit(stated)
    parts = _stretched(parts, log_odds - logit(nobody))
    table = pd.DataFrame(parts, index=features.index, columns=list(classifier.features))
    return table.assign(**{BASE: log_odds - parts.sum(axis=1)})


def permutation_importance(
    classifier: Classifier, features: pd.DataFrame, labels: pd.Series, seed: int, repeats: int, most: int = 30
) -> pd.DataFrame:
    """Rise of the log-loss when one feature's values are dealt to the wrong patients.

    Only features that move these patients' probabilities are tried, and of them the `most` that move them furthest.

    Parameters
    ----------
    features : DataFrame
        Of patients the classifier was not fitted to, indexed by patient id.
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
    moved = contributions(classifier, ordered).drop(columns=BASE).abs().mean().to_numpy()
    tried = [column for column in np.argsort(-moved, kind="stable")[:most] if moved[column] > 0]
    before = log_loss(table.truth, _calibrated(classifier, table.values))
    generator = np.random.default_rng(seed)
    rows = []
    for column in tried:
        dealt = np.tile(table.values, (repeats, 1))
        dealt[:, column] = np.concatenate([generator.permutation(table.values[:, column]) for _ in range(repeats)])
        probabilities = _calibrated(classifier, dealt).reshape(repeats, -1)
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
    """Permutation importance among the patients of each fold, for a model fitted to the other folds.

    Parameters
    ----------
    name : str
        The kind of model that is fitted.
    features, labels
        Of all patients, by patient id.
    folds : Series of int
        The fold in which each patient is held out.
    settings, calibration
        Those of the model fitted to all patients: neither is chosen again.
    seed : int
        Of the fits and of the shuffles.
    jobs : int
        Processes.

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
    rises = found.to_numpy(dtype=float)  # of no dtype where no feature moved any probability
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
    model = fit_settled((name,), table, settings, {name: calibration}, seed)[name]
    return permutation_importance(model, features.loc[held_out], labels.loc[held_out], seed, SHUFFLES)


def _calibrated(classifier: Classifier, values: Array) -> Array:
    stated = classifier.stated(values)
    return classifier.calibration.of(stated) if classifier.calibration else stated


def _probability_shares(member: Estimator, values: Array) -> tuple[Array, float]:
    """Parts of each patient's probability (patients, features), and the probability they are added to."""
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
        return _along_the_ways(member, values)
    return np.zeros(values.shape), float(member.probabilities(values)[0])


def _from_log_odds(parts: Array, base: float) -> tuple[Array, float]:
    before = float(expit(base))
    return _stretched(parts, expit(base + parts.sum(axis=1)) - before), before


def _along_the_ways(forest: Forest, values: Array) -> tuple[Array, float]:
    """Each step down a tree changes the share of cancer; the change belongs to the feature that was asked."""
    ways, starts = forest.trees.decision_path(values)
    changes, asked, base = [], [], 0.0
    for grown in forest.trees.estimators_:
        tree = grown.tree_
        shares = tree.value[:, 0, 1] / tree.value[:, 0].sum(axis=1)
        change, feature = np.zeros(tree.node_count), np.zeros(tree.node_count, dtype=np.intp)
        for children in (tree.children_left, tree.children_right):
            parents = np.flatnonzero(children >= 0)
            change[children[parents]] = shares[children[parents]] - shares[parents]
            feature[children[parents]] = tree.feature[parents]
        changes.append(change)
        asked.append(feature)
        base += float(shares[0])
    count = len(forest.trees.estimators_)
    nodes = int(starts[-1])
    by_feature = csr_matrix(
        (np.concatenate(changes), (np.arange(nodes), np.concatenate(asked))), shape=(nodes, values.shape[1])
    )
    return np.asarray((ways @ by_feature).todense()) / count, base / count


def _stretched(parts: Array, wanted: Array) -> Array:
    """Multiply each row so that it adds up to `wanted`; a row that adds up to nothing is nothing."""
    found = parts.sum(axis=1)
    something = np.abs(found) > _NOTHING
    factors = np.where(something, wanted / np.where(something, found, 1.0), 0.0)
    return np.asarray(parts * factors[:, None])
