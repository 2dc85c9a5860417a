"""The judged slices of one scan in one `.npz` file."""

from __future__ import annotations

from pathlib import Path

from nodules.scans.stores import array_file
from nodules.tutorial.judging.judged_slices import JudgedSlices


def save(judged: JudgedSlices, path: Path) -> None:
    """Write to a compressed `.npz` that appears whole or not at all."""
    array_file.save(judged, path)


def load(path: Path) -> JudgedSlices:
    """Read what `save` wrote.

    Raises
    ------
    ScanError
        If the file is missing, damaged or of another kind.
    """
    return JudgedSlices(**array_file.load(JudgedSlices, path, "slices to judge", "run its stage again"))
