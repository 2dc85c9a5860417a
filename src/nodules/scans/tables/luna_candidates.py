"""LUNA16's `candidates.csv` and `candidates_V2.csv`: where detection systems saw a nodule, and whether one is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nodules.scans.scan_error import ScanError
from nodules.scans.tables.submission import COORDINATES
from nodules.scans.tables.table import read_table

TABLES = ("candidates_V2.csv", "candidates.csv")
"""The names that LUNA16 gives them; the second version, with more systems, goes first."""


def candidate_table(luna_root: Path) -> Path | None:
    """Return the newest of the tables that lie beside the subsets, if any does."""
    return next((luna_root / name for name in TABLES if (luna_root / name).is_file()), None)


def read_false_positives(csv: Path) -> dict[str, NDArray[np.float64]]:
    """Read the places of class 0: no nodule lies there (columns seriesuid, coordX, coordY, coordZ, class).

    Returns
    -------
    dict
        Series UID to (N, 3) world points in mm, in the order of the file; series without such a place are absent.

    Raises
    ------
    ScanError
        If the file or a column is missing, a number is not finite, or a class is neither 0 nor 1.
    """
    columns = [*COORDINATES, "class"]
    table = read_table(csv, "seriesuid", columns, "LUNA16's candidates.csv belongs there")
    numbers = table[columns].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    bad = ~np.isfinite(numbers).all(axis=1) | ~np.isin(numbers[:, 3], (0, 1)) | table["seriesuid"].isna().to_numpy()
    if bad.any():
        row = int(bad.argmax())
        received = ", ".join(str(value) for value in table.loc[row, ["seriesuid", *columns]])
        raise ScanError(
            f"{csv}, line {row + 2}: wanted a series UID, three finite coordinates and the class 0 or 1, got {received}"
        )
    false = numbers[:, 3] == 0
    rows = table["seriesuid"][false].groupby(table["seriesuid"][false]).indices
    points = numbers[false, :3]
    return {str(uid): points[chosen] for uid, chosen in rows.items()}
