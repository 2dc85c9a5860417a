"""LUNA16's tables of an evaluation: a submission of candidates, the scans it is judged on, the excluded findings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nodules.scans.result import ScanError
from nodules.scans.tables.luna import NoduleAnnotation
from nodules.scans.tables.table import read_table

COORDINATES = ["coordX", "coordY", "coordZ"]
UNKNOWN_DIAMETER_MM = 10.0
"""What LUNA16's script takes for the excluded findings whose diameter is written as -1."""


def read_submission(csv: Path) -> pd.DataFrame:
    """Read candidates (columns seriesuid, coordX, coordY, coordZ, probability).

    Returns
    -------
    DataFrame
        These columns, world mm as float, in the order of the file.

    Raises
    ------
    ScanError
        If the file or a column is missing, or a number is not finite.
    """
    return _read(csv, [*COORDINATES, "probability"])


def write_submission(candidates: pd.DataFrame, csv: Path) -> None:
    """Write candidates (columns as `read_submission` returns them) as LUNA16 wants them."""
    csv.parent.mkdir(parents=True, exist_ok=True)
    candidates[["seriesuid", *COORDINATES, "probability"]].to_csv(csv, index=False)


def read_excluded(csv: Path) -> dict[str, list[NoduleAnnotation]]:
    """Read `annotations_excluded.csv`: findings that are no reference nodule, and no mistake where they are found.

    Returns
    -------
    dict
        Series UID to its findings; an unknown diameter is `UNKNOWN_DIAMETER_MM`.

    Raises
    ------
    ScanError
        As `read_submission`.
    """
    table = _read(csv, [*COORDINATES, "diameter_mm"])
    diameters_mm = table["diameter_mm"].where(table["diameter_mm"] > 0, UNKNOWN_DIAMETER_MM)
    found: dict[str, list[NoduleAnnotation]] = {}
    places = table[COORDINATES].to_numpy().tolist()
    for uid, (x, y, z), diameter_mm in zip(table["seriesuid"], places, diameters_mm.tolist(), strict=True):
        found.setdefault(uid, []).append(NoduleAnnotation(uid, (x, y, z), diameter_mm))
    return found


def excluded_table(luna_root: Path) -> Path | None:
    """Return the `annotations_excluded.csv` that lies beside the subsets, if it does.

    LUNA16 hands it out with its evaluation script, so many have the scans without it. A file that may be absent cannot
    be a DVC dependency: stages read it where it lies.
    """
    csv = luna_root / "annotations_excluded.csv"
    return csv if csv.is_file() else None


def excluded_of(luna_root: Path) -> dict[str, list[NoduleAnnotation]]:
    """Read the table that lies beside the subsets as `read_excluded` does; without it nothing is excluded."""
    csv = excluded_table(luna_root)
    return read_excluded(csv) if csv else {}


def read_series_uids(csv: Path) -> list[str]:
    """Read the scans of an evaluation, one UID a line, with or without the heading `seriesuid`.

    Raises
    ------
    ScanError
        If the file is missing or empty, or a UID stands in it twice.
    """
    if not csv.is_file():
        raise ScanError(f"{csv}: no such file; it must have one series UID a line")
    uids = [line.strip().strip('",') for line in csv.read_text().splitlines() if line.strip()]
    uids = uids[1:] if uids[:1] == ["seriesuid"] else uids
    if not uids:
        raise ScanError(f"{csv}: holds no series UID")
    if twice := sorted({uid for uid in uids if uids.count(uid) > 1}):
        raise ScanError(f"{csv}: {twice[0]} is there twice; keep one line per scan")
    return uids


def _read(csv: Path, numbers: Sequence[str]) -> pd.DataFrame:
    columns = ["seriesuid", *numbers]
    table = read_table(csv, "seriesuid", numbers, f"it must have the columns {', '.join(columns)}")[columns]
    table[list(numbers)] = table[list(numbers)].apply(pd.to_numeric, errors="coerce")
    bad = ~np.isfinite(table[list(numbers)].to_numpy(dtype=float)).all(axis=1) | table["seriesuid"].isna().to_numpy()
    if bad.any():
        raise ScanError(f"{csv}, line {int(bad.argmax()) + 2}: wanted a series UID and finite numbers")
    return table


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
