"""Read a table of features: one row per patient, columns with any names."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.errors import ParserWarning

from nodules.scans.result import ScanError

SUFFIXES = (".csv", ".csv.gz", ".parquet")
_SHOWN = 3


def read_features(path: Path) -> pd.DataFrame:
    """Read a table of features.

    Parameters
    ----------
    path : Path
        ``.csv``, ``.csv.gz`` or ``.parquet``. The first column is the patient id under any name (in parquet, a stored
        index counts as the first column). All other columns are numbers; empty cells stand for unknown values.

    Returns
    -------
    DataFrame
        float64, indexed by ``id`` (text), in file order.

    Raises
    ------
    ScanError
        If the file is missing or not such a table, has no rows or no features, repeats an id or column name, has an
        empty id, or holds text or an infinite number in a cell.
    """
    table = _read(path)
    _refuse_repeated([str(name) for name in table.columns], f"{path}: column")
    if table.shape[1] < 2 or table.empty:
        raise ScanError(f"{path}: expected a patient id and features for at least one patient, got {_size(table)}")
    ids = _ids(table.iloc[:, 0], path)
    return _numbers(table.iloc[:, 1:], path).set_axis(ids, axis=0)


def _read(path: Path) -> pd.DataFrame:
    if not path.name.lower().endswith(SUFFIXES):
        raise ScanError(f"{path}: expected a table of features that ends in {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise ScanError(f"{path}: no such file; expected a table of features")
    try:
        return _read_parquet(path) if path.name.lower().endswith(".parquet") else _read_csv(path)
    except (ValueError, OSError, EOFError, ParserWarning) as error:
        raise ScanError(f"{path}: cannot be read as a table: {str(error).splitlines()[0]}") from error


def _read_parquet(path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path)
    return table if isinstance(table.index, pd.RangeIndex) else table.reset_index()


def _read_csv(path: Path) -> pd.DataFrame:
    # pandas would rename a repeated column, and use the first column as an index if rows are longer than the header
    names = pd.read_csv(path, header=None, nrows=1, dtype=str, encoding="utf-8-sig").iloc[0].fillna("").str.strip()
    with warnings.catch_warnings():
        # Without this, rows longer than the header would silently lose their last cells.
        warnings.simplefilter("error", ParserWarning)
        table = pd.read_csv(
            path,
            header=0,
            names=range(len(names)),
            index_col=False,
            dtype={0: str},
            low_memory=False,
            encoding="utf-8-sig",
        )
    return table.set_axis(names, axis=1)


def _ids(column: pd.Series, path: Path) -> pd.Index:
    whole = column.astype("Int64") if pd.api.types.is_integer_dtype(column) else column
    ids = whole.astype("string").str.strip()
    if ids.isna().any() or (ids == "").any():
        raise ScanError(f"{path}: row {int(np.argmax(ids.isna() | (ids == ''))) + 1} has no patient id")
    _refuse_repeated(ids.tolist(), f"{path}: patient")
    return pd.Index(ids.astype(str), name="id")


def _refuse_repeated(names: list[str], what: str) -> None:
    listed = pd.Series(names, dtype=object)
    if repeated := listed[listed.duplicated()].unique().tolist():
        more = f" and {len(repeated) - _SHOWN} more" if len(repeated) > _SHOWN else ""
        raise ScanError(f"{what} {', '.join(map(repr, repeated[:_SHOWN]))}{more} appears more than once")


def _numbers(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    for name in table.columns:
        column = table[name]
        # pandas reads an empty column as objects.
        if not pd.api.types.is_numeric_dtype(column) and column.notna().any():
            words = column[pd.to_numeric(column, errors="coerce").isna() & column.notna()]
            got = repr(words.iloc[0]) if len(words) else f"a column of type {column.dtype}"
            raise ScanError(f"{path}: features must be numbers, got {got} in {str(name)!r}")
    values = table.apply(pd.to_numeric).to_numpy(dtype=float, na_value=np.nan)
    infinite = np.isinf(values).any(axis=0)
    if infinite.any():
        raise ScanError(
            f"{path}: features must be finite, got an infinite value in {str(table.columns[infinite][0])!r}"
        )
    return pd.DataFrame(values, columns=[str(name) for name in table.columns])


def _size(table: pd.DataFrame) -> str:
    return f"{len(table)} rows and {table.shape[1]} columns"
