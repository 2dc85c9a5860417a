"""Fit the tutorial's classifiers to the nine features, and write its four tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from nodules import params
from nodules.evaluation.cancer import classification_metrics
from nodules.stages.shared import command
from nodules.stages.shared.metrics_file import write_metrics
from nodules.stages.shared.patients import Patients
from nodules.stages.shared.settings import RunParams
from nodules.tracking.stage import stage_run
from nodules.tutorial.learning.classifiers import ReportTable, evaluate_classifiers
from nodules.tutorial.stages.section import TutorialSection

TITLES = {
    "random_forest": "Random Forest",
    "xgboost": "XGBoost",
    "all_positive": "Predicting all positive",
    "all_negative": "Predicting all negative",
}


def main(*, recipe: str, features: Path, labels: Path, metrics: Path, report: Path) -> None:
    """Write the metrics of the four models, and their tables in the tutorial's form."""
    run, settings = params.load("run", RunParams), params.load("tutorial", TutorialSection).classifiers
    patients = Patients.load(features, labels)
    with stage_run(f"tutorial_classifiers@{recipe}", settings, [features, labels]) as stage:
        tables = evaluate_classifiers(patients.features, patients.labels, settings, run.seed)
        prior = prior_log_loss(patients)
        figures = {name: _figures(table, prior) for name, table in tables.items()}
        numbers = {"patients": len(patients.labels), "prior_log_loss": prior, **figures}
        for name, table in tables.items():
            texts = {"classification_report.txt": f"{table.report}\n{_log_loss(table)}\n"}
            stage.log_child_run(name, {"model": name, "folds": settings.folds}, figures[name], texts=texts)
        stage.log_metrics({"prior_log_loss": prior})
        stage.log_headline(_headline(figures))
        write_metrics(metrics, numbers)
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(page(recipe, tables, prior), encoding="utf-8")
        stage.log_file(report)


LEARNED, HEADLINE = ("random_forest", "xgboost"), ("log_loss", "skill", "roc_auc")


def prior_log_loss(patients: Patients) -> float:
    """Log-loss of the prior, which gives every patient the share of patients with cancer."""
    labels = patients.labels
    return classification_metrics(labels, labels * 0.0 + labels.mean())["prior_log_loss"]


def page(recipe: str, tables: Mapping[str, ReportTable], prior: float) -> str:
    """The four tables in Markdown, under the names of the tutorial's page."""
    parts = [
        f"# Classifiers of the recipe `{recipe}`",
        f"Log-loss of a constant, the share of cancer among these patients: {prior:.4f}. A classifier that says "
        "something has a lower one.",
    ]
    for name, table in tables.items():
        parts += [f"## {TITLES[name]}", f"```text\n{table.report.rstrip()}\n{_log_loss(table)}\n```"]
    return "\n\n".join(parts) + "\n"


def _headline(figures: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Metrics by which runs are compared: those of the two learned models."""
    return {
        f"tutorial_{name}_{key}": figures[name][key] for name in LEARNED for key in HEADLINE if key in figures[name]
    }


def _log_loss(table: ReportTable) -> str:
    return f"logloss = {table.log_loss:.6g}"


def _figures(table: ReportTable, prior: float) -> dict[str, float]:
    """Metrics of one model; a constant model has no area under the ROC curve."""
    figures = {"log_loss": table.log_loss, "f1": table.f1, "roc_auc": table.roc_auc}
    if prior > 0:
        figures["skill"] = 1 - table.log_loss / prior
    return {name: float(value) for name, value in figures.items() if math.isfinite(value)}


if __name__ == "__main__":
    command.run(main)
