"""Store a dataclass of arrays in one `.npz` file, which appears complete or not at all."""

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

DAMAGE_ERRORS = (OSError, EOFError, KeyError, ValueError, AttributeError, zipfile.BadZipFile, zlib.error)


def save(arrays: DataclassInstance, path: Path) -> None:
    """Write every field to a compressed `.npz` file."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    with unfinished.open("wb") as file:
        np.savez_compressed(file, **{field.name: getattr(arrays, field.name) for field in fields(arrays)})
    unfinished.replace(path)


def load(of: type[DataclassInstance], path: Path, kind: str, remedy: str) -> dict[str, Any]:
    """Read the fields that `save` wrote.

    Parameters
    ----------
    of : type
        The dataclass that was saved.
    kind, remedy : str
        Expected content and how to create it again, for the error message.

    Returns
    -------
    dict of str to ndarray
        Arrays by field; numbers and text are 0-dimensional arrays.

    Raises
    ------
    ScanError
        If the file is missing, damaged or of another kind.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {field.name: stored[field.name] for field in fields(of)}
    except DAMAGE_ERRORS as error:
        raise ScanError(f"{path}: no readable {kind} ({error}); delete it and {remedy}") from error
