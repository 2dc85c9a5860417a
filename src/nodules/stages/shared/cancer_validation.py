"""Nested validation of the cancer classifiers and its figures, for `train_classifier` and `nodules classify`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from nodules import parallel, progress
from nodules.evaluation import cancer
from nodules.evaluation.bootstrap import evaluate_repeated, from_table
from nodules.models.cancer import explanation, nested_validation
from nodules.models.cancer.nested_validation import FittedModels
from nodules.models.cancer.params import MODEL_NAMES, ClassifierParams
from nodules.stages.shared.patients import Patients

CHOSEN = "chosen"  # the column of the model that each fold chose for itself


@dataclass(frozen=True)
class Validated:
    """Predictions of all models for patients outside the fold.

    Attributes
    ----------
    predictions : DataFrame
        `NestedPredictions.table`.
    metrics : DataFrame
        `evaluation.bootstrap.evaluate_repeated` of the model chosen in each fold and of all others.
    """

    predictions: pd.DataFrame
    metrics: pd.DataFrame

    @property
    def labels(self) -> pd.Series:
        """1 for cancer, by patient."""
        return self.predictions.groupby("id")["label"].first()

    @property
    def first_repeat(self) -> pd.DataFrame:
        """Every patient once, by id."""
        table = self.predictions
        return table[table["repeat"] == table["repeat"].min()].set_index("id").sort_index()


def validate(
    patients: Patients, params: ClassifierParams, seed: int, tune: nested_validation.Tuner | None = None
) -> Validated:
    """Validate all models, with a progress bar; the result does not depend on the number of processes."""
    folds = nested_validation.outer_folds(patients.labels, params, tuned=tune is not None) * params.repeats
    with progress.bar("classifiers", folds, "fold") as bar:

        def advance() -> None:
            bar.update()

        nested = nested_validation.validate(
            patients.features,
            patients.labels,
            params,
            seed,
            tune=tune,
            jobs=parallel.job_count(),
            done=advance,
        )
    labels, predicted = from_table(nested.table, (CHOSEN, *MODEL_NAMES), tuned=CHOSEN)
    return Validated(nested.table, evaluate_repeated(labels.to_numpy(), predicted, seed=seed))


def limits(patients: Patients) -> dict[str, float]:
    """Log-loss of the constant prior and, for phantoms, of the true label probabilities."""
    prior = pd.Series(patients.labels.mean(), index=patients.labels.index)
    found = {"prior_log_loss": cancer.classification_metrics(patients.labels, prior)["log_loss"]}
    if patients.true_probability is not None:
        known = cancer.classification_metrics(patients.labels, patients.true_probability)
        found["bayes_log_loss"] = known["log_loss"]
    return found


def counts(patients: Patients) -> dict[str, int]:
    """Number of patients, of those with cancer, of features, and of patients without a label or without features."""
    return {
        "patients": len(patients.labels),
        "positives": int(patients.labels.sum()),
        "features": patients.features.shape[1],
        "unlabelled": len(patients.unlabelled),
        "unmeasured": patients.unmeasured,
    }


def importance(patients: Patients, validated: Validated, fitted: FittedModels, seed: int) -> pd.DataFrame:
    """Permutation importance of the features for the model chosen on all patients (`held_out_importance`)."""
    return explanation.held_out_importance(
        fitted.chosen,
        patients.features,
        patients.labels,
        validated.first_repeat["fold"],
        fitted.settings,
        fitted.classifiers[fitted.chosen].calibration,
        seed,
        jobs=parallel.job_count(),
    )


def tutorial_tables(validated: Validated) -> dict[str, str]:
    """The tutorial's table for each model: precision, recall and F1 of both classes, and the log-loss."""
    once = validated.first_repeat
    tables: dict[str, str] = {}
    for name in (*MODEL_NAMES, CHOSEN):
        report = cancer.classification_report_text(once["label"], once[name])
        loss = cancer.classification_metrics(once["label"], once[name])["log_loss"]
        tables[name] = f"{name}\n{report}\nlogloss {loss:.4f}\n"
    return tables


def own_settings(name: str, params: ClassifierParams) -> dict[str, Any]:
    """Settings that belong to one model alone."""
    return vars(getattr(params, name)) if hasattr(params, name) else {}
