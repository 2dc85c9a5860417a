"""LUNA16 as it is on disk: `annotations.csv` and `subset0` .. `subset9` of MetaImage volumes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from nodules.scans.scan_error import ScanError

_POSITION_COLUMNS = ["coordX", "coordY", "coordZ"]
_NUMBER_COLUMNS = [*_POSITION_COLUMNS, "diameter_mm"]


@dataclass(frozen=True)
class NoduleAnnotation:
    """One nodule that at least three of the four LIDC-IDRI readers marked.

    Attributes
    ----------
    seriesuid : str
        The scan, as its file is called.
    centre_world_xyz : tuple of float
        Centre in mm.
    diameter_mm : float
        Mean diameter.
    """

    seriesuid: str
    centre_world_xyz: tuple[float, float, float]
    diameter_mm: float


def read_annotations(csv: Path) -> dict[str, list[NoduleAnnotation]]:
    """Read `annotations.csv` (columns seriesuid, coordX, coordY, coordZ, diameter_mm).

    Parameters
    ----------
    csv : Path
        The table.

    Returns
    -------
    dict
        Series UID to its nodules, both in the order of the file.

    Raises
    ------
    ScanError
        If the file or a column is missing, a number is not finite, or a diameter is not positive.
    """
    table = _read_table(csv)
    numbers = table[_NUMBER_COLUMNS].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    bad = ~np.isfinite(numbers).all(axis=1) | ~(numbers[:, 3] > 0) | table["seriesuid"].isna().to_numpy()
    if bad.any():
        row = int(np.argmax(bad))
        received = ", ".join(str(value) for value in table.loc[row, ["seriesuid", *_NUMBER_COLUMNS]])
        raise ScanError(
            f"{csv}, line {row + 2}: wanted a series UID, three finite coordinates and a positive diameter, "
            f"got {received}"
        )
    found: dict[str, list[NoduleAnnotation]] = {}
    for uid, (x, y, z, diameter_mm) in zip(table["seriesuid"], numbers.tolist(), strict=True):
        found.setdefault(uid, []).append(NoduleAnnotation(uid, (x, y, z), diameter_mm))
    return found


def series_files(luna_root: Path, subset: int) -> dict[str, Path]:
    """Return the scans of one subset: series UID to `.mhd` file, sorted by UID.

    Raises
    ------
    ScanError
        If the folder is missing or holds no `.mhd` file.
    """
    folder = luna_root / f"subset{subset}"
    files = {file.stem: file for file in sorted(folder.glob("*.mhd"))}
    if not files:
        state = "holds no .mhd file" if folder.is_dir() else "does not exist"
        raise ScanError(f"{folder} {state}; unpack LUNA16's subset{subset}.zip there, or make phantom data first")
    return files


def series_without_file(annotated: Iterable[str], present: Collection[str]) -> list[str]:
    """Return the annotated series that no subset holds.

    Parameters
    ----------
    annotated : iterable of str
        Series UIDs of the annotations.
    present : collection of str
        Series UIDs of the files of all subsets.

    Returns
    -------
    list of str
        Sorted, each once. A nodule of such a series would be lost without a word.
    """
    return sorted(set(annotated) - set(present))


def _read_table(csv: Path) -> pd.DataFrame:
    if not csv.is_file():
        raise ScanError(f"{csv}: no such file; LUNA16's annotations.csv belongs there")
    try:
        table = pd.read_csv(csv, dtype={"seriesuid": str})
    except ValueError as error:
        raise ScanError(f"{csv}: cannot be read as a table: {error}") from error
    missing = [column for column in ["seriesuid", *_NUMBER_COLUMNS] if column not in table.columns]
    if missing:
        raise ScanError(f"{csv}: lacks the column(s) {', '.join(missing)}; it has {', '.join(map(str, table.columns))}")
    return table
