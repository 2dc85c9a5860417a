"""A folder or zip of DICOM files to one CT `Volume` in HU, checked before anything is believed."""

from __future__ import annotations

import io
import logging
import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError
from pydicom.uid import CTImageStorage

from nodules.imaging.volume import Volume
from nodules.scans.dicom_pixels import DAMAGE, read_hu
from nodules.scans.dicom_source import FileSource, folder_source, zip_source
from nodules.scans.scan_error import ScanError
from nodules.scans.volume_files import MAX_SCAN_BYTES, canonical_axes

MAX_GAP_DEVIATION = 0.1
"""Largest deviation of a gap between slices from the median gap, as a fraction of it; a missing slice deviates by 1."""

GAP_ROUNDING_MM = 0.11
"""Deviation that is always allowed: where positions are written to 0.1 mm, gaps of 0.625 mm read as 0.6 and 0.7."""

MAX_SHEAR_PX = 1.0
"""How far, in pixels, the last slice may lie beside the line through the first along the slice normal (gantry tilt)."""

SAME_POSITION_MM = 0.01
"""Slices nearer to each other than this have the same position; no CT has slices so close."""

_COSINE_TOLERANCE = 1e-3
_HEADER_TAGS = [
    "SOPClassUID",
    "ImageType",
    "Modality",
    "SeriesInstanceUID",
    "NumberOfFrames",
    "SamplesPerPixel",
    "Rows",
    "Columns",
    "PixelSpacing",
    "SliceThickness",
    "ImagePositionPatient",
    "ImageOrientationPatient",
]  # patient data are not even read
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Slice:
    name: str
    series_uid: str
    shape_yx: tuple[int, int]
    spacing_yx_mm: tuple[float, ...]
    position_xyz: tuple[float, ...]
    orientation: tuple[float, ...]
    thickness_mm: float


def read_series(path: Path) -> Volume:
    """Read the CT series with the most slices out of a folder or a zip.

    Files of any name at any depth are looked at. Files that are not DICOM, `DICOMDIR`, localizers, colour pictures and
    modalities other than CT are left out; exact duplicates of a slice are dropped.

    Parameters
    ----------
    path : Path
        Folder or zip. A zip is read in memory, nothing is extracted to disk.

    Returns
    -------
    Volume
        int16 HU on canonical axes, clipped as by `read_volume`; padding is air.

    Raises
    ------
    ScanError
        If there is no CT series, the zip is encrypted, damaged or too large, a slice cannot be decoded, or the slices
        do not form one regular grid: mixed size, spacing or orientation, different slices at one position, a gap,
        a tilted gantry.
    """
    if path.is_dir():
        return _read_source(folder_source(path))
    if not path.is_file():
        raise ScanError(f"{path}: no such folder or zip")
    with path.open("rb") as file, zip_source(file, str(path)) as source:
        return _read_source(source)


def read_series_bytes(data: bytes) -> Volume:
    """Read a DICOM zip that is held in memory; as `read_series`."""
    with zip_source(io.BytesIO(data), "the sent zip") as source:
        return _read_source(source)


def _read_source(source: FileSource) -> Volume:
    slices, skipped = _read_headers(source)
    for name, reason in skipped.items():
        _LOG.info("%s: %s left out: %s", source.label, name, reason)
    if not slices:
        reasons = ", ".join(f"{n} x {reason}" for reason, n in sorted(Counter(skipped.values()).items()))
        raise ScanError(
            f"{source.label}: no CT slice found ({reasons or 'it is empty'}); give the folder of one CT scan"
        )
    series = _sort_slices(_choose_series(slices))
    _check_slices_agree(series, source)
    series = _drop_duplicates(series, source)
    return canonical_axes(_assemble(series, _check_geometry(series, source), source))


