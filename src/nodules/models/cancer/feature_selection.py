"""Univariate feature selection; it uses only the patients to whom the model is then fitted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

_MIN_PRESENT = 5
_DUPLICATE_CORRELATION = 0.995
_COLUMNS_AT_ONCE = 1024


def screen(values: NDArray[np.float64], truth: NDArray[np.int64], max_features: int) -> NDArray[np.intp]:
    """Select informative columns without near-duplicates.

    A column is dropped if it is present in fewer than five patients, if it does not vary, or if its rank correlation
    with an earlier column exceeds 0.995 in magnitude. Of the others, the `max_features` with the highest rank
    correlation with the label are kept. The correlation is that of the values or that of being missing, whichever is
    higher.

    Parameters
    ----------
    values : float64 (patients, features)
        Missing values are NaN. A missing value counts as the column's median. If the present values are all equal,
        being missing is what varies.
    truth : int64 (patients,)
        0 or 1.

    Returns
    -------
    intp (kept,)
        Positions of the columns to keep, ascending.
    """
    missing = np.isnan(values)
    present = (~missing).sum(axis=0)
    ranks = _standardised(rankdata(_filled(values, missing, present), axis=0))
    absence = _standardised(missing)
    varies = ranks.any(axis=0)
    varying = np.where(varies, ranks, absence)
    usable = (present >= min(_MIN_PRESENT, len(values))) & varying.any(axis=0)
    kept = np.flatnonzero(usable)
    kept = kept[_first_of_duplicates(varying[:, kept])]
    centred = (truth - truth.mean()).astype(np.float32)
    strength = np.maximum(np.abs(centred @ varying[:, kept]), np.abs(centred @ absence[:, kept]))
    strongest = np.argsort(-strength, kind="stable")[:max_features]
    return np.sort(kept[strongest])


def _filled(values: NDArray[np.float64], missing: NDArray[np.bool_], present: NDArray[np.int64]) -> NDArray[np.float64]:
    """Replace missing values by the column's lower median, or by 0 if the whole column is missing."""
    ordered = np.sort(values, axis=0)  # NaN comes last
    middle = np.maximum(present - 1, 0) // 2
    medians = np.nan_to_num(ordered[middle, np.arange(values.shape[1])])
    return np.where(missing, medians, values)


def _standardised(columns: NDArray[np.float64] | NDArray[np.bool_]) -> NDArray[np.float32]:
    """Scale columns to mean 0 and length 1; a column that does not vary becomes 0."""
    centred = columns - columns.mean(axis=0)
    lengths = np.sqrt((centred**2).sum(axis=0))
    constant = np.ptp(columns.astype(np.float64), axis=0) == 0
    lengths[constant], centred[:, constant] = 1.0, 0.0
    return np.asarray(centred / lengths, dtype=np.float32)


def _first_of_duplicates(columns: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Mark columns without an earlier near-duplicate; `columns` have length 1, so their products are correlations."""
    count = columns.shape[1]
    kept = np.ones(count, dtype=bool)
    for start in range(0, count, _COLUMNS_AT_ONCE):
        block = columns[:, start : start + _COLUMNS_AT_ONCE]
        duplicates = np.triu(np.abs(block.T @ columns[:, start:]) > _DUPLICATE_CORRELATION, 1)
        for offset in np.flatnonzero(duplicates.any(axis=1)):
            if kept[start + offset]:
                kept[start:][duplicates[offset]] = False
    return kept
