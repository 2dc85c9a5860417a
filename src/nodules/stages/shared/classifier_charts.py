"""Curves of the classifiers as tables for DVC and as pictures for people."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from nodules.evaluation import cancer as classification
from nodules.pictures import cancer_charts as classifier_figures
from nodules.stages.shared.classifier_validation import CHOSEN, Validated

CURVES = (CHOSEN, "random_forest", "xgboost")  # beside the model that counts, the two of the tutorial


def write_tables(validated: Validated, importance: pd.DataFrame, folder: Path) -> None:
    """Write roc, precision_recall, calibration, confusion, importance and out_of_fold, each as CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, tables in _curves(validated).items():
        joined = pd.concat([table.assign(model=model) for model, table in tables.items()])
        joined.to_csv(folder / f"{name}.csv", index=False)
    _confusion(validated).to_csv(folder / "confusion.csv", index=False)
    importance.to_csv(folder / "importance.csv", index=False)
    validated.predictions.to_csv(folder / "out_of_fold.csv", index=False, float_format="%.6g")


def pictures(validated: Validated, importance: pd.DataFrame) -> dict[str, tuple[str, Figure]]:
    """Caption and chart by file name."""
    curves = _curves(validated)
    share = float(validated.labels.mean())
    by_metric = validated.judged.pivot(index="model", columns="metric", values="value")
    return {
        "models": (
            "Log-loss of every model beside the constant prior.",
            classifier_figures.model_comparison(by_metric),
        ),
        "calibration": (
            "Do the probabilities come true? Patients in bins of their probability; bars are 95 % intervals.",
            classifier_figures.calibration(curves["calibration"]),
        ),
        "roc": ("Patients with cancer found, over patients called in vain.", classifier_figures.roc(curves["roc"])),
        "precision_recall": (
            "Of those called, how many have it, over how many of all are found.",
            classifier_figures.precision_recall(curves["precision_recall"], share),
        ),
        "confusion": (
            "Patients called by the threshold that each fold chose for itself (first shuffle).",
            classifier_figures.confusion(_confusion(validated), "Patients outside the fold"),
        ),
        "importance": (
            "Features that the model cannot do without; bars are the standard deviation over the folds.",
            classifier_figures.importance(importance),
        ),
    }


def _curves(validated: Validated) -> dict[str, dict[str, pd.DataFrame]]:
    """All repeats together: a patient stands in a curve as often as it was predicted."""
    table = validated.predictions
    truth, repeats = table["label"].to_numpy(), table["repeat"].nunique()
    chances = {name: table[name].to_numpy() for name in CURVES}
    return {
        "roc": {name: classification.roc_table(truth, chance) for name, chance in chances.items()},
        "precision_recall": {
            name: classification.precision_recall_table(truth, chance) for name, chance in chances.items()
        },
        "calibration": {
            name: classification.calibration_table(truth, chance, rows_per_patient=repeats)
            for name, chance in chances.items()
        },
    }


def _confusion(validated: Validated) -> pd.DataFrame:
    once = validated.first_repeat
    # The threshold differs from fold to fold, so the distance to it is judged.
    called = (once[CHOSEN] >= once["threshold"]).astype(float)
    return classification.confusion_table(once["label"], called)