def _read_headers(source: FileSource) -> tuple[list[_Slice], dict[str, str]]:
    """Return the CT slices, and the reason for every other file."""
    slices: list[_Slice] = []
    skipped: dict[str, str] = {}
    for name, opener in source.openers.items():
        if Path(name).name.upper() == "DICOMDIR":
            skipped[name] = "DICOMDIR"
            continue
        try:
            with opener() as file:
                header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_HEADER_TAGS)
        except InvalidDicomError:
            skipped[name] = "not DICOM"
            continue
        except DAMAGE as error:
            raise ScanError(f"{source.label}: {name} is damaged ({type(error).__name__}); get it again") from error
        if reason := _reason_to_skip(header):
            skipped[name] = reason
        else:
            slices.append(_slice(name, header, source))
    return slices, skipped


def _reason_to_skip(header: pydicom.FileDataset) -> str | None:
    # The file's first bytes name its class, so that a CT slice that was cut short is still known as one, and refused.
    kind = header.file_meta.get("MediaStorageSOPClassUID") or header.get("SOPClassUID")
    modality = header.get("Modality") or ("CT" if kind == CTImageStorage else "unknown")
    if modality != "CT":
        return f"modality {modality}"
    if "LOCALIZER" in (header.get("ImageType") or []):
        return "localizer"
    if int(header.get("NumberOfFrames") or 1) > 1:
        return "multi-frame"
    if int(header.get("SamplesPerPixel") or 1) != 1:
        return "colour picture"
    if kind != CTImageStorage and not (header.get("ImagePositionPatient") and header.get("ImageOrientationPatient")):
        return "no position in space"
    return None


