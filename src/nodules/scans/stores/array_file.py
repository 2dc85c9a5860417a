"""The arrays of a dataclass in one `.npz` file that is there whole or not at all."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nodules.scans.result import ScanError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

DAMAGED = (OSError, EOFError, KeyError, ValueError, AttributeError, zipfile.BadZipFile, zlib.error)


def save(arrays: DataclassInstance, path: Path) -> None:
    """Write every field to a compressed `.npz`."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    with unfinished.open("wb") as file:
        np.savez_compressed(file, **{field.name: getattr(arrays, field.name) for field in fields(arrays)})
    unfinished.replace(path)


def load(of: type[DataclassInstance], path: Path, kind: str, remedy: str) -> dict[str, Any]:
    """Read the fields that `save` wrote.

    Parameters
    ----------
    of : type
        The dataclass.
    kind, remedy : str
        What the file should hold and how to get it again, for the error.

    Returns
    -------
    dict of str to ndarray
        By field; numbers and text are arrays without an axis.

    Raises
    ------
    ScanError
        If the file is missing, damaged or of another kind.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {field.name: stored[field.name] for field in fields(of)}
    except DAMAGED as error:
        raise ScanError(f"{path}: no readable {kind} ({error}); delete it and {remedy}") from error
