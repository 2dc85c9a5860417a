"""The judged slices of one scan in one `.npz` file."""

from __future__ import annotations

import zipfile
from dataclasses import fields
from pathlib import Path

import numpy as np

from nodules.imaging.tutorial.judged_slices import JudgedSlices
from nodules.scans.scan_error import ScanError


def save(judged: JudgedSlices, path: Path) -> None:
    """Write to a compressed `.npz` that appears whole or not at all."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    with unfinished.open("wb") as file:
        np.savez_compressed(file, **{field.name: getattr(judged, field.name) for field in fields(JudgedSlices)})
    unfinished.replace(path)


def load(path: Path) -> JudgedSlices:
    """Read what `save` wrote.

    Raises
    ------
    ScanError
        If the file is missing, damaged or of another kind.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return JudgedSlices(**{field.name: stored[field.name] for field in fields(JudgedSlices)})
    except (OSError, EOFError, KeyError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise ScanError(f"{path}: no readable slices to judge ({error}); delete it and run its stage again") from error
