"""Validate all cancer classifiers by nested cross-validation, choose one, and fit it to all patients.

The average of three models is chosen, unless another model beats it by more than one standard error.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from nodules import params
from nodules.evaluation.bootstrap import by_model
from nodules.models.cancer import files
from nodules.models.cancer.nested_validation import FittedModels, fit_models
from nodules.models.cancer.params import MODEL_NAMES, ClassifierParams, XGBoostParams
from nodules.models.cancer.xgboost_search import XGBoostSearch, xgboost_tuner
from nodules.parallel import job_count
from nodules.stages.shared import cancer_report, cancer_validation, command
from nodules.stages.shared.cancer_validation import CHOSEN, Validated
from nodules.stages.shared.metrics_file import write_metrics
from nodules.stages.shared.patients import Patients
from nodules.stages.shared.settings import RunParams
from nodules.tracking.stage import StageRun, stage_run

REPORTED = ("log_loss", "skill", "auc", "brier", "ece", "f1", "precision", "recall")
WITH_INTERVALS = ("random_forest", "xgboost", "prior")
HEADLINE = ("log_loss", "skill", "skill_low", "auc", "ece", "f1")


def main(*, features: Path, labels: Path, tuned: Path, output: Path, metrics: Path, plots: Path) -> None:
    """Write the classifier fitted to all patients, and the metrics and plots of the nested validation.

    The settings in `tuned` were chosen on all patients, so only the final model takes them. Inside the folds the search
    starts from scratch.
    """
    run, settings = params.load("run", RunParams), params.load("classifier", ClassifierParams)
    search = params.load("tune_classifier", XGBoostSearch)
    patients = Patients.load(features, labels)
    with stage_run("train_classifier", settings, [features, labels, tuned]) as stage:
        validated = cancer_validation.validate(patients, settings, run.seed, tune=xgboost_tuner(search))
        final = replace(settings, xgboost=XGBoostParams(**json.loads(tuned.read_text())))
        fitted = fit_models(patients.features, patients.labels, final, run.seed, jobs=job_count())
        importance = cancer_validation.importance(patients, validated, fitted, run.seed)
        write_metrics(metrics, _summary(patients, validated, fitted))
        cancer_report.write_tables(validated, importance, plots)
        _log(stage, patients, validated, settings, fitted.chosen, importance)
        stage.log_file(plots / "out_of_fold.csv")
        files.save(fitted.classifiers[fitted.chosen], output)


def _summary(patients: Patients, validated: Validated, fitted: FittedModels) -> dict[str, Any]:
    """Metrics for `dvc metrics`: all of the model chosen in each fold, and a few of every other model."""
    figures = by_model(validated.metrics)
    models = {name: _short(figures[name], intervals=name in WITH_INTERVALS) for name in MODEL_NAMES}
    limits, counts = cancer_validation.limits(patients), cancer_validation.counts(patients)
    return {
        "chosen": fitted.chosen,
        "threshold": fitted.threshold,
        **limits,
        **counts,
        "validated": {name: value for name, value in figures[CHOSEN].items() if not name.startswith("prior_")},
        "models": models,
        "inner_log_loss": dict(fitted.inner_log_loss),
    }


def _short(figures: dict[str, float], intervals: bool) -> dict[str, float]:
    endings = ("", "_low", "_high") if intervals else ("",)
    names = [f"{metric}{ending}" for metric in REPORTED for ending in endings]
    return {name: figures[name] for name in names if name in figures}


def _log(
    stage: StageRun,
    patients: Patients,
    validated: Validated,
    settings: ClassifierParams,
    chosen: str,
    importance: pd.DataFrame,
) -> None:
    figures = by_model(validated.metrics)
    for name, table in cancer_validation.tutorial_tables(validated).items():
        own = cancer_validation.own_settings(name, settings)
        texts = {"classification_report.txt": table}
        stage.log_child_run(name, {"model": name, "folds": settings.folds, **own}, figures[name], texts=texts)
    stage.log_headline({f"classifier_{key}": figures[CHOSEN][key] for key in HEADLINE if key in figures[CHOSEN]})
    stage.log_metrics(cancer_validation.limits(patients) | {"validated": figures[CHOSEN]})
    stage.log_table(validated.metrics, "models")
    pictures = cancer_report.pictures(validated, importance)
    for name, (_, figure) in pictures.items():
        stage.log_figure(figure, name)
    stage.log_text(cancer_report.write_page(patients, validated, settings, chosen, pictures), "report.html")


if __name__ == "__main__":
    command.run(main)
