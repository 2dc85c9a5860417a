"""Probabilities of malignancy against the readers' ratings: discrimination and calibration, together and by size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import metrics

from nodules.evaluation.bootstrap import grouped_metrics
from nodules.imaging.geometry.spheres import DIAMETER_STRATA_MM


def summary(rows: pd.DataFrame, columns: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
    """Figures of all nodules and of each size, with 95 % intervals over the patients.

    Parameters
    ----------
    rows : DataFrame
        One row per nodule: ``patient``, ``diameter_mm``, ``malignant`` (1, 0, or NaN for a nodule that does not count)
        and the columns of probabilities.
    columns : sequence of str
        Names of the columns of probabilities.

    Returns
    -------
    dict
        For each column, for ``all_sizes`` and each stratum that has nodules: ``nodules``, ``patients``,
        ``malignant`` (their number), the metrics of `grouped_metrics`, and ``diameter_auc``: the AUC of the diameter
        alone.

    Raises
    ------
    ValueError
        If no nodule counts, or a probability is not in [0, 1].
    """
    counted = rows[rows["malignant"].notna()]
    if counted.empty:
        raise ValueError("malignancy: expected at least one nodule with a mean rating above or below 3, got none")
    return {column: _by_size(counted, column) for column in columns}


def _by_size(rows: pd.DataFrame, column: str) -> dict[str, dict[str, float]]:
    strata = {"all_sizes": (0.0, np.inf)} | DIAMETER_STRATA_MM
    parts = {name: rows[rows["diameter_mm"].between(*limits, inclusive="left")] for name, limits in strata.items()}
    return {name: _figures(part, column) for name, part in parts.items() if len(part)}


def _figures(rows: pd.DataFrame, column: str) -> dict[str, float]:
    truth: NDArray[np.int64] = rows["malignant"].to_numpy(dtype=np.int64)
    figures: dict[str, float] = {
        "nodules": len(rows),
        "patients": int(rows["patient"].nunique()),
        "malignant": int(truth.sum()),
        **grouped_metrics(truth, rows[column].to_numpy(dtype=float), rows["patient"].to_numpy()),
    }
    if 0 < truth.sum() < truth.size:
        figures["diameter_auc"] = float(metrics.roc_auc_score(truth, rows["diameter_mm"]))
    return figures
