"""Slices at one and the same position: copies are dropped, contradictions refused."""

from __future__ import annotations

import numpy as np

from nodules.scans.dicom.geometry import depths_mm
from nodules.scans.dicom.headers import Slice
from nodules.scans.dicom.pixels import read_hu
from nodules.scans.dicom.source import FileSource
from nodules.scans.scan_error import ScanError

SAME_POSITION_MM = 0.01
"""Slices nearer to each other than this have the same position; no CT has slices so close."""


def without_duplicates(series: list[Slice], source: FileSource) -> tuple[list[Slice], int]:
    """Drop slices that have the position and the HU of another.

    Parameters
    ----------
    series : list of Slice
        In order along the slice normal. Pixels are read only where two positions coincide.
    source : FileSource
        Where the files lie.

    Returns
    -------
    list of Slice
        One slice per position, in order.
    int
        How many were dropped.

    Raises
    ------
    ScanError
        If two slices at one position differ, or two lie beside each other in one plane.
    """
    depths = depths_mm(series, series[0])
    kept = [0]
    for k in range(1, len(series)):
        if depths[k] - depths[kept[-1]] >= SAME_POSITION_MM:
            kept.append(k)
        else:
            _check_same(series[kept[-1]], series[k], source)
    return [series[k] for k in kept], len(series) - len(kept)


def _check_same(first: Slice, second: Slice, source: FileSource) -> None:
    if np.abs(np.subtract(first.position_xyz, second.position_xyz)).max() >= SAME_POSITION_MM:
        raise ScanError(
            f"{source.label}: {first.called} at {first.position_xyz} and {second.called} at {second.position_xyz} lie "
            "beside each other in one plane; two scans are mixed"
        )
    here, there = (read_hu(source, item.name, item.frame) for item in (first, second))
    if not np.array_equal(here, there):
        raise ScanError(
            f"{source.label}: {first.called} and {second.called} are different slices at the same position "
            f"{second.position_xyz}; give one reconstruction only"
        )
