"""The work of `nodules classify`: validates, chooses and fits classifiers, and evaluates them on a holdout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nodules import params
from nodules.evaluation.bootstrap import Predicted, by_model, evaluate_repeated
from nodules.models.cancer import classifier, nested_validation
from nodules.models.cancer import files as classifier_files
from nodules.models.cancer.classifier import Classifier
from nodules.models.cancer.nested_validation import FittedModels
from nodules.models.cancer.params import ClassifierParams
from nodules.models.cancer.xgboost_search import XGBoostSearch, xgboost_tuner
from nodules.parallel import job_count
from nodules.pictures.cancer_page import MODEL_TITLES, ResultSection
from nodules.pictures.overlay import save_figure
from nodules.scans.result import ScanError
from nodules.scans.tables.features import read_features
from nodules.stages.shared import cancer_report, cancer_validation
from nodules.stages.shared.cancer_validation import CHOSEN, Validated
from nodules.stages.shared.patients import Patients
from nodules.stages.shared.settings import RunParams
from nodules.tracking import stage as tracking

OUT_OF_FOLD, HOLDOUT, SUBMISSION, PAGE = "out_of_fold.csv", "holdout.csv", "submission.csv", "report.html"


@dataclass(frozen=True)
class Holdout:
    """Predictions for the held-out patients, by models fitted to all others.

    Attributes
    ----------
    predictions : DataFrame
        id, label, and a column of probabilities for each model.
    metrics : DataFrame
        Metrics of each model with their intervals, as `bootstrap.evaluate_repeated` returns them.
    unmeasured : int
        Patients of the holdout without features.
    """

    predictions: pd.DataFrame
    metrics: pd.DataFrame
    unmeasured: int


def check_disjoint(unseen: Patients, seen: Patients, file: Path) -> Patients:
    """Return `unseen`, or raise ScanError if one of its patients is also in `seen`."""
    both = unseen.labels.index.intersection(seen.labels.index)
    if len(both):
        raise ScanError(
            f"{file}: {len(both)} of the holdout patients also have a label in LABELS, such as {both[0]}; "
            "remove them from one of the two files"
        )
    return unseen


def evaluate_holdout(unseen: Patients, fitted: FittedModels, seed: int) -> Holdout:
    """Evaluate every model, fitted to all labelled patients, on the holdout."""
    probabilities = {name: classifier.predict(one, unseen.features) for name, one in fitted.classifiers.items()}
    predicted: dict[str, Predicted] = {
        name: Predicted(column.to_numpy()[:, None]) for name, column in probabilities.items()
    }
    own = predicted[fitted.chosen].probabilities
    predicted[fitted.chosen] = Predicted(own, np.full_like(own, fitted.threshold))
    table = pd.DataFrame({"label": unseen.labels} | probabilities).rename_axis("id").reset_index()
    return Holdout(table, evaluate_repeated(unseen.labels.to_numpy(), predicted, seed=seed), unseen.unmeasured)


@dataclass(frozen=True)
class Settings:
    """What the command reads from params.yaml.

    Attributes
    ----------
    classifier : ClassifierParams
        Section `classifier`.
    search : XGBoostSearch or None
        Section `tune_classifier` with the given number of trials; None keeps XGBoost's settings of `classifier`.
    seed : int
        `run.seed`.
    """

    classifier: ClassifierParams
    search: XGBoostSearch | None
    seed: int

    @classmethod
    def load(cls, file: Path, trials: int) -> Settings:
        """Read the sections; 0 trials mean no search."""
        search = replace(params.load("tune_classifier", XGBoostSearch, file), trials=trials) if trials else None
        return cls(params.load("classifier", ClassifierParams, file), search, params.load("run", RunParams, file).seed)


def classify(features: Path, labels: Path, holdout: Path | None, settings: Settings, output: Path) -> dict[str, Any]:
    """Validate, choose, fit and evaluate; write tables, pictures and the model to `output`, and log all to MLflow.

    Parameters
    ----------
    features, labels : Path
        Tables for `read_features` and `read_labels`.
    holdout : Path or None
        Labels of patients on whom nothing is fitted or chosen; they are evaluated once, after all models are fitted.
    output : Path
        Folder; its files are replaced.

    Returns
    -------
    dict
        JSON-serialisable: the `chosen` model, its `threshold`, metrics of all models under `validation` (and
        `holdout`), each with its 95 % interval as `_low` and `_high`, the paths of the files, and the MLflow run.

    Raises
    ------
    ScanError
        If a table is malformed, no patient has a label, or a holdout patient is among `labels` as well.
    ValueError
        If a class has fewer than two patients, or a patient appears twice under two ids.
    """
    measured = read_features(features)
    patients = Patients.join(measured, labels, features)
    unseen = check_disjoint(Patients.join(measured, holdout, features), patients, holdout) if holdout else None
    inputs = [path for path in (features, labels, holdout) if path]
    with tracking.stage_run("classify", settings, inputs) as stage:
        stage.log_params({"features_table": features.name, "labels_table": labels.name})
        tune = xgboost_tuner(settings.search) if settings.search else None
        validated = cancer_validation.validate(patients, settings.classifier, settings.seed, tune)
        fitted = nested_validation.fit_models(
            patients.features, patients.labels, settings.classifier, settings.seed, tune=tune, jobs=job_count()
        )
        on_holdout = evaluate_holdout(unseen, fitted, settings.seed) if unseen else None
        importance = cancer_validation.importance(patients, validated, fitted, settings.seed)
        result = _result(patients, validated, on_holdout, fitted)
        model = fitted.classifiers[fitted.chosen]
        written = _write(output, patients, validated, on_holdout, model, importance)
        _log(stage, settings, patients, validated, on_holdout, model, importance, output)
        run = {"id": stage.run_id, "experiment": tracking.experiment_name(), "store": tracking.redacted_uri()}
        return result | {"output": str(output), "files": written, "mlflow": run}


def summary(result: dict[str, Any]) -> Iterator[str]:
    """The result as text: the metrics of each model, line by line."""
    yield (
        f"{result['patients']} patients, {result['positives']} with cancer, {result['features']} features; "
        f"log-loss of the prior {result['prior_log_loss']:.4f}"
    )
    validation, chosen = result["validation"], result["chosen"]
    yield from _rows("patients outside the fold", validation, CHOSEN)
    yield f"fitted to all of them: {MODEL_TITLES[chosen]}; best F1 from a probability of {result['threshold']:.3f} on"
    if result["holdout"]:
        seen = result["holdout"]
        yield from _rows(
            f"holdout: {seen['patients']} patients, {seen['positives']} with cancer", seen["models"], chosen
        )
    if result["unlabelled"]:
        yield f"{result['unlabelled']} patients without a label in LABELS: {result['files'][SUBMISSION]}"
    yield f"tables, pictures, model, and the page to read: {result['files'][PAGE]}"
    run = result["mlflow"]
    yield f"run {run['id']} of experiment {run['experiment']} in MLflow: {run['store']}"


def _rows(title: str, models: dict[str, dict[str, float]], marked: str) -> Iterator[str]:
    metrics = ("log_loss", "skill", "auc", "brier", "ece", "f1", "precision", "recall")
    yield f"\n{title}\n{'':>15}" + "".join(f"{name:>10}" for name in metrics) + "   log-loss, 95 %"
    for name, figures in models.items():
        values = "".join(f"{figures[metric]:>10.4f}" if metric in figures else f"{'':>10}" for metric in metrics)
        interval = f"   {figures['log_loss_low']:.4f} to {figures['log_loss_high']:.4f}"
        yield f"{'*' if name == marked else ' '}{name:>14}{values}{interval}"
    tuned = models[marked].get("f1_tuned")
    if tuned is not None:
        yield f"* {MODEL_TITLES[marked]}; F1 at the threshold chosen without these patients {tuned:.4f}"


def _result(
    patients: Patients, validated: Validated, holdout: Holdout | None, fitted: nested_validation.FittedModels
) -> dict[str, Any]:
    result: dict[str, Any] = {"chosen": fitted.chosen, "threshold": fitted.threshold}
    result["inner_log_loss"] = dict(fitted.inner_log_loss)
    result |= cancer_validation.counts(patients) | cancer_validation.limits(patients)
    result |= {"validation": by_model(validated.metrics), "holdout": None}
    if holdout is not None:
        labels = holdout.predictions["label"]
        result["holdout"] = {
            "patients": len(labels),
            "positives": int(labels.sum()),
            "unmeasured": holdout.unmeasured,
            "models": by_model(holdout.metrics),
        }
    return result


def _write(
    output: Path,
    patients: Patients,
    validated: Validated,
    holdout: Holdout | None,
    model: Classifier,
    importance: pd.DataFrame,
) -> dict[str, str]:
    cancer_report.write_tables(validated, importance, output)
    classifier_files.save(model, output / "model")
    tables = [OUT_OF_FOLD]
    if holdout is not None:
        holdout.predictions.to_csv(output / HOLDOUT, index=False)
        tables.append(HOLDOUT)
    if len(patients.unlabelled):
        probability = classifier.predict(model, patients.unlabelled)
        pd.DataFrame({"id": probability.index, "cancer": probability.to_numpy()}).to_csv(
            output / SUBMISSION, index=False
        )
        tables.append(SUBMISSION)
    return {name: str(output / name) for name in (*tables, "model", PAGE)}


def _log(
    stage: tracking.StageRun,
    settings: Settings,
    patients: Patients,
    validated: Validated,
    holdout: Holdout | None,
    model: Classifier,
    importance: pd.DataFrame,
    output: Path,
) -> None:
    figures = by_model(validated.metrics)
    seen = by_model(holdout.metrics) if holdout else {}
    for name, table in cancer_validation.tutorial_tables(validated).items():
        metrics = figures[name] | ({"holdout": seen[name]} if name in seen else {})
        own = cancer_validation.own_settings(name, settings.classifier)
        stage.log_child_run(name, {"model": name, **own}, metrics, texts={"classification_report.txt": table})
    stage.log_metrics({"validation": figures[CHOSEN], "holdout": seen.get(model.name, {})})
    stage.log_metrics(cancer_validation.limits(patients))
    pictures = cancer_report.pictures(validated, importance)
    for name, (_, figure) in pictures.items():
        save_figure(figure, output / f"{name}.png")
        stage.log_figure(figure, name)
    parts = [ResultSection("On the holdout", holdout.metrics, model.name)] if holdout else []
    page = cancer_report.write_page(patients, validated, settings.classifier, model.name, pictures, parts)
    (output / PAGE).write_text(page, encoding="utf-8")
    stage.log_file(output, "tables")
    stage.log_text(page, PAGE)
