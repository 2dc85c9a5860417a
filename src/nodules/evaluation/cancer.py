"""Metrics of cancer probabilities: log-loss, AUC, calibration, and the tables of their curves."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn import metrics

from nodules.log_loss import log_losses

# In the log-loss, probabilities are clipped to this distance from 0 and 1, as in the tutorial's published results. A
# wrong probability of 0 or 1 has a loss of 34.54.
LOG_LOSS_CLIP = 1e-15
DECISION_THRESHOLD = 0.5  # smallest probability that is classified as cancer
BINS = 10  # of the calibration table
CLASS_NAMES = ("No Cancer", "Cancer")


def classification_metrics(labels: ArrayLike, probabilities: ArrayLike) -> dict[str, float]:
    """Compute the metrics of one model on one set of patients.

    Parameters
    ----------
    labels : (n,) array of 0 and 1
        1 is cancer. If both arguments are Series, they are aligned by index.
    probabilities : (n,) array
        Probability of cancer. For ``f1``, ``precision`` and ``recall``, `DECISION_THRESHOLD` or more counts as cancer.

    Returns
    -------
    dict
        ``log_loss`` (clipped at 1e-15), ``brier``, ``ece`` (`expected_calibration_error`), ``f1``, ``precision``,
        ``recall`` (0 where undefined), ``positives``, ``patients`` and ``prior_log_loss``: the log-loss if every
        patient gets the share of cancer among these labels as probability. If both classes are present, also
        ``skill`` = 1 - log_loss / prior_log_loss and ``auc``.

    Raises
    ------
    ValueError
        If there are no patients, lengths or indices differ, a label is not 0 or 1, or a probability is not in [0, 1].
    """
    truth, probability = _paired(labels, probabilities)
    called = probability >= DECISION_THRESHOLD
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
    """Format precision, recall and F1 of both classes as the text table that the tutorial prints."""
    truth, probability = _paired(labels, probabilities)
    return str(
        metrics.classification_report(
            truth, probability >= DECISION_THRESHOLD, labels=[0, 1], target_names=list(CLASS_NAMES), zero_division=0
        )
    )


def roc_table(labels: ArrayLike, probabilities: ArrayLike) -> pd.DataFrame:
    """Compute the corner points of the ROC curve.

    Returns
    -------
    DataFrame
        Columns ``false_positive_rate``, ``true_positive_rate`` and ``threshold`` (the smallest probability classified
        as cancer; just above 1 if no patient is). No rows if only one class is present.
    """
    truth, probability = _paired(labels, probabilities)
    columns = ["false_positive_rate", "true_positive_rate", "threshold"]
    if truth.min() == truth.max():
        return pd.DataFrame({column: [] for column in columns}, dtype=float)
    false_rate, true_rate, thresholds = metrics.roc_curve(truth, probability)
    finite = np.minimum(thresholds, np.nextafter(1.0, 2.0))
    return pd.DataFrame(dict(zip(columns, (false_rate, true_rate, finite), strict=True)))


def precision_recall_table(labels: ArrayLike, probabilities: ArrayLike) -> pd.DataFrame:
    """Compute the corner points of the precision-recall curve, highest threshold first.

    Returns
    -------
    DataFrame
        Columns ``recall``, ``precision`` and ``threshold`` (the smallest probability classified as cancer). No rows if
        no patient has cancer.
    """
    truth, probability = _paired(labels, probabilities)
    columns = ["recall", "precision", "threshold"]
    if not truth.any():
        return pd.DataFrame({column: [] for column in columns}, dtype=float)
    precision, recall, thresholds = metrics.precision_recall_curve(truth, probability)
    # scikit-learn appends a last corner by convention. It has no threshold and is dropped.
    corners = dict(zip(columns, (recall[:-1], precision[:-1], thresholds), strict=True))
    return pd.DataFrame(corners).iloc[::-1].reset_index(drop=True)


def calibration_table(
    labels: ArrayLike, probabilities: ArrayLike, bins: int = BINS, rows_per_patient: int = 1
) -> pd.DataFrame:
    """Compare predicted probability and observed share of cancer in bins of equal width.

    Parameters
    ----------
    rows_per_patient : int
        Number of predictions per patient. The counts of patients and the intervals are corrected for it.

    Returns
    -------
    DataFrame
        Columns ``low``, ``high`` (the last bin includes 1.0), ``patients``, ``mean_probability``, ``share_positive``
        and its 95 % interval ``share_low``, ``share_high`` (Wilson 1927); one row per non-empty bin.

    Raises
    ------
    ValueError
        If `bins` is less than 1, or as in `classification_metrics`.
    """
    if bins < 1:
        raise ValueError(f"bins: expected at least 1, got {bins}")
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
    """Index (from 0) of the equal-width bin of each probability. Bins include their lower edge; the last also 1.0."""
    return np.minimum(np.searchsorted(np.linspace(0.0, 1.0, bins + 1), probability, side="right") - 1, bins - 1)


def expected_calibration_error(labels: ArrayLike, probabilities: ArrayLike, bins: int = BINS) -> float:
    """Mean absolute difference of predicted and observed share per bin, weighted by patients (ECE; Naeini 2015)."""
    table = calibration_table(labels, probabilities, bins)
    gaps = (table["mean_probability"] - table["share_positive"]).abs()
    return float(np.average(gaps, weights=table["patients"]))


def confusion_table(labels: ArrayLike, probabilities: ArrayLike) -> pd.DataFrame:
    """List the ``actual`` and the ``predicted`` class name of each patient, with the index of `labels`."""
    truth, probability = _paired(labels, probabilities)
    names = np.asarray(CLASS_NAMES)
    index = labels.index if isinstance(labels, pd.Series) else None
    return pd.DataFrame(
        {"actual": names[truth], "predicted": names[(probability >= DECISION_THRESHOLD).astype(int)]}, index=index
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
    """Check labels and probabilities; align Series by index in the order of the labels."""
    if isinstance(labels, pd.Series) and isinstance(probabilities, pd.Series):
        probabilities = _aligned(labels.index, probabilities)
    truth, probability = np.asarray(labels), np.asarray(probabilities, dtype=float)
    if truth.ndim != 1 or truth.shape != probability.shape or not truth.size:
        raise ValueError(
            f"expected labels and probabilities of equal length > 0, got {truth.shape} and {probability.shape}"
        )
    if not np.isin(truth, (0, 1)).all():
        raise ValueError(f"labels: expected 0 or 1, got {np.setdiff1d(truth, (0, 1))[:3].tolist()}")
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("probabilities: expected numbers between 0 and 1, got values outside or NaN")
    return truth.astype(int), probability


def _aligned(patients: pd.Index, probabilities: pd.Series) -> pd.Series:
    if not patients.is_unique or not probabilities.index.is_unique:
        raise ValueError("expected every patient once in labels and once in probabilities, got duplicates")
    unmatched = patients.symmetric_difference(probabilities.index)
    if len(unmatched):
        raise ValueError(
            f"expected the same patients in labels and probabilities, got {list(unmatched[:3])} in only one"
        )
    return probabilities.loc[patients]
