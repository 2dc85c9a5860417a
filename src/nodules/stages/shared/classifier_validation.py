"""What `train_classifier` and `nodules classify` have in common: nested validation, its figures, what it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
import pandas as pd

from nodules import parallel, progress
from nodules.evaluation import cancer as classification
from nodules.evaluation.bootstrap import from_table, judge
from nodules.models.cancer import classifier, explanation, nested_validation
from nodules.models.cancer.calibration import Calibration
from nodules.models.cancer.nested_validation import FittedModels
from nodules.models.cancer.params import MODEL_NAMES, ClassifierParams, ModelName
from nodules.models.cancer.table import labelled_table
from nodules.stages.shared.patients import Patients

CHOSEN = "chosen"  # the column of the model that each fold chose for itself
SHUFFLES = 5  # of each feature, for its importance


@dataclass(frozen=True)
class Validated:
    """How the models do on patients outside the fold.

    Attributes
    ----------
    predictions : DataFrame
        `NestedPredictions.table`.
    judged : DataFrame
        `classification_intervals.judge` of the model chosen in each fold and of all others.
    """

    predictions: pd.DataFrame
    judged: pd.DataFrame

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
    """Validate all models with a bar of progress; the answer does not depend on the number of processes."""
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
    return Validated(nested.table, judge(labels.to_numpy(), predicted, seed=seed))


def limits(patients: Patients) -> dict[str, float]:
    """Log-loss of the constant prior and, for phantoms, of someone who knows the true probabilities."""
    prior = pd.Series(patients.labels.mean(), index=patients.labels.index)
    found = {"prior_log_loss": classification.classification_metrics(patients.labels, prior)["log_loss"]}
    if patients.true_probability is not None:
        known = classification.classification_metrics(patients.labels, patients.true_probability)
        found["bayes_log_loss"] = known["log_loss"]
    return found


def counts(patients: Patients) -> dict[str, int]:
    """How many patients there are, how many have cancer, and how many wait for a label or for features."""
    return {
        "patients": len(patients.labels),
        "positives": int(patients.labels.sum()),
        "features": patients.features.shape[1],
        "unlabelled": len(patients.unlabelled),
        "unmeasured": patients.unmeasured,
    }


def importance(patients: Patients, validated: Validated, fitted: FittedModels, seed: int) -> pd.DataFrame:
    """Rise of the log-loss when one feature is shuffled, by models that do not know the patients it is shuffled among.

    These are of the chosen kind; penalty and calibration are those that all patients chose.

    Returns
    -------
    DataFrame
        ``feature``, ``log_loss_increase``, ``standard_deviation`` (of the mean over the folds), most important first.
    """
    folds = validated.first_repeat["fold"]
    tasks = [folds.index[folds == fold] for fold in sorted(folds.unique())]
    calibration = fitted.classifiers[fitted.chosen].calibration  # alone: the models are large
    tables = joblib.Parallel(n_jobs=parallel.job_count())(
        joblib.delayed(_importance_on)(
            held_out, patients.features, patients.labels, fitted.chosen, fitted.settings, calibration, seed
        )
        for held_out in tasks
    )
    found = pd.concat([table.set_index("feature")["log_loss_increase"] for table in tables], axis=1).fillna(0.0)
    weights = np.array([len(held_out) for held_out in tasks]) / len(folds)
    rises = found.to_numpy(dtype=float)  # of no dtype where no feature moved any probability
    mean = rises @ weights
    spread = np.sqrt((rises - mean[:, np.newaxis]) ** 2 @ weights / max(len(tasks) - 1, 1))
    table = pd.DataFrame({"feature": found.index, "log_loss_increase": mean, "standard_deviation": spread})
    return table.sort_values(["log_loss_increase", "feature"], ascending=[False, True], ignore_index=True)


def _importance_on(
    held_out: pd.Index,
    features: pd.DataFrame,
    labels: pd.Series,
    name: ModelName,
    settings: ClassifierParams,
    calibration: Calibration | None,
    seed: int,
) -> pd.DataFrame:
    rest = labels.index.difference(held_out)
    table = labelled_table(features.loc[rest], labels.loc[rest])
    model = classifier.fit_settled((name,), table, settings, {name: calibration}, seed)[name]
    return explanation.permutation_importance(model, features.loc[held_out], labels.loc[held_out], seed, SHUFFLES)


def tutorial_tables(validated: Validated) -> dict[str, str]:
    """The tutorial's table of each model: precision, recall and F1 of both classes, and the log-loss."""
    once = validated.first_repeat
    tables: dict[str, str] = {}
    for name in (*MODEL_NAMES, CHOSEN):
        report = classification.classification_report_text(once["label"], once[name])
        loss = classification.classification_metrics(once["label"], once[name])["log_loss"]
        tables[name] = f"{name}\n{report}\nlogloss {loss:.4f}\n"
    return tables


def own_settings(name: str, params: ClassifierParams) -> dict[str, Any]:
    """The settings that a model has of its own."""
    return vars(getattr(params, name)) if hasattr(params, name) else {}
