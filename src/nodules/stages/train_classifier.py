"""DVC stage: the tutorial's table (Random Forest, XGBoost, all positive, all negative) and the prior, out of fold."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from nodules import params, tracking
from nodules.evaluation import classification, figures
from nodules.models import classifier
from nodules.stages.metrics_file import write_metrics
from nodules.stages.patients import Patients
from nodules.stages.settings import RunParams

REPORTED = ("log_loss", "skill", "auc", "f1", "precision", "recall")
LEARNED: tuple[classifier.ModelName, ...] = ("random_forest", "xgboost")


def main(features: Path, labels: Path, tuned: Path, output: Path, metrics: Path, plots: Path) -> None:
    """Judge all models by patients outside the fold, and fit the better learned one to all of them."""
    run, settings = params.load("run", RunParams), params.load("classifier", classifier.ClassifierParams)
    settings = replace(settings, xgboost=classifier.XGBoostParams(**json.loads(tuned.read_text())))
    patients = Patients.load(features, labels)
    plots.mkdir(parents=True, exist_ok=True)
    with tracking.stage_run("train_classifier", settings, [features, labels, tuned]) as stage:
        chances = {
            name: classifier.out_of_fold(name, patients.features, patients.labels, settings, run.seed)
            for name in classifier.MODEL_NAMES
        }
        numbers = {
            name: classification.classification_metrics(patients.labels, probabilities)
            for name, probabilities in chances.items()
        }
        chosen = min(LEARNED, key=lambda name: numbers[name]["log_loss"])
        for name, probabilities in chances.items():
            _log_model(stage, name, settings, numbers[name], patients.labels, probabilities)
        reported = {name: {key: found[key] for key in REPORTED if key in found} for name, found in numbers.items()}
        summary = {"chosen": chosen, **_limits(patients), **_counts(patients), "models": reported}
        write_metrics(metrics, summary)
        stage.log_headline({f"classifier_{key}": numbers[chosen][key] for key in ("log_loss", "skill", "auc", "f1")})
        stage.log_metrics(_limits(patients))
        _draw(stage, plots, patients, chances, numbers, chosen)
        classifier.save(classifier.fit(chosen, patients.features, patients.labels, settings, run.seed), output)


def _counts(patients: Patients) -> dict[str, int]:
    return {"patients": len(patients.labels), "positives": int(patients.labels.sum())}


def _limits(patients: Patients) -> dict[str, float]:
    """Log-loss of the constant prior and, for phantoms, of someone who knows the true probabilities."""
    prior = classification.classification_metrics(
        patients.labels, pd.Series(patients.labels.mean(), index=patients.labels.index)
    )
    limits = {"prior_log_loss": prior["log_loss"]}
    if patients.true_probability is not None:
        known = classification.classification_metrics(patients.labels, patients.true_probability)
        limits["bayes_log_loss"] = known["log_loss"]
    return limits


def _log_model(
    stage: tracking.StageRun,
    name: classifier.ModelName,
    settings: classifier.ClassifierParams,
    numbers: dict[str, float],
    labels: pd.Series,
    probabilities: pd.Series,
) -> None:
    own: dict[str, Any] = asdict(getattr(settings, name)) if name in LEARNED else {}
    report = classification.classification_report_text(labels, probabilities)
    stage.child(
        name,
        {"model": name, "folds": settings.folds, **own},
        numbers,
        texts={"classification_report.txt": f"{name}\n{report}\nlogloss {numbers['log_loss']:.4f}\n"},
    )


def _draw(
    stage: tracking.StageRun,
    plots: Path,
    patients: Patients,
    chances: dict[classifier.ModelName, pd.Series],
    numbers: dict[classifier.ModelName, dict[str, float]],
    chosen: classifier.ModelName,
) -> None:
    roc: dict[str, pd.DataFrame] = {name: classification.roc_table(patients.labels, chances[name]) for name in LEARNED}
    calibration: dict[str, pd.DataFrame] = {
        name: classification.calibration_table(patients.labels, chances[name]) for name in LEARNED
    }
    for name, tables in (("roc", roc), ("calibration", calibration)):
        pd.concat([table.assign(model=model) for model, table in tables.items()]).to_csv(
            plots / f"{name}.csv", index=False
        )
    classification.confusion_table(patients.labels, chances[chosen]).to_csv(plots / "confusion.csv", index=False)
    out_of_fold = pd.DataFrame({"cancer": patients.labels} | {str(name): chances[name] for name in chances})
    out_of_fold.to_csv(plots / "out_of_fold.csv")
    stage.log_picture(figures.roc(roc), "roc")
    stage.log_picture(figures.calibration(calibration), "calibration")
    stage.log_picture(figures.model_comparison(pd.DataFrame(numbers).T), "models")
    stage.log_table(pd.DataFrame(numbers).T.rename_axis("model").reset_index(), "models")
    stage.log_file(plots / "out_of_fold.csv")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