def _slice(name: str, header: pydicom.Dataset, source: FileSource) -> _Slice:
    try:
        found = _Slice(
            name=name,
            series_uid=str(header.SeriesInstanceUID),
            shape_yx=(int(header.Rows), int(header.Columns)),
            spacing_yx_mm=tuple(float(v) for v in header.PixelSpacing),
            position_xyz=tuple(float(v) for v in header.ImagePositionPatient),
            orientation=tuple(float(v) for v in header.ImageOrientationPatient),
            thickness_mm=float(header.get("SliceThickness") or math.nan),
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise ScanError(f"{source.label}: {name} lacks a valid size, spacing, position or series UID") from error
    lengths = (len(found.spacing_yx_mm), len(found.position_xyz), len(found.orientation))
    numbers = (*found.spacing_yx_mm, *found.position_xyz, *found.orientation)
    if lengths != (2, 3, 6) or not np.isfinite(numbers).all() or min(found.shape_yx) < 1 or min(numbers[:2]) <= 0:
        raise ScanError(f"{source.label}: {name} has an impossible size, spacing or position")
    return found


def _choose_series(slices: list[_Slice]) -> list[_Slice]:
    """Return the series with the most slices, of equals the one with the smallest UID."""
    by_uid = defaultdict(list)
    for item in slices:
        by_uid[item.series_uid].append(item)
    return by_uid[min(by_uid, key=lambda uid: (-len(by_uid[uid]), uid))]


def _sort_slices(series: list[_Slice]) -> list[_Slice]:
    return sorted(series, key=lambda item: (_depth_mm(item, series[0]), item.name))


def _depth_mm(item: _Slice, reference: _Slice) -> float:
    return float(np.dot(item.position_xyz, _axes(reference)[2]))


def _axes(item: _Slice) -> NDArray[np.float64]:
    """Return the world directions of the x, y and slice axes as rows."""
    along_x, along_y = np.reshape(item.orientation, (2, 3))
    return np.stack([along_x, along_y, np.cross(along_x, along_y)])


def _check_slices_agree(series: list[_Slice], source: FileSource) -> None:
    first = series[0]
    axes = _axes(first)
    if not np.allclose(axes @ axes.T, np.eye(3), atol=_COSINE_TOLERANCE):
        raise ScanError(f"{source.label}: {first.name} has an impossible orientation {first.orientation}")
    for item in series:
        for what, here, there, tolerance in (
            ("size", item.shape_yx, first.shape_yx, 0.0),
            ("pixel spacing", item.spacing_yx_mm, first.spacing_yx_mm, 1e-3),
            ("orientation", item.orientation, first.orientation, _COSINE_TOLERANCE),
        ):
            if not np.allclose(here, there, rtol=0, atol=tolerance):
                raise ScanError(
                    f"{source.label}: series {first.series_uid} mixes {what} {there} ({first.name}) "
                    f"and {here} ({item.name}); give one reconstruction only"
                )


def _drop_duplicates(series: list[_Slice], source: FileSource) -> list[_Slice]:
    kept = series[:1]
    for item in series[1:]:
        if _depth_mm(item, series[0]) - _depth_mm(kept[-1], series[0]) >= SAME_POSITION_MM:
            kept.append(item)
        elif not np.array_equal(read_hu(source, item.name), read_hu(source, kept[-1].name)):
            raise ScanError(
                f"{source.label}: {kept[-1].name} and {item.name} are different slices at the same position "
                f"{item.position_xyz}; give one reconstruction only"
            )
    return kept


def _check_geometry(series: list[_Slice], source: FileSource) -> float:
    """Return the distance of neighbouring slices in mm."""
    first, last = series[0], series[-1]
    if len(series) == 1:
        if not first.thickness_mm > 0:
            raise ScanError(f"{source.label}: {first.name} is a single slice without a SliceThickness")
        return first.thickness_mm
    depths = np.array([_depth_mm(item, first) for item in series])
    gaps = np.diff(depths)
    usual = float(np.median(gaps))
    worst = int(np.argmax(np.abs(gaps - usual)))
    if abs(gaps[worst] - usual) > max(MAX_GAP_DEVIATION * usual, GAP_ROUNDING_MM):
        raise ScanError(
            f"{source.label}: slices are {usual:.3f} mm apart, but {gaps[worst]:.3f} mm between "
            f"{series[worst].name} at {series[worst].position_xyz} and {series[worst + 1].name}; "
            "a slice is missing or two scans are mixed"
        )
    shift_xy = _axes(first)[:2] @ (np.asarray(last.position_xyz) - np.asarray(first.position_xyz))
    if (np.abs(shift_xy[::-1]) > MAX_SHEAR_PX * np.asarray(first.spacing_yx_mm)).any():
        raise ScanError(
            f"{source.label}: slices are shifted sideways by {np.abs(shift_xy).max():.1f} mm over the scan "
            "(tilted gantry); resample the scan to an upright grid first"
        )
    # The mean is exact where positions are rounded; the median of 0.6, 0.6, 0.7 is not.
    return float((depths[-1] - depths[0]) / (len(series) - 1))


def _assemble(series: list[_Slice], spacing_z_mm: float, source: FileSource) -> Volume:
    first = series[0]
    if len(series) * math.prod(first.shape_yx) * 2 > MAX_SCAN_BYTES:
        raise ScanError(f"{source.label}: {len(series)} slices of {first.shape_yx} are over {MAX_SCAN_BYTES} bytes")
    voxels_zyx = np.empty((len(series), *first.shape_yx), dtype=np.int16)
    for z, item in enumerate(series):
        hu = read_hu(source, item.name)
        if hu.shape != item.shape_yx:
            raise ScanError(f"{source.label}: {item.name} holds {hu.shape} pixels, its header says {item.shape_yx}")
        voxels_zyx[z] = hu
    columns, _ = np.linalg.qr(_axes(first).T)  # removes the rounding of the header's six cosines
    signs = np.sign((columns * _axes(first).T).sum(axis=0))
    spacing_y_mm, spacing_x_mm = first.spacing_yx_mm
    x, y, z_mm = first.position_xyz
    return Volume(
        voxels_zyx=voxels_zyx,
        spacing_zyx_mm=(spacing_z_mm, spacing_y_mm, spacing_x_mm),
        origin_xyz_mm=(x, y, z_mm),
        direction_xyz=tuple(float(v) for v in (columns * signs).ravel()),
    )
