"""How good probabilities of cancer are: log-loss beside the prior's, ranking, calibration, and tables to plot."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn import metrics

from nodules.log_loss import log_losses

# Probabilities are kept this far from 0 and 1 in the log-loss, as the tutorial's published figures were: a certain and
# wrong answer costs 34.54.
LOG_LOSS_CLIP = 1e-15
EVEN_ODDS = 0.5  # smallest probability that is called cancer
BINS = 10  # of the calibration
CLASS_NAMES = ("No Cancer", "Cancer")


def classification_metrics(labels: ArrayLike, probabilities: ArrayLike) -> dict[str, float]:
    """Figures of merit of one model on one set of patients.

    Parameters
    ----------
    labels : (n,) array of 0 and 1
        1 is cancer. Two Series are brought together by their index.
    probabilities : (n,) array
        Probability of cancer; from `EVEN_ODDS` it counts as cancer in ``f1``, ``precision`` and ``recall``.

    Returns
    -------
    dict
        ``log_loss`` (clipped at 1e-15), ``brier``, ``ece`` (`expected_calibration_error`), ``f1``, ``precision``,
        ``recall`` (0 where undefined), ``positives``, ``patients`` and ``prior_log_loss``, the log-loss of giving every
        patient the share of cancer among these very labels. With both classes present also ``skill`` = 1 - log_loss /
        prior_log_loss and ``auc``.

    Raises
    ------
    ValueError
        If there are no patients, the lengths or indices differ, a label is not 0 or 1, or a probability not in [0, 1].
    """
    truth, probability = _paired(labels, probabilities)
    called = probability >= EVEN_ODDS
    prior = np.full(truth.size, truth.mean())
    figures = {
        "log_loss": _log_loss(truth, probability),
        "prior_log_loss": _log_loss(truth, prior),
        "brier": float(np.mean((probability - truth) ** 2)),
        "ece": expected_calibration_error(truth, probability),
        "f1": float(metrics.f1_score(truth, called, zero_division=0)),
        "precision": float(metrics.precision_score(truth, called, zero_division=0)),
        "recall": float(metrics.recall_score(truth, called, zero_division=0)),
        "positives": int(truth.sum()),
        "patients": truth.size,
    }
    if 0 < truth.sum() < truth.size:
        figures["skill"] = 1 - figures["log_loss"] / figures["prior_log_loss"]
        figures["auc"] = float(metrics.roc_auc_score(truth, probability))
    return figures


def classification_report_text(labels: ArrayLike, probabilities: ArrayLike) -> str:
    """Precision, recall and F1 of both classes as the text table that the tutorial prints."""
    truth, probability = _paired(labels, probabilities)
    return str(
        metrics.classification_report(
            truth, probability >= EVEN_ODDS, labels=[0, 1], target_names=list(CLASS_NAMES), zero_division=0
        )
    )


def roc_table(labels: ArrayLike, probabilities: ArrayLike) -> pd.DataFrame:
    """Corners of the ROC curve.

    Returns
    -------
    DataFrame
        ``false_positive_rate``, ``true_positive_rate``, ``threshold`` (the smallest probability called cancer; just
        above 1 where nobody is). No rows when only one class is present.
    """
    truth, probability = _paired(labels, probabilities)
    columns = ["false_positive_rate", "true_positive_rate", "threshold"]
    if truth.min() == truth.max():
        return pd.DataFrame({column: [] for column in columns}, dtype=float)
    false_rate, true_rate, thresholds = metrics.roc_curve(truth, probability)
    finite = np.minimum(thresholds, np.nextafter(1.0, 2.0))
    return pd.DataFrame(dict(zip(columns, (false_rate, true_rate, finite), strict=True)))


def precision_recall_table(labels: ArrayLike, probabilities: ArrayLike) -> pd.DataFrame:
    """Corners of the precision-recall curve, the strictest threshold first.

    Returns
    -------
    DataFrame
        ``recall``, ``precision``, ``threshold`` (the smallest probability called cancer). No rows without a patient
        who has cancer.
    """
    truth, probability = _paired(labels, probabilities)
    columns = ["recall", "precision", "threshold"]
    if not truth.any():
        return pd.DataFrame({column: [] for column in columns}, dtype=float)
    precision, recall, thresholds = metrics.precision_recall_curve(truth, probability)
    # The last corner is a convention without a threshold, which nobody can choose.
    corners = dict(zip(columns, (recall[:-1], precision[:-1], thresholds), strict=True))
    return pd.DataFrame(corners).iloc[::-1].reset_index(drop=True)


def calibration_table(
    labels: ArrayLike, probabilities: ArrayLike, bins: int = BINS, rows_per_patient: int = 1
) -> pd.DataFrame:
    """Promised against observed share of cancer in equally wide bins of probability.

    Parameters
    ----------
    rows_per_patient : int
        How often each patient was predicted; the interval is that of so many fewer patients.

    Returns
    -------
    DataFrame
        ``low``, ``high`` (the last bin holds 1.0), ``patients``, ``mean_probability``, ``share_positive`` and its 95 %
        interval ``share_low``, ``share_high`` (Wilson 1927); one row per bin that has patients.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    truth, probability = _paired(labels, probabilities)
    number = bin_numbers(probability, bins)
    edges = np.linspace(0.0, 1.0, bins + 1)
    rows = []
    for index in np.unique(number):
        inside = number == index
        share, patients = float(truth[inside].mean()), inside.sum() / rows_per_patient
        low, high = _wilson(share, patients)
        rows.append(
            {
                "low": edges[index],
                "high": edges[index + 1],
                "patients": patients,
                "mean_probability": float(probability[inside].mean()),
                "share_positive": share,
                "share_low": low,
                "share_high": high,
            }
        )
    return pd.DataFrame(rows)


