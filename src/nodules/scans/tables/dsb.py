"""Read the folders and tables of the Data Science Bowl 2017 (DSB): one DICOM folder per patient, and labels."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from nodules.scans.result import ScanError
from nodules.scans.tables.table import read_table

LABELS, SOLUTION = "stage1_labels.csv", "stage1_solution.csv"


def patient_folders(dsb_root: Path) -> dict[str, Path]:
    """Return the DICOM folders by patient id, sorted; hidden folders are left out.

    Raises
    ------
    ScanError
        If `dsb_root` does not exist or holds no folder.
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
        int `cancer` (1 if diagnosed within a year), indexed by patient `id`, in file order. Repeated rows are dropped.

    Raises
    ------
    ScanError
        If the file or a column is missing, an id is empty or has two labels, or a label is neither 0 nor 1.
    """
    labels = _read_column(csv, "cancer")
    _refuse_rows(~labels.isin([0, 1]), labels, csv, "a label of 0 or 1")
    return labels.astype(int)


def read_all_labels(dsb_root: Path) -> pd.Series:
    """Read `stage1_labels.csv` and, if it exists, `stage1_solution.csv` with the labels of the 198 test patients.

    Returns
    -------
    Series
        As `read_labels`.

    Raises
    ------
    ScanError
        As `read_labels`, and if the two tables contradict each other.
    """
    labels = read_labels(dsb_root / LABELS)
    solution = dsb_root / SOLUTION
    if not solution.is_file():
        return labels
    more = read_labels(solution)
    both = labels.index.intersection(more.index)
    if (unlike := labels[both] != more[both]).any():
        raise ScanError(
            f"{solution}: patient {both[unlike.to_numpy()][0]} has a different label in {LABELS}; correct one"
        )
    return pd.concat([labels, more.drop(both)])


def repeated_lines(csv: Path) -> list[int]:
    """Return the line numbers in a table of labels that repeat an earlier id."""
    return [int(row) + 2 for row in _read_table(csv, "cancer")["id"].duplicated().to_numpy().nonzero()[0]]


def read_truth(csv: Path) -> pd.Series:
    """Read the probability from which the label of each phantom patient was drawn (columns id, true_probability).

    Returns
    -------
    Series
        float `true_probability`, indexed by patient `id`, in file order. Real data have no such table.

    Raises
    ------
    ScanError
        If the file or a column is missing, an id is empty or has two values, or a value lies outside 0..1.
    """
    truth = _read_column(csv, "true_probability")
    _refuse_rows(~truth.between(0, 1), truth, csv, "a probability in 0..1")
    return truth.astype(float)


def _read_column(csv: Path, column: str) -> pd.Series:
    table = _read_table(csv, column)
    values = pd.to_numeric(table[column], errors="coerce")
    unique = pd.DataFrame({"id": table["id"], "value": values}).drop_duplicates()
    if (twice := unique["id"].duplicated()).any():
        patient = unique["id"][twice].iloc[0]
        raise ScanError(f"{csv}: patient {patient} has two values of {column}; keep one row per patient")
    return unique.set_index("id")["value"].rename(column)


def _read_table(csv: Path, column: str) -> pd.DataFrame:
    table = read_table(csv, "id", [column], f"expected a table with the columns id and {column}")
    if table["id"].isna().any():
        raise ScanError(f"{csv}, line {int(table['id'].isna().argmax()) + 2}: the id is empty")
    return table


def _refuse_rows(bad: pd.Series, values: pd.Series, csv: Path, expected: str) -> None:
    if bad.any():
        row = int(bad.to_numpy().argmax())
        raise ScanError(f"{csv}: expected {expected} for patient {values.index[row]}, got {values.iloc[row]}")
