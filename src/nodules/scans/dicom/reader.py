"""Read one CT series from a DICOM folder, zip or multi-frame file, and check that its slices form a regular grid."""

from __future__ import annotations

import io
import math
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np

from nodules.scans.dicom.contents import ct_slices
from nodules.scans.dicom.geometry import depths_mm, fit_even_grid, sort_slices
from nodules.scans.dicom.headers import Slice
from nodules.scans.dicom.pixels import read_hu
from nodules.scans.dicom.series import choose_series
from nodules.scans.dicom.source import FileSource, file_source, folder_source, zip_source
from nodules.scans.dicom.stack import decode_stack
from nodules.scans.result import Reading, ReadingParams, ScanError

MAX_UNSEEN = 1.5
"""Ratio of slice distance to slice thickness above which a warning says that tissue was not scanned."""

SAME_POSITION_MM = 0.01
"""Slices closer than this have the same position; no CT scan has slices so close together."""

DICM_POSITION = slice(128, 132)
"""Position of the bytes "DICM" in a DICOM file."""

_ZIP_MARK = b"PK"


def read_series(path: Path, params: ReadingParams, series_uid: str | None = None) -> Reading:
    """Read one CT series from a folder, a zip, or a file that holds all slices as frames.

    Files may have any name and lie at any depth. Files that are not DICOM, `DICOMDIR`, localizers, secondary captures,
    colour pictures and modalities other than CT are left out. Derived slices are left out if there are original ones.

    Parameters
    ----------
    path : Path
        Folder, zip or multi-frame file. A zip is read in memory; nothing is extracted to disk.
    params : ReadingParams
        Limits up to which irregular scans are repaired.
    series_uid : str or None
        The series to read; None leaves the choice to `choose_series`.

    Returns
    -------
    Reading
        With the volume in int16 HU on canonical axes, clipped as in `read_volume`; padding is set to air.

    Raises
    ------
    ScanError
        If there is no CT series or not the requested one, the zip is encrypted, damaged or too large, or a slice cannot
        be decoded. Also if the slices form no regular grid: mixed sizes, spacings, orientations or frames of reference,
        different slices at one position, or a gap or gantry tilt beyond `params`.
    """
    if path.is_dir():
        return _read_source(folder_source(path), params, series_uid)
    if not path.is_file():
        raise ScanError(f"{path}: no such folder, zip or multi-frame file")
    with path.open("rb") as file:
        start = file.read(DICM_POSITION.stop)
        file.seek(0)
        if not is_dicom(start) and (start.startswith(_ZIP_MARK) or path.suffix.lower() == ".zip"):
            with zip_source(file, str(path)) as source:
                return _read_source(source, params, series_uid)
    return _read_source(file_source(path), params, series_uid, in_one_file=True)


def read_series_bytes(data: bytes, params: ReadingParams, series_uid: str | None = None) -> Reading:
    """Read a DICOM zip or multi-frame file from memory; otherwise as `read_series`."""
    if is_dicom(data):
        source = FileSource("the sent scan", {"the file": partial(io.BytesIO, data)})
        return _read_source(source, params, series_uid, in_one_file=True)
    with zip_source(io.BytesIO(data), "the sent zip") as source:
        return _read_source(source, params, series_uid)


def is_dicom(data: bytes) -> bool:
    """Return whether a file is DICOM, given at least its first `DICM_POSITION.stop` bytes."""
    return data[DICM_POSITION] == b"DICM"


def without_duplicates(series: list[Slice], source: FileSource) -> tuple[list[Slice], int]:
    """Drop slices that repeat the position and the HU of another slice.

    Parameters
    ----------
    series : list of Slice
        Sorted along the slice normal. Pixels are read only where two positions coincide.
    source : FileSource
        Source of the files.

    Returns
    -------
    list of Slice
        One slice per position, in order.
    int
        Number of dropped slices.

    Raises
    ------
    ScanError
        If two slices at one position differ, or two slices lie beside each other in one plane.
    """
    depths = depths_mm(series, series[0])
    kept = [0]
    for k in range(1, len(series)):
        if depths[k] - depths[kept[-1]] >= SAME_POSITION_MM:
            kept.append(k)
        else:
            _check_same(series[kept[-1]], series[k], source)
    return [series[k] for k in kept], len(series) - len(kept)


def _read_source(
    source: FileSource, params: ReadingParams, series_uid: str | None, *, in_one_file: bool = False
) -> Reading:
    slices, left_out = ct_slices(source)
    if in_one_file and slices[0].frame is None:
        raise ScanError(f"{source.label}: {slices[0].name} is one slice; give the folder of the scan")
    choice = choose_series(slices, series_uid, source.label)
    left_out += Counter({"derived": choice.derived_left_out})
    series, copies = without_duplicates(sort_slices(choice.series, source.label), source)
    grid = fit_even_grid(series, params, source.label)
    stack = decode_stack(series, grid, source)
    dropped = (f"{copies} exact duplicate slice{'s' if copies > 1 else ''} dropped",) if copies else ()
    return Reading(
        volume=stack.volume,
        kind="DICOM",
        series_uid=series[0].series_uid,
        thickness_mm=max(_thicknesses_mm(series), default=None),
        other_series=choice.other_series,
        left_out=dict(left_out),
        repairs=(*dropped, *grid.repairs, *stack.repairs),
        warnings=(*_warnings(series, math.hypot(*grid.steps_xyz_mm[:, 2])), *stack.warnings),
        flipped_xy=stack.flipped_xy,
    )


def _thicknesses_mm(series: list[Slice]) -> list[float]:
    return [item.thickness_mm for item in series if 0 < item.thickness_mm < math.inf]


def _warnings(series: list[Slice], distance_mm: float) -> tuple[str, ...]:
    warnings = []
    if series[0].is_derived:
        warnings.append("the slices are derived from other images (ImageType DERIVED); there are no original slices")
    thicknesses_mm = _thicknesses_mm(series)
    if not thicknesses_mm:
        return tuple(warnings)
    thinnest_mm, thickest_mm = min(thicknesses_mm), max(thicknesses_mm)
    if thickest_mm > 1.01 * thinnest_mm:
        warnings.append(f"slices are {thinnest_mm:.2f} to {thickest_mm:.2f} mm thick")
    if distance_mm > MAX_UNSEEN * thinnest_mm:
        warnings.append(
            f"slices are {thinnest_mm:.2f} mm thick but {distance_mm:.2f} mm apart; the tissue between them was not "
            "scanned"
        )
    return tuple(warnings)


def _check_same(first: Slice, second: Slice, source: FileSource) -> None:
    if np.abs(np.subtract(first.position_xyz, second.position_xyz)).max() >= SAME_POSITION_MM:
        raise ScanError(
            f"{source.label}: {first.display_name} at {first.position_xyz} and {second.display_name} at "
            f"{second.position_xyz} lie beside each other in one plane; two scans are mixed"
        )
    here, there = (read_hu(source, item.name, item.frame) for item in (first, second))
    if not np.array_equal(here, there):
        raise ScanError(
            f"{source.label}: {first.display_name} and {second.display_name} are different slices at the same position "
            f"{second.position_xyz}; give one reconstruction only"
        )
