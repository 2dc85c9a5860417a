"""Feature and label tables as arrays, refused where they cannot be learned from, and their division into folds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

# Equal rows may be chance where values are coarse or say that nothing was found, but not if so many different measured
# values (numbers with a fraction) in them are shared with nobody else.
_OWN_VALUES_OF_A_SCAN = 3


@dataclass(frozen=True)
class LabelledTable:
    """Patients sorted by id, so that nothing depends on the order in which they were given.

    Attributes
    ----------
    values : float64 (patients, features)
        Missing values are NaN.
    truth : int64 (patients,)
        0 or 1.
    patients : Index
        Their ids.
    columns : tuple of str
        Names of the features.
    """

    values: NDArray[np.float64]
    truth: NDArray[np.int64]
    patients: pd.Index
    columns: tuple[str, ...]

    def rows(self, chosen: NDArray[np.intp]) -> LabelledTable:
        """Take some of the patients."""
        return LabelledTable(self.values[chosen], self.truth[chosen], self.patients[chosen], self.columns)


def labelled_table(features: pd.DataFrame, labels: pd.Series) -> LabelledTable:
    """Check two tables indexed by patient id and join them.

    Raises
    ------
    ValueError
        If a patient appears twice or in only one of the tables, a label is not 0 or 1, or a feature appears twice or
        holds anything but numbers within float32 and NaN.
    """
    for what, index in (("features", features.index), ("labels", labels.index)):
        if not index.is_unique:
            raise ValueError(f"every patient must appear once in the {what}, got {index[index.duplicated()][0]} twice")
    strangers = features.index.symmetric_difference(labels.index)
    if len(strangers):
        raise ValueError(f"features and labels must hold the same patients, got {list(strangers[:3])} in only one")
    if not labels.isin([0, 1]).all():
        raise ValueError(f"labels must be 0 or 1, got {labels[~labels.isin([0, 1])].iloc[0]!r}")
    ordered = features.sort_index()
    truth = labels.loc[ordered.index].to_numpy(dtype=np.int64)
    return LabelledTable(numbers(ordered), truth, ordered.index, tuple(map(str, ordered.columns)))


def numbers(features: pd.DataFrame) -> NDArray[np.float64]:
    """Values of a table, float64 (patients, features); ValueError names a column that holds no numbers."""
    if not features.columns.is_unique:
        raise ValueError(f"feature {features.columns[features.columns.duplicated()][0]!r} appears twice")
    words = [name for name, kind in features.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
    if words:
        raise ValueError(f"features must be numbers, got words or objects in {words[:3]}")
    values = features.to_numpy(dtype=float, na_value=np.nan)
    # The trees work in float32.
    too_large = (np.abs(values) > np.finfo(np.float32).max).any(axis=0)
    if too_large.any():
        raise ValueError(f"features must be finite, got {features.columns[too_large][0]!r} with a value beyond float32")
    return values


def usable_folds(labels: pd.Series | NDArray[np.int64], folds: int) -> int:
    """Lower `folds` to the patients of the rarer class, so that every class can appear in every fold.

    Raises
    ------
    ValueError
        If a class has fewer than two patients.
    """
    counts = {label: int(np.sum(np.asarray(labels) == label)) for label in (0, 1)}
    if min(counts.values()) < 2:
        raise ValueError(f"cross-validation needs at least 2 patients of each class, got {counts}")
    return min(folds, *counts.values())


def splits(truth: NDArray[np.int64], folds: int, seed: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Positions of the patients to fit on and of those held out, stratified by label, shuffled by `seed`."""
    division = StratifiedKFold(usable_folds(truth, folds), shuffle=True, random_state=seed)
    return iter(division.split(np.zeros(len(truth)), truth))


def refuse_scans_entered_twice(table: LabelledTable) -> None:
    """Refuse one scan under two ids: it would be learned from in one fold and judged in another.

    Rows that are alike because they hold common values or whole numbers only, as those of all patients without a
    finding, are no evidence of that: a scan is recognised by several measured values that no other patient has.

    Raises
    ------
    ValueError
        Names the patients that share one scan.
    """
    rows = pd.DataFrame(table.values)
    alike = np.flatnonzero(rows.duplicated(keep=False))
    groups = (
        rows.iloc[alike].groupby(list(rows.columns), dropna=False, sort=False).indices.values() if len(alike) else ()
    )
    for group in (alike[inside] for inside in groups):
        row = table.values[group[0]]
        own = row[(row % 1 > 0) & ((table.values == row).sum(axis=0) == len(group))]
        if len(np.unique(own)) >= _OWN_VALUES_OF_A_SCAN:
            names = ", ".join(map(str, table.patients[group]))
            raise ValueError(f"every scan must be entered once, got equal features for the patients {names}")
