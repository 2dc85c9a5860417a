"""The tutorial's two classifiers and two constants, evaluated as on its page: a report and a log-loss for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedKFold
from xgboost import XGBClassifier

from nodules.evaluation.cancer import CLASS_NAMES, LOG_LOSS_CLIP
from nodules.log_loss import log_losses
from nodules.models.cancer.table import LabelledTable, labelled_table
from nodules.models.runtime.seeds import seed_of
from nodules.tutorial.learning.settings import TutorialClassifierParams

XGBOOST_OF_2017 = {"max_depth": 3, "learning_rate": 0.1}
"""XGBoost's defaults when the page was written; since then the default depth has doubled."""

Array = NDArray[np.float64]
MakeClassifier = Callable[[int], Any]


@dataclass(frozen=True)
class ReportTable:
    """Metrics of one model on all patients.

    Attributes
    ----------
    report : str
        Precision, recall, F1 and number of patients of both classes, by `sklearn.metrics.classification_report`.
    log_loss : float
        Log-loss of the probabilities, or of the predicted classes with the defect `log_loss_of_hard_labels`.
    f1 : float
        F1 of the class cancer; 0 if no patient is predicted to have it.
    roc_auc : float
        Area under the ROC curve; NaN if all patients have the same probability.
    probabilities : Series
        Out-of-fold probability of cancer, by patient id.
    """

    report: str
    log_loss: float
    f1: float
    roc_auc: float
    probabilities: pd.Series


def evaluate_classifiers(
    features: pd.DataFrame, labels: pd.Series, params: TutorialClassifierParams, seed: int
) -> dict[str, ReportTable]:
    """Evaluate Random Forest, XGBoost and both constant predictions by stratified cross-validation.

    Parameters
    ----------
    features : DataFrame
        One row per patient, indexed by patient id; the order of rows does not matter.
    labels : Series of 0 and 1
        The same patients; 1 is cancer.

    Returns
    -------
    dict of ReportTable
        In the page's order: ``random_forest``, ``xgboost``, ``all_positive``, ``all_negative``.

    Raises
    ------
    ValueError
        If a class has fewer patients than there are folds, a patient appears twice or in only one of the tables, a
        label is not 0 or 1, or a feature is not a number.
    """
    table = labelled_table(features, labels)
    _refuse_small_classes(table, params.folds)
    makers: dict[str, MakeClassifier] = {
        "random_forest": lambda state: RandomForestClassifier(params.trees, n_jobs=1, random_state=state),
        "xgboost": lambda state: XGBClassifier(
            objective="binary:logistic",
            n_estimators=params.trees,
            scale_pos_weight=params.scale_pos_weight,
            n_jobs=1,
            random_state=state % 2**31,
            **XGBOOST_OF_2017,
        ),
    }
    probabilities = {name: _held_out(make, table, params, seed) for name, make in makers.items()}
    probabilities |= {"all_positive": np.ones(len(table.truth)), "all_negative": np.zeros(len(table.truth))}
    return {name: _evaluated(table, probability, params) for name, probability in probabilities.items()}


def _refuse_small_classes(table: LabelledTable, folds: int) -> None:
    healthy, ill = np.bincount(table.truth, minlength=2).tolist()
    if min(healthy, ill) < folds:
        raise ValueError(
            f"{folds} stratified folds need at least {folds} patients of each class, "
            f"got {ill} with cancer and {healthy} without"
        )


def _held_out(make: MakeClassifier, table: LabelledTable, params: TutorialClassifierParams, seed: int) -> Array:
    """Out-of-fold probability of cancer (patients,)."""
    shuffle = not params.defects.folds_unshuffled
    division = StratifiedKFold(params.folds, shuffle=shuffle, random_state=seed if shuffle else None)
    probabilities = np.empty(len(table.truth))
    for fold, (fitted_to, held_out) in enumerate(division.split(table.values, table.truth)):
        classifier = make(seed_of(seed, fold)).fit(table.values[fitted_to], table.truth[fitted_to])
        probabilities[held_out] = classifier.predict_proba(table.values[held_out])[:, 1]
    return probabilities


def _evaluated(table: LabelledTable, probabilities: Array, params: TutorialClassifierParams) -> ReportTable:
    predicted = (probabilities > 0.5).astype(int)  # as both classifiers do: 0.5 itself is not cancer
    scored = predicted if params.defects.log_loss_of_hard_labels else probabilities
    constant = probabilities.min() == probabilities.max()
    return ReportTable(
        report=str(
            metrics.classification_report(table.truth, predicted, target_names=list(CLASS_NAMES), zero_division=0)
        ),
        log_loss=float(log_losses(table.truth, scored, LOG_LOSS_CLIP).mean()),
        f1=float(metrics.f1_score(table.truth, predicted, zero_division=0)),
        roc_auc=float("nan") if constant else float(metrics.roc_auc_score(table.truth, probabilities)),
        probabilities=pd.Series(probabilities, index=table.patients, name="probability"),
    )
