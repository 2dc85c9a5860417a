"""The tutorial's two classifiers and two constants, judged as its page prints them: a report and a log-loss each."""

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
"""What XGBoost took for granted when the page was written; its trees are twice as deep today."""

Array = NDArray[np.float64]
MakeClassifier = Callable[[int], Any]


@dataclass(frozen=True)
class ReportTable:
    """How one model does on all patients.

    Attributes
    ----------
    report : str
        Precision, recall, F1 and number of patients of both classes, as `sklearn.metrics.classification_report` has it.
    log_loss : float
        Of the probabilities, or of the classes with the defect `log_loss_of_hard_labels`.
    f1 : float
        Of cancer; 0 where nobody is called so.
    roc_auc : float
        Of the probabilities; NaN where all patients have the same.
    probabilities : Series
        Of cancer, by patient id, from a model that was fitted without the patient.
    """

    report: str
    log_loss: float
    f1: float
    roc_auc: float
    probabilities: pd.Series


def evaluate_classifiers(
    features: pd.DataFrame, labels: pd.Series, params: TutorialClassifierParams, seed: int
) -> dict[str, ReportTable]:
    """Judge Random Forest, XGBoost and both constant answers on patients held out in stratified folds.

    Parameters
    ----------
    features : DataFrame
        One row a patient, indexed by patient id; the order of rows does not matter.
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
    """Probability of cancer (patients,), each patient's from the fold that was fitted without it."""
    shuffle = not params.defects.folds_unshuffled
    division = StratifiedKFold(params.folds, shuffle=shuffle, random_state=seed if shuffle else None)
    probabilities = np.empty(len(table.truth))
    for fold, (fitted_to, held_out) in enumerate(division.split(table.values, table.truth)):
        classifier = make(seed_of(seed, fold)).fit(table.values[fitted_to], table.truth[fitted_to])
        probabilities[held_out] = classifier.predict_proba(table.values[held_out])[:, 1]
    return probabilities


def _evaluated(table: LabelledTable, probabilities: Array, params: TutorialClassifierParams) -> ReportTable:
    called = (probabilities > 0.5).astype(int)  # as both classifiers call it: at even odds no cancer
    stated = called if params.defects.log_loss_of_hard_labels else probabilities
    constant = probabilities.min() == probabilities.max()
    return ReportTable(
        report=str(metrics.classification_report(table.truth, called, target_names=list(CLASS_NAMES), zero_division=0)),
        log_loss=float(log_losses(table.truth, stated, LOG_LOSS_CLIP).mean()),
        f1=float(metrics.f1_score(table.truth, called, zero_division=0)),
        roc_auc=float("nan") if constant else float(metrics.roc_auc_score(table.truth, probabilities)),
        probabilities=pd.Series(probabilities, index=table.patients, name="probability"),
    )
