"""Read a CSV table with one row per scan, nodule or patient, and check its columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from nodules.scans.result import ScanError


def read_table(csv: Path, key: str, columns: Sequence[str], expected: str) -> pd.DataFrame:
    """Read a table, plain or compressed, and check that its columns exist.

    Parameters
    ----------
    csv : Path
        Path of the table.
    key : str
        Column of the scan or patient; read as text, without surrounding spaces, None if empty.
    columns : sequence of str
        Other required columns, as pandas reads them.
    expected : str
        What was expected there, for the message if the file is missing.

    Raises
    ------
    ScanError
        If the file or a column is missing, or the file is not a table.
    """
    if not csv.is_file():
        raise ScanError(f"{csv}: no such file; {expected}")
    try:
        table = pd.read_csv(csv, dtype={key: str})
    except ValueError as error:
        raise ScanError(f"{csv}: cannot be read as a table: {error}") from error
    if missing := [name for name in (key, *columns) if name not in table.columns]:
        raise ScanError(f"{csv}: lacks the column(s) {', '.join(missing)}; it has {', '.join(map(str, table.columns))}")
    return table.assign(**{key: table[key].str.strip().replace("", None)})
