"""A CSV table whose rows belong to a scan or a patient."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from nodules.scans.result import ScanError


def read_table(csv: Path, key: str, columns: Sequence[str], wanted: str) -> pd.DataFrame:
    """Read a table, plain or compressed, and see that its columns are there.

    Parameters
    ----------
    csv : Path
        The table.
    key : str
        Column of the scan or patient; read as text without spaces around it, None where it is empty.
    columns : sequence of str
        The other columns that must be there, as pandas reads them.
    wanted : str
        What belongs there, for the message if nothing is.

    Raises
    ------
    ScanError
        If the file or a column is missing, or it is no table.
    """
    if not csv.is_file():
        raise ScanError(f"{csv}: no such file; {wanted}")
    try:
        table = pd.read_csv(csv, dtype={key: str})
    except ValueError as error:
        raise ScanError(f"{csv}: cannot be read as a table: {error}") from error
    if missing := [name for name in (key, *columns) if name not in table.columns]:
        raise ScanError(f"{csv}: lacks the column(s) {', '.join(missing)}; it has {', '.join(map(str, table.columns))}")
    return table.assign(**{key: table[key].str.strip().replace("", None)})
