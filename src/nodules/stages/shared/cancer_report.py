"""Report on the validation of the cancer classifiers: tables for DVC, charts, and one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from nodules.evaluation import cancer
from nodules.evaluation.bootstrap import DRAWS
from nodules.models.cancer.params import ClassifierParams
from nodules.pictures import cancer_charts
from nodules.pictures.cancer_page import MODEL_TITLES, ResultSection, page
from nodules.stages.shared.cancer_validation import CHOSEN, Validated, counts, limits
from nodules.stages.shared.patients import Patients

CURVES = (CHOSEN, "random_forest", "xgboost")  # the chosen model and the two of the tutorial


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
    """Return the charts with their captions, by file name."""
    curves = _curves(validated)
    share = float(validated.labels.mean())
    by_metric = validated.metrics.pivot(index="model", columns="metric", values="value")
    return {
        "models": (
            "Log-loss of every model beside that of the constant prior.",
            cancer_charts.model_comparison(by_metric),
        ),
        "calibration": (
            "Share of patients with cancer in each bin of predicted probability; bars are 95 % intervals.",
            cancer_charts.calibration(curves["calibration"]),
        ),
        "roc": ("True positive rate over false positive rate.", cancer_charts.roc(curves["roc"])),
        "precision_recall": (
            "Precision over recall.",
            cancer_charts.precision_recall(curves["precision_recall"], share),
        ),
        "confusion": (
            "Confusion matrix at the threshold that each fold chose for itself (first repeat).",
            cancer_charts.confusion(_confusion(validated), "Patients outside the fold"),
        ),
        "importance": (
            "Rise of the log-loss when a feature is shuffled; bars are the standard deviation over the folds.",
            cancer_charts.importance(importance),
        ),
    }


def write_page(
    patients: Patients,
    validated: Validated,
    params: ClassifierParams,
    chosen: str,
    pictures: Mapping[str, tuple[str, Figure]],
    more_parts: Sequence[ResultSection] = (),
) -> str:
    """Return the report as one HTML page.

    Parameters
    ----------
    chosen : str
        The model fitted to all patients.
    pictures : mapping
        As `pictures` returns them.
    more_parts : sequence of ResultSection
        Sections after the nested validation.
    """
    title = "On patients outside the fold"
    return page(
        _question(patients, chosen),
        [ResultSection(title, validated.metrics, CHOSEN), *more_parts],
        dict(pictures.values()),
        [*_how(params), *_bounds(patients)],
    )


def _curves(validated: Validated) -> dict[str, dict[str, pd.DataFrame]]:
    """Tables of the curves, over all repeats: each patient counts once per repeat."""
    table = validated.predictions
    truth, repeats = table["label"].to_numpy(), table["repeat"].nunique()
    probabilities = {name: table[name].to_numpy() for name in CURVES}
    return {
        "roc": {name: cancer.roc_table(truth, values) for name, values in probabilities.items()},
        "precision_recall": {
            name: cancer.precision_recall_table(truth, values) for name, values in probabilities.items()
        },
        "calibration": {
            name: cancer.calibration_table(truth, values, rows_per_patient=repeats)
            for name, values in probabilities.items()
        },
    }


def _confusion(validated: Validated) -> pd.DataFrame:
    once = validated.first_repeat
    # The threshold differs from fold to fold, so each patient is compared with that of its own fold.
    called = (once[CHOSEN] >= once["threshold"]).astype(float)
    return cancer.confusion_table(once["label"], called)


def _question(patients: Patients, chosen: str) -> list[str]:
    number = counts(patients)
    share = number["positives"] / number["patients"]
    return [
        f"Given {number['features']} features measured in the CT scan of a patient: how probable is lung cancer? "
        f"The data: {number['patients']} patients, of whom {number['positives']} ({share:.1%}) have it.",
        f"The model fitted to all of them is: {MODEL_TITLES.get(chosen, chosen)}.",
    ]


def _how(params: ClassifierParams) -> list[str]:
    repeats = f", repeated {params.repeats} times with other folds" if params.repeats > 1 else ""
    return [
        f"Each patient was predicted by models that were not fitted to them ({params.folds} folds{repeats}). "
        "Everything that can be chosen (features, settings, the kind of model, its calibration, the threshold) was "
        "chosen again in each fold, without the patients held out.",
        f"The 95 % intervals come from {DRAWS} bootstrap samples of the patients. They say how much a figure depends "
        "on these patients, not what another hospital's patients would give.",
        "Skill is 1 - log-loss / log-loss of the prior: 0 for the prior itself, 1 for certain and correct predictions.",
        "With few patients the calibration error is above 0 even if the probabilities are right.",
        "F1, precision and recall call a patient positive from a probability of 0.5 on; with own threshold, from the "
        "threshold with the best F1 inside the fold. Where cancer is rare, few calibrated probabilities reach 0.5.",
        "Not a medical device: nothing here says what the model is worth for the care of patients.",
    ]


def _bounds(patients: Patients) -> list[str]:
    known = limits(patients)
    if "bayes_log_loss" not in known:
        return []
    return [
        "These patients are synthetic, so the limit is known: the true label probabilities have a log-loss of "
        f"{known['bayes_log_loss']:.3f}."
    ]
