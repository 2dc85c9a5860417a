"""Read LUNA16's `annotations.csv`, and find the MetaImage files in `subset0` .. `subset9`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nodules.scans.result import ScanError
from nodules.scans.tables.table import read_table

_POSITION_COLUMNS = ["coordX", "coordY", "coordZ"]
_NUMBER_COLUMNS = [*_POSITION_COLUMNS, "diameter_mm"]


@dataclass(frozen=True)
class NoduleAnnotation:
    """One nodule that at least three of the four LIDC-IDRI readers marked.

    Attributes
    ----------
    seriesuid : str
        Series UID of the scan, which is also its file name.
    centre_world_xyz : tuple of float
        Centre in mm.
    diameter_mm : float
        Mean diameter.
    """

    seriesuid: str
    centre_world_xyz: tuple[float, float, float]
    diameter_mm: float


@dataclass(frozen=True)
class AnnotationTable:
    """Content of `annotations.csv`.

    Attributes
    ----------
    nodules : dict
        Series UID to its nodules, both in file order.
    repeated_lines : tuple of int
        Numbers of the lines that repeat an earlier line and were dropped.
    """

    nodules: dict[str, list[NoduleAnnotation]]
    repeated_lines: tuple[int, ...]


def read_annotations(csv: Path) -> dict[str, list[NoduleAnnotation]]:
    """Read the nodules of `annotations.csv` by series UID; see `read_annotation_table`."""
    return read_annotation_table(csv).nodules


def read_annotation_table(csv: Path) -> AnnotationTable:
    """Read `annotations.csv` (columns seriesuid, coordX, coordY, coordZ, diameter_mm).

    Parameters
    ----------
    csv : Path
        The table.

    Raises
    ------
    ScanError
        If the file or a column is missing, a number is not finite, a diameter is not positive, or two rows give
        different diameters at the same place.
    """
    table = read_table(csv, "seriesuid", _NUMBER_COLUMNS, "expected LUNA16's annotations.csv")
    numbers = table[_NUMBER_COLUMNS].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    _refuse_bad_rows(table, numbers, csv)
    nodules: dict[str, list[NoduleAnnotation]] = {}
    lines: dict[tuple[str, float, float, float], tuple[int, float]] = {}
    repeated: list[int] = []
    for line, (uid, (x, y, z, diameter_mm)) in enumerate(zip(table["seriesuid"], numbers.tolist(), strict=True), 2):
        earlier = lines.setdefault((uid, x, y, z), (line, diameter_mm))
        if earlier[1] != diameter_mm:
            raise ScanError(
                f"{csv}, line {line}: the diameter is {diameter_mm} mm, but line {earlier[0]} gives {earlier[1]} mm "
                f"for the same nodule of {uid}; keep one of them"
            )
        if earlier[0] == line:
            nodules.setdefault(uid, []).append(NoduleAnnotation(uid, (x, y, z), diameter_mm))
        else:
            repeated.append(line)
    return AnnotationTable(nodules, tuple(repeated))


def series_files(luna_root: Path, subset: int) -> dict[str, Path]:
    """Return the scans of one subset as series UID to `.mhd` file, sorted by UID.

    Raises
    ------
    ScanError
        If the folder does not exist or holds no `.mhd` file.
    """
    folder = luna_root / f"subset{subset}"
    files = {file.stem: file for file in sorted(folder.glob("*.mhd"))}
    if not files:
        state = "holds no .mhd file" if folder.is_dir() else "does not exist"
        raise ScanError(f"{folder} {state}; unpack LUNA16's subset{subset}.zip there, or make phantom data first")
    return files


def series_without_file(annotated: Iterable[str], present: Collection[str]) -> list[str]:
    """Return the annotated series without a file in any subset.

    Parameters
    ----------
    annotated : iterable of str
        Series UIDs of the annotations.
    present : collection of str
        Series UIDs of the files of all subsets.

    Returns
    -------
    list of str
        Sorted, without repetitions. The nodules of these series would otherwise be lost silently.
    """
    return sorted(set(annotated) - set(present))


def _refuse_bad_rows(table: pd.DataFrame, numbers: NDArray[np.float64], csv: Path) -> None:
    bad = ~np.isfinite(numbers).all(axis=1) | ~(numbers[:, 3] > 0) | table["seriesuid"].isna().to_numpy()
    if bad.any():
        row = int(np.argmax(bad))
        received = ", ".join(str(value) for value in table.loc[row, ["seriesuid", *_NUMBER_COLUMNS]])
        raise ScanError(
            f"{csv}, line {row + 2}: expected a series UID, three finite coordinates and a positive diameter, "
            f"got {received}"
        )
