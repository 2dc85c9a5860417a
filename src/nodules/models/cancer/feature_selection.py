"""Which columns are worth a model's while; decided on the patients that the model is fitted to, and on no other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

_FEWEST_PRESENT = 5
_TWINS_FROM = 0.995
_COLUMNS_AT_ONCE = 1024


def screen(values: NDArray[np.float64], truth: NDArray[np.int64], max_features: int) -> NDArray[np.intp]:
    """Choose columns: without those that say nothing or the same as another, the strongest first.

    Dropped are columns that are present in fewer than five patients or do not vary, and the later ones of columns
    whose rank correlation is beyond 0.995. Of the others the `max_features` most strongly related to the label remain,
    by the rank correlation of their values or of their being missing.

    Parameters
    ----------
    values : float64 (patients, features)
        Missing values are NaN. A missing value counts as the column's median, except where the present values are all
        equal: there what varies is being present.
    truth : int64 (patients,)
        0 or 1.

    Returns
    -------
    intp (kept,)
        Positions of the columns to keep, rising.
    """
    missing = np.isnan(values)
    present = (~missing).sum(axis=0)
    ranks = _standardised(rankdata(_filled(values, missing, present), axis=0))
    absence = _standardised(missing)
    varies = ranks.any(axis=0)
    varying = np.where(varies, ranks, absence)
    able = (present >= min(_FEWEST_PRESENT, len(values))) & varying.any(axis=0)
    kept = np.flatnonzero(able)
    kept = kept[_first_of_twins(varying[:, kept])]
    centred = (truth - truth.mean()).astype(np.float32)
    strength = np.maximum(np.abs(centred @ varying[:, kept]), np.abs(centred @ absence[:, kept]))
    strongest = np.argsort(-strength, kind="stable")[:max_features]
    return np.sort(kept[strongest])


def _filled(values: NDArray[np.float64], missing: NDArray[np.bool_], present: NDArray[np.int64]) -> NDArray[np.float64]:
    """Put each column's lower median where it is missing, 0 in columns that are missing throughout."""
    ordered = np.sort(values, axis=0)  # NaN last
    middle = np.maximum(present - 1, 0) // 2
    medians = np.nan_to_num(ordered[middle, np.arange(values.shape[1])])
    return np.where(missing, medians, values)


def _standardised(columns: NDArray[np.float64] | NDArray[np.bool_]) -> NDArray[np.float32]:
    """Columns of mean 0 and length 1; those that do not vary are 0."""
    centred = columns - columns.mean(axis=0)
    lengths = np.sqrt((centred**2).sum(axis=0))
    steady = np.ptp(columns.astype(np.float64), axis=0) == 0
    lengths[steady], centred[:, steady] = 1.0, 0.0
    return np.asarray(centred / lengths, dtype=np.float32)


def _first_of_twins(columns: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether no earlier kept column is a twin; `columns` have length 1, so their products are correlations."""
    count = columns.shape[1]
    kept = np.ones(count, dtype=bool)
    for start in range(0, count, _COLUMNS_AT_ONCE):
        block = columns[:, start : start + _COLUMNS_AT_ONCE]
        twins = np.triu(np.abs(block.T @ columns[:, start:]) > _TWINS_FROM, 1)
        for offset in np.flatnonzero(twins.any(axis=1)):
            if kept[start + offset]:
                kept[start:][twins[offset]] = False
    return kept
