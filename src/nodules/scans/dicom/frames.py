"""Read the geometry and the other values of each frame of an Enhanced CT file from its functional groups."""

from __future__ import annotations

import math
from typing import Any

import pydicom

from nodules.scans.dicom.headers import Slice, check_plausible
from nodules.scans.result import ScanError

PER_FRAME = "PerFrameFunctionalGroupsSequence"
SHARED = "SharedFunctionalGroupsSequence"
FRAME_TAGS = [SHARED, PER_FRAME]
"""Sequences that `frames_of` and `frame_value` need in addition to the usual tags."""


def frames_of(header: pydicom.Dataset, name: str, label: str = "multi-frame CT") -> list[Slice]:
    """Read the geometry of every frame.

    A value of the frame itself takes precedence over the value shared by all frames (DICOM PS3.3 C.7.6.16). Frames
    whose FrameType contains LOCALIZER are left out, so the list may be shorter than NumberOfFrames.

    Parameters
    ----------
    header : Dataset
        Header of an Enhanced CT or Legacy Converted Enhanced CT file, with the two functional group sequences.
    name : str
        Name of the file inside the source.
    label : str
        Name of the source in messages.

    Returns
    -------
    list of Slice
        In file order, which may differ from spatial order; `Slice.frame` counts from 0.

    Raises
    ------
    ScanError
        If the number of described frames differs from NumberOfFrames, or a frame lacks a valid size, spacing, position
        or orientation.
    """
    count = frame_count(header)
    described = len(header.get(PER_FRAME) or [])
    if described != count:
        raise ScanError(f"{label}: {name} states {count} frames but describes {described}; get it again")
    return [_slice(header, name, k, label) for k in range(count) if "LOCALIZER" not in _frame_type(header, k)]


def frame_count(header: pydicom.Dataset) -> int:
    """Return NumberOfFrames, or 1 if it is missing."""
    return int(header.get("NumberOfFrames") or 1)


def frame_value(header: pydicom.Dataset, frame: int | None, group: str, keyword: str) -> Any:
    """Return a value from a functional group of one frame.

    Parameters
    ----------
    header : Dataset
        Header, with the functional group sequences if the file has them.
    frame : int or None
        Frame number from 0; None for a single-slice file, whose values are at the top level.
    group : str
        Keyword of the functional group's sequence, such as PixelMeasuresSequence.
    keyword : str
        Keyword of the value in that group.

    Returns
    -------
    Any
        The value of the frame, else the shared value, else the top-level value; None if it is missing or empty
        everywhere.
    """
    places = [header]
    if frame is not None:
        places = [*_items(header, PER_FRAME, frame, group), *_items(header, SHARED, 0, group), header]
    for place in places:
        if (value := place.get(keyword)) not in (None, ""):
            return value
    return None


def _items(header: pydicom.Dataset, sequence: str, index: int, group: str) -> list[pydicom.Dataset]:
    groups = header.get(sequence) or []
    return list(groups[index].get(group) or [])[:1] if index < len(groups) else []


def _slice(header: pydicom.Dataset, name: str, frame: int, label: str) -> Slice:
    try:
        spacing_y_mm, spacing_x_mm = _numbers(header, frame, "PixelMeasuresSequence", "PixelSpacing")
        x, y, z = _numbers(header, frame, "PlanePositionSequence", "ImagePositionPatient")
        thickness_mm = frame_value(header, frame, "PixelMeasuresSequence", "SliceThickness")
        found = Slice(
            name=name,
            frame=frame,
            series_uid=str(header.SeriesInstanceUID),
            frame_of_reference_uid=str(header.get("FrameOfReferenceUID") or ""),
            shape_yx=(int(header.Rows), int(header.Columns)),
            spacing_yx_mm=(spacing_y_mm, spacing_x_mm),
            position_xyz=(x, y, z),
            orientation=_numbers(header, frame, "PlaneOrientationSequence", "ImageOrientationPatient"),
            thickness_mm=float(thickness_mm or math.nan),
            is_derived=_frame_type(header, frame)[:1] == ["DERIVED"],
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise ScanError(
            f"{label}: {name} frame {frame} lacks a valid size, spacing, position, orientation or series UID"
        ) from error
    check_plausible(found, label)
    return found


def _numbers(header: pydicom.Dataset, frame: int, group: str, keyword: str) -> tuple[float, ...]:
    return tuple(float(value) for value in frame_value(header, frame, group, keyword))


def _frame_type(header: pydicom.Dataset, frame: int) -> list[str]:
    values = frame_value(header, frame, "CTImageFrameTypeSequence", "FrameType") or header.get("ImageType") or []
    return [values] if isinstance(values, str) else [str(value) for value in values]
