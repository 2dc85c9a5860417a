"""Read the header of one DICOM file: the geometry of a CT slice, or the reason to leave the file out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from nodules.scans.result import ScanError

ENHANCED_CT = (EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
"""SOP classes whose functional groups hold the geometry of each frame (DICOM PS3.3 A.38, A.70)."""

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
"""Prefix of the SOP class UIDs of secondary captures, single-frame and multi-frame (DICOM PS3.4 B.5)."""

HEADER_TAGS = [
    "SOPClassUID",
    "ImageType",
    "Modality",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "NumberOfFrames",
    "SamplesPerPixel",
    "Rows",
    "Columns",
    "PixelSpacing",
    "SliceThickness",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]
"""All tags that are read before the pixels; none holds patient data."""

MAX_COORDINATE_MM = 1e5
MIN_PIXEL_MM, MAX_PIXEL_MM = 1e-3, 1e2


@dataclass(frozen=True)
class Slice:
    """One CT slice, before its pixels are read.

    Attributes
    ----------
    name : str
        Name of the file inside the source.
    frame : int or None
        Frame number in a multi-frame file, from 0; None for a single-slice file.
    series_uid, frame_of_reference_uid : str
        The latter is empty if the header lacks it.
    shape_yx : tuple of int
        Rows and columns.
    spacing_yx_mm : tuple of float
        Distance between rows, distance between columns.
    position_xyz : tuple of float
        World position in mm of the centre of the first pixel.
    orientation : tuple of 6 float
        World direction along a row (index x), then along a column (index y).
    thickness_mm : float
        Slice thickness; NaN if unknown.
    is_derived : bool
        Whether it was computed from other images, as in a reformatted or averaged series.
    """

    name: str
    frame: int | None
    series_uid: str
    frame_of_reference_uid: str
    shape_yx: tuple[int, int]
    spacing_yx_mm: tuple[float, float]
    position_xyz: tuple[float, float, float]
    orientation: tuple[float, ...]
    thickness_mm: float
    is_derived: bool

    @property
    def display_name(self) -> str:
        """Name of the slice in messages."""
        return self.name if self.frame is None else f"{self.name} frame {self.frame}"


def reason_to_leave_out(header: pydicom.FileDataset) -> str | None:
    """Return why a file is not a slice of a CT scan, or None if it is one.

    Parameters
    ----------
    header : FileDataset
        Holds those of `HEADER_TAGS` that the file has.

    Raises
    ------
    ValueError
        If it states neither a SOP class nor a modality. Otherwise a truncated slice would go unnoticed.
    """
    kind = sop_class(header)
    if not kind and not header.get("Modality"):
        raise ValueError("the header states neither a SOP class nor a modality")
    modality = header.get("Modality") or ("CT" if kind in (CTImageStorage, *ENHANCED_CT) else "unknown")
    if modality != "CT":
        return f"modality {modality}"
    if kind == SECONDARY_CAPTURE or kind.startswith(f"{SECONDARY_CAPTURE}."):
        return "secondary capture"
    if "LOCALIZER" in image_type(header):
        return "localizer"
    if int(header.get("SamplesPerPixel") or 1) != 1:
        return "colour picture"
    if kind in ENHANCED_CT:
        return None
    if int(header.get("NumberOfFrames") or 1) > 1:
        return "multi-frame"
    if kind != CTImageStorage and not (header.get("ImagePositionPatient") and header.get("ImageOrientationPatient")):
        return "no position in space"
    return None


def sop_class(header: pydicom.FileDataset) -> str:
    """Return the SOP class UID, or an empty string.

    The UID of the file meta information comes first, so that a truncated CT slice is still recognised and refused.
    """
    meta = getattr(header, "file_meta", None)
    return str((meta is not None and meta.get("MediaStorageSOPClassUID")) or header.get("SOPClassUID") or "")


def image_type(header: pydicom.Dataset) -> list[str]:
    """Return the values of ImageType (DICOM PS3.3 C.7.6.1.1.2); an empty list if it is missing."""
    values = header.get("ImageType") or []
    return [values] if isinstance(values, str) else [str(value) for value in values]


def slice_of(header: pydicom.Dataset, name: str, label: str) -> Slice:
    """Read the geometry of a single-slice CT file.

    Parameters
    ----------
    header : Dataset
        Header of a file for which `reason_to_leave_out` returns None.
    name : str
        Name of the file inside the source.
    label : str
        Name of the source in messages.

    Raises
    ------
    ScanError
        If size, spacing, position, orientation or series UID is missing or impossible.
    """
    try:
        spacing_y_mm, spacing_x_mm = (float(v) for v in header.PixelSpacing)
        x, y, z = (float(v) for v in header.ImagePositionPatient)
        found = Slice(
            name=name,
            frame=None,
            series_uid=str(header.SeriesInstanceUID),
            frame_of_reference_uid=str(header.get("FrameOfReferenceUID") or ""),
            shape_yx=(int(header.Rows), int(header.Columns)),
            spacing_yx_mm=(spacing_y_mm, spacing_x_mm),
            position_xyz=(x, y, z),
            orientation=tuple(float(v) for v in header.ImageOrientationPatient),
            thickness_mm=float(header.get("SliceThickness") or math.nan),
            is_derived=image_type(header)[:1] == ["DERIVED"],
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise ScanError(f"{label}: {name} lacks a valid size, spacing, position, orientation or series UID") from error
    check_plausible(found, label)
    return found


def check_plausible(item: Slice, label: str) -> None:
    """Refuse a geometry that no scanner produces.

    Raises
    ------
    ScanError
        If size, spacing, position or orientation is out of bounds or not finite.
    """
    places = (*item.position_xyz, *item.orientation)
    if (
        len(item.orientation) != 6
        or not np.isfinite(places).all()
        or max(map(abs, places)) > MAX_COORDINATE_MM
        or min(item.shape_yx) < 1
        or not all(MIN_PIXEL_MM <= mm <= MAX_PIXEL_MM for mm in item.spacing_yx_mm)
    ):
        raise ScanError(f"{label}: {item.display_name} has an impossible size, spacing or position")


def is_dicomdir(name: str) -> bool:
    """Return whether a file is the index of a DICOM medium, by its name."""
    return Path(name).name.upper() == "DICOMDIR"
