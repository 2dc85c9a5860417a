"""Feature and label tables as checked arrays, their division into folds, and a check for duplicate scans."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

# Rows may be equal by chance if their values are coarse or if nothing was found. They are the same scan if they share
# this many different fractional values that no other patient has.
_MIN_UNIQUE_VALUES = 3


@dataclass(frozen=True)
class LabelledTable:
    """Features and labels of patients, sorted by id so that results do not depend on the order of the input.

    Attributes
    ----------
    values : float64 (patients, features)
        Missing values are NaN.
    truth : int64 (patients,)
        0 or 1.
    patients : Index
        Patient ids.
    columns : tuple of str
        Names of the features.
    """

    values: NDArray[np.float64]
    truth: NDArray[np.int64]
    patients: pd.Index
    columns: tuple[str, ...]

    def rows(self, chosen: NDArray[np.intp]) -> LabelledTable:
        """Table of some of the patients, given by their positions."""
        return LabelledTable(self.values[chosen], self.truth[chosen], self.patients[chosen], self.columns)


def labelled_table(features: pd.DataFrame, labels: pd.Series) -> LabelledTable:
    """Check two tables indexed by patient id and join them.

    Raises
    ------
    ValueError
        If a patient appears twice or in only one of the tables, a label is not 0 or 1, a feature appears twice, or a
        feature holds anything but NaN and numbers in the range of float32.
    """
    for what, index in (("features", features.index), ("labels", labels.index)):
        if not index.is_unique:
            raise ValueError(f"every patient must appear once in the {what}, got {index[index.duplicated()][0]} twice")
    unmatched = features.index.symmetric_difference(labels.index)
    if len(unmatched):
        raise ValueError(f"features and labels must hold the same patients, got {list(unmatched[:3])} in only one")
    if not labels.isin([0, 1]).all():
        raise ValueError(f"labels must be 0 or 1, got {labels[~labels.isin([0, 1])].iloc[0]!r}")
    ordered = features.sort_index()
    truth = labels.loc[ordered.index].to_numpy(dtype=np.int64)
    return LabelledTable(numbers(ordered), truth, ordered.index, tuple(map(str, ordered.columns)))


def numbers(features: pd.DataFrame) -> NDArray[np.float64]:
    """Values of a table, float64 (patients, features).

    Raises
    ------
    ValueError
        If a column appears twice or does not hold numbers; the message names it.
    """
    if not features.columns.is_unique:
        raise ValueError(f"feature {features.columns[features.columns.duplicated()][0]!r} appears twice")
    non_numeric = [name for name, kind in features.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
    if non_numeric:
        raise ValueError(f"features must be numbers, got text or objects in {non_numeric[:3]}")
    values = features.to_numpy(dtype=float, na_value=np.nan)
    # The tree models compute in float32.
    too_large = (np.abs(values) > np.finfo(np.float32).max).any(axis=0)
    if too_large.any():
        raise ValueError(
            f"features must be within the range of float32, got a larger value in {features.columns[too_large][0]!r}"
        )
    return values


def usable_folds(labels: pd.Series | NDArray[np.int64], folds: int) -> int:
    """Number of folds: `folds`, or the number of patients of the rarer class if that is lower.

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
    """Positions of the training and of the held-out patients of each fold, stratified by label and shuffled."""
    division = StratifiedKFold(usable_folds(truth, folds), shuffle=True, random_state=seed)
    return iter(division.split(np.zeros(len(truth)), truth))


def refuse_duplicate_scans(table: LabelledTable) -> None:
    """Raise an error if one scan has two ids, because it could then be in a training set and held out at once.

    Equal rows alone do not show that: all patients without a finding have the same row, of common values and whole
    numbers. Two rows are taken for one scan if they share several fractional values that no other patient has.

    Raises
    ------
    ValueError
        If patients share a scan; the message names them.
    """
    rows = pd.DataFrame(table.values)
    repeated = np.flatnonzero(rows.duplicated(keep=False))
    groups = (
        rows.iloc[repeated].groupby(list(rows.columns), dropna=False, sort=False).indices.values()
        if len(repeated)
        else ()
    )
    for group in (repeated[inside] for inside in groups):
        row = table.values[group[0]]
        unique = row[(row % 1 > 0) & ((table.values == row).sum(axis=0) == len(group))]
        if len(np.unique(unique)) >= _MIN_UNIQUE_VALUES:
            names = ", ".join(map(str, table.patients[group]))
            raise ValueError(f"every scan must be entered once, got equal features for the patients {names}")
