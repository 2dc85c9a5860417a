"""Data Science Bowl 2017 as it is on disk: one DICOM folder per patient and a table of labels."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from nodules.scans.scan_error import ScanError


def patient_folders(dsb_root: Path) -> dict[str, Path]:
    """Return the patients' DICOM folders by patient id, sorted; hidden folders are left out.

    Raises
    ------
    ScanError
        If the root is missing or has no folder in it.
    """
    folders = sorted(dsb_root.iterdir()) if dsb_root.is_dir() else []
    found = {folder.name: folder for folder in folders if folder.is_dir() and not folder.name.startswith(".")}
    if not found:
        state = "holds no patient folder" if dsb_root.is_dir() else "does not exist"
        raise ScanError(f"{dsb_root} {state}; unpack the DSB 2017 stage1 scans there, or make phantom data first")
    return found


def read_labels(csv: Path) -> pd.Series:
    """Read the labels (columns id, cancer).

    Returns
    -------
    Series
        int `cancer`, 1 where diagnosed within a year, by patient `id`, in the order of the file.

    Raises
    ------
    ScanError
        If the file or a column is missing, an id is empty or twice there, or a label is neither 0 nor 1.
    """
    labels = _read_column(csv, "cancer")
    _refuse_rows(~labels.isin([0, 1]), labels, csv, "a label of 0 or 1")
    return labels.astype(int)


def read_truth(csv: Path) -> pd.Series:
    """Read the probability by which each phantom patient's label was drawn (columns id, true_probability).

    Returns
    -------
    Series
        float `true_probability` by patient `id`, in the order of the file. Real data have no such table.

    Raises
    ------
    ScanError
        If the file or a column is missing, an id is empty or twice there, or a value lies outside 0..1.
    """
    truth = _read_column(csv, "true_probability")
    _refuse_rows(~truth.between(0, 1), truth, csv, "a probability of 0..1")
    return truth.astype(float)


def _read_column(csv: Path, column: str) -> pd.Series:
    if not csv.is_file():
        raise ScanError(f"{csv}: no such file; it must have the columns id and {column}")
    try:
        table = pd.read_csv(csv, dtype={"id": str})
    except ValueError as error:
        raise ScanError(f"{csv}: cannot be read as a table: {error}") from error
    missing = [name for name in ("id", column) if name not in table.columns]
    if missing:
        raise ScanError(f"{csv}: lacks the column(s) {', '.join(missing)}; it has {', '.join(map(str, table.columns))}")
    if table["id"].isna().any():
        raise ScanError(f"{csv}, line {int(table['id'].isna().argmax()) + 2}: the id is empty")
    if (twice := table["id"].duplicated()).any():
        raise ScanError(f"{csv}: patient {table['id'][twice].iloc[0]} is there twice; keep one row per patient")
    return pd.to_numeric(table.set_index("id")[column], errors="coerce")


def _refuse_rows(bad: pd.Series, values: pd.Series, csv: Path, wanted: str) -> None:
    if bad.any():
        row = int(bad.to_numpy().argmax())
        raise ScanError(f"{csv}: wanted {wanted} for patient {values.index[row]}, got {values.iloc[row]}")
