"""LUNA16's tables of an evaluation: a submission of candidates, the scans it is judged on, the excluded findings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from nodules.scans.scan_error import ScanError
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
