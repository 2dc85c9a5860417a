"""DVC stage: nested validation of all classifiers, and the one that the patients themselves choose, fitted to them."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from nodules import params
from nodules.evaluation.bootstrap import by_model
from nodules.models.cancer import files as classifier_files
from nodules.models.cancer import nested_validation
from nodules.models.cancer.nested_validation import FittedModels
from nodules.models.cancer.params import MODEL_NAMES, ClassifierParams, XGBoostParams
from nodules.models.cancer.xgboost_search import XGBoostSearch, xgboost_tuner
from nodules.parallel import job_count
from nodules.stages.shared import classifier_charts, classifier_report, classifier_validation
from nodules.stages.shared.classifier_validation import CHOSEN, Validated
from nodules.stages.shared.metrics_file import write_metrics
from nodules.stages.shared.patients import Patients
from nodules.stages.shared.settings import RunParams
from nodules.tracking import stage as tracking

REPORTED = ("log_loss", "skill", "auc", "brier", "ece", "f1", "precision", "recall")
WITH_INTERVALS = ("random_forest", "xgboost", "prior")
HEADLINE = ("log_loss", "skill", "skill_low", "auc", "ece", "f1")


def main(features: Path, labels: Path, tuned: Path, output: Path, metrics: Path, plots: Path) -> None:
    """Judge all models by patients outside the fold, and fit the chosen one to all of them.

    The settings in `tuned` have seen every patient, so only the final model takes them; inside the folds the search
    begins anew.
    """
    run, settings = params.load("run", RunParams), params.load("classifier", ClassifierParams)
    search = params.load("tune_classifier", XGBoostSearch)
    patients = Patients.load(features, labels)
    with tracking.stage_run("train_classifier", settings, [features, labels, tuned]) as stage:
        validated = classifier_validation.validate(patients, settings, run.seed, tune=xgboost_tuner(search))
        final = replace(settings, xgboost=XGBoostParams(**json.loads(tuned.read_text())))
        fitted = nested_validation.fit_models(patients.features, patients.labels, final, run.seed, jobs=job_count())
        importance = classifier_validation.importance(patients, validated, fitted, run.seed)
        write_metrics(metrics, _summary(patients, validated, fitted))
        classifier_charts.write_tables(validated, importance, plots)
        _log(stage, patients, validated, settings, fitted.chosen, importance)
        stage.log_file(plots / "out_of_fold.csv")
        classifier_files.save(fitted.classifiers[fitted.chosen], output)


def _summary(patients: Patients, validated: Validated, fitted: FittedModels) -> dict[str, Any]:
    """What `dvc metrics` shows: the model chosen in each fold in full, the others in short."""
    figures = by_model(validated.judged)
    models = {name: _short(figures[name], intervals=name in WITH_INTERVALS) for name in MODEL_NAMES}
    limits, counts = classifier_validation.limits(patients), classifier_validation.counts(patients)
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
    stage: tracking.StageRun,
    patients: Patients,
    validated: Validated,
    settings: ClassifierParams,
    chosen: str,
    importance: pd.DataFrame,
) -> None:
    figures = by_model(validated.judged)
    for name, table in classifier_validation.tutorial_tables(validated).items():
        own = classifier_validation.own_settings(name, settings)
        texts = {"classification_report.txt": table}
        stage.child(name, {"model": name, "folds": settings.folds, **own}, figures[name], texts=texts)
    stage.log_headline({f"classifier_{key}": figures[CHOSEN][key] for key in HEADLINE if key in figures[CHOSEN]})
    stage.log_metrics(classifier_validation.limits(patients) | {"validated": figures[CHOSEN]})
    stage.log_table(validated.judged, "models")
    pictures = classifier_charts.pictures(validated, importance)
    for name, (_, figure) in pictures.items():
        stage.log_picture(figure, name)
    stage.log_text(classifier_report.write_page(patients, validated, settings, chosen, pictures), "report.html")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