def bin_numbers(probability: NDArray[np.float64], bins: int = BINS) -> NDArray[np.int64]:
    """Number the equally wide bin of each probability, from 0; an edge belongs to the bin above it, 1.0 to the last."""
    return np.minimum(np.searchsorted(np.linspace(0.0, 1.0, bins + 1), probability, side="right") - 1, bins - 1)


def expected_calibration_error(labels: ArrayLike, probabilities: ArrayLike, bins: int = BINS) -> float:
    """Mean distance of promised and observed share over `calibration_table`, weighted by patients (Naeini 2015)."""
    table = calibration_table(labels, probabilities, bins)
    gaps = (table["mean_probability"] - table["share_positive"]).abs()
    return float(np.average(gaps, weights=table["patients"]))


def confusion_table(labels: ArrayLike, probabilities: ArrayLike) -> pd.DataFrame:
    """One row per patient with the ``actual`` and the ``predicted`` class by name, indexed as `labels` is."""
    truth, probability = _paired(labels, probabilities)
    names = np.asarray(CLASS_NAMES)
    index = labels.index if isinstance(labels, pd.Series) else None
    return pd.DataFrame(
        {"actual": names[truth], "predicted": names[(probability >= EVEN_ODDS).astype(int)]}, index=index
    )


def _wilson(share: float, patients: float) -> tuple[float, float]:
    z = 1.96
    centre = share + z**2 / (2 * patients)
    reach = z * np.sqrt(share * (1 - share) / patients + z**2 / (4 * patients**2))
    shrink = 1 + z**2 / patients
    return max(float((centre - reach) / shrink), 0.0), min(float((centre + reach) / shrink), 1.0)


def _log_loss(truth: NDArray[np.int64], probability: NDArray[np.float64]) -> float:
    return float(np.mean(log_losses(truth, probability, LOG_LOSS_CLIP)))


def _paired(labels: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Check both and bring the probabilities into the labels' order."""
    if isinstance(labels, pd.Series) and isinstance(probabilities, pd.Series):
        probabilities = _aligned(labels.index, probabilities)
    truth, probability = np.asarray(labels), np.asarray(probabilities, dtype=float)
    if truth.ndim != 1 or truth.shape != probability.shape or not truth.size:
        raise ValueError(f"labels and probabilities must be equally long, got {truth.shape} and {probability.shape}")
    if not np.isin(truth, (0, 1)).all():
        raise ValueError(f"labels must be 0 or 1, got {np.setdiff1d(truth, (0, 1))[:3].tolist()}")
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("probabilities must lie between 0 and 1 and not be missing")
    return truth.astype(int), probability


def _aligned(patients: pd.Index, probabilities: pd.Series) -> pd.Series:
    if not patients.is_unique or not probabilities.index.is_unique:
        raise ValueError("every patient must appear once in labels and in probabilities")
    strangers = patients.symmetric_difference(probabilities.index)
    if len(strangers):
        raise ValueError(f"labels and probabilities must hold the same patients, got {list(strangers[:3])} in only one")
    return probabilities.loc[patients]
