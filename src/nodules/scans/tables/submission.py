"""Read LUNA16's tables for an evaluation: candidates, evaluated scans and excluded findings; write a submission."""

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
"""Diameter that LUNA16's evaluation script assumes for excluded findings whose diameter is given as -1."""

CANDIDATE_TABLES = ("candidates_V2.csv", "candidates.csv")
"""LUNA16's names for its table of candidates; version 2, from more detection systems, takes precedence."""


def read_submission(csv: Path) -> pd.DataFrame:
    """Read candidates (columns seriesuid, coordX, coordY, coordZ, probability).

    Returns
    -------
    DataFrame
        These columns, with world coordinates in mm as float, in file order.

    Raises
    ------
    ScanError
        If the file or a column is missing, or a number is not finite.
    """
    return _read(csv, [*COORDINATES, "probability"])


def write_submission(candidates: pd.DataFrame, csv: Path) -> None:
    """Write candidates (columns as returned by `read_submission`) in LUNA16's format."""
    csv.parent.mkdir(parents=True, exist_ok=True)
    candidates[["seriesuid", *COORDINATES, "probability"]].to_csv(csv, index=False)


def read_excluded(csv: Path) -> dict[str, list[NoduleAnnotation]]:
    """Read `annotations_excluded.csv`: findings that count neither as nodules nor as false positives.

    Returns
    -------
    dict
        Series UID to its findings; unknown diameters are set to `UNKNOWN_DIAMETER_MM`.

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
    """Return the path of `annotations_excluded.csv` beside the subsets, or None if there is no such file.

    LUNA16 distributes it with its evaluation script, so many users have the scans without it. A file that may be absent
    cannot be a DVC dependency, so the stages look for it beside the subsets.
    """
    csv = luna_root / "annotations_excluded.csv"
    return csv if csv.is_file() else None


def read_excluded_beside(luna_root: Path) -> dict[str, list[NoduleAnnotation]]:
    """Read the excluded findings beside the subsets with `read_excluded`; empty if there is no such file."""
    csv = excluded_table(luna_root)
    return read_excluded(csv) if csv else {}


def read_series_uids(csv: Path) -> list[str]:
    """Read the series UIDs of an evaluation, one per line, with or without the header `seriesuid`.

    Raises
    ------
    ScanError
        If the file is missing or empty, or a UID appears twice.
    """
    if not csv.is_file():
        raise ScanError(f"{csv}: no such file; expected one series UID per line")
    uids = [line.strip().strip('",') for line in csv.read_text().splitlines() if line.strip()]
    uids = uids[1:] if uids[:1] == ["seriesuid"] else uids
    if not uids:
        raise ScanError(f"{csv}: no series UID found; expected one per line")
    if twice := sorted({uid for uid in uids if uids.count(uid) > 1}):
        raise ScanError(f"{csv}: {twice[0]} appears twice; keep one line per scan")
    return uids


def candidate_table(luna_root: Path) -> Path | None:
    """Return the path of the newest table of candidates beside the subsets, or None if there is none."""
    return next((luna_root / name for name in CANDIDATE_TABLES if (luna_root / name).is_file()), None)


def read_false_positives(csv: Path) -> dict[str, NDArray[np.float64]]:
    """Read the candidates of class 0, which are not nodules (columns seriesuid, coordX, coordY, coordZ, class).

    Returns
    -------
    dict
        Series UID to (N, 3) world points in mm, in file order; series without such candidates are absent.

    Raises
    ------
    ScanError
        If the file or a column is missing, a number is not finite, or a class is neither 0 nor 1.
    """
    columns = [*COORDINATES, "class"]
    table = read_table(csv, "seriesuid", columns, "expected LUNA16's candidates.csv")
    numbers = table[columns].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    bad = ~np.isfinite(numbers).all(axis=1) | ~np.isin(numbers[:, 3], (0, 1)) | table["seriesuid"].isna().to_numpy()
    if bad.any():
        row = int(bad.argmax())
        received = ", ".join(str(value) for value in table.loc[row, ["seriesuid", *columns]])
        raise ScanError(
            f"{csv}, line {row + 2}: expected a series UID, three finite coordinates and the class 0 or 1, got "
            f"{received}"
        )
    false = numbers[:, 3] == 0
    rows = table["seriesuid"][false].groupby(table["seriesuid"][false]).indices
    points = numbers[false, :3]
    return {str(uid): points[chosen] for uid, chosen in rows.items()}


def _read(csv: Path, numbers: Sequence[str]) -> pd.DataFrame:
    columns = ["seriesuid", *numbers]
    table = read_table(csv, "seriesuid", numbers, f"expected a table with the columns {', '.join(columns)}")[columns]
    table[list(numbers)] = table[list(numbers)].apply(pd.to_numeric, errors="coerce")
    bad = ~np.isfinite(table[list(numbers)].to_numpy(dtype=float)).all(axis=1) | table["seriesuid"].isna().to_numpy()
    if bad.any():
        raise ScanError(f"{csv}, line {int(bad.argmax()) + 2}: expected a series UID and finite numbers")
    return table
