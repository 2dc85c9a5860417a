"""Division of the real patients into five folds: each network is judged on the fold that it has not seen."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from nodules.scans.result import ScanError
from nodules.scans.tables.table import read_table

FOLDS = 5
ALL = "all"
HeldOut = Literal["0", "1", "2", "3", "4"]
Fold = Literal["0", "1", "2", "3", "4", "all"]
"""A fold that is held out, or `ALL`: nothing is held out, as for the networks that ship."""


def patient_folds(subsets: Mapping[str, int | None], seed: int) -> dict[str, int]:
    """Assign each patient to a fold.

    Parameters
    ----------
    subsets : mapping
        Each patient to the LUNA16 subset of their scan, or None. LUNA16's subsets divide the patients at random, so
        the fold is the subset modulo `FOLDS`. Patients without a subset are drawn.
    seed : int
        Determines the draw, which does not depend on the order of the mapping.

    Returns
    -------
    dict
        Each patient to a fold from 0.
    """
    known = {patient: subset % FOLDS for patient, subset in subsets.items() if subset is not None}
    return known | drawn_folds(subsets.keys() - known.keys(), FOLDS, seed)


def drawn_folds(names: Collection[str], count: int, seed: int) -> dict[str, int]:
    """Assign each name to a fold at random; the folds differ by at most one in size, and the order does not matter."""
    numbers = np.random.default_rng(seed).permutation(len(names)) % count
    return dict(zip(sorted(names), numbers.tolist(), strict=True))


def read_folds(slices: Path) -> dict[str, int]:
    """Read the fold of each patient from the manifest of the training slices.

    Raises
    ------
    ScanError
        If the manifest is missing, names several folds for a patient, or something that is no number.
    """
    manifest = slices / "manifest.csv"
    table = read_table(manifest, "patient", ["fold"], "expected the manifest that the stage slices writes")
    division = table[["patient", "fold"]].drop_duplicates().astype(str)
    if division["patient"].duplicated().any():
        raise ScanError(f"{manifest}: names several folds for the same patient; run the stage slices again")
    try:
        return dict(zip(division["patient"], division["fold"].map(int), strict=True))
    except ValueError as error:
        raise ScanError(f"{manifest}: expected the number of a fold for each patient: {error}") from error
