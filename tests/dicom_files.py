"""Writes small CT series as DICOM files for tests."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import ArrayLike
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

INTERCEPT = -1024
SERIES_UID = "1.2.826.0.1.3680043.8.498.1"
PATIENT_NAME = "Doe^Jane"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def write_series(
    folder: Path,
    hu_zyx: ArrayLike,
    spacing_zyx_mm: Sequence[float] = (2.5, 0.7, 0.7),
    origin_xyz_mm: Sequence[float] = (0.0, 0.0, 0.0),
    orientation: Sequence[float] = AXIAL,
    series_uid: str = SERIES_UID,
    *,
    prefix: str = "",
    **tags: Any,
) -> list[Path]:
    """Write one file per slice and return the files in slice order; names do not follow that order.

    `hu_zyx` runs along (slice normal, image rows, image columns) of `orientation`; the pixels are stored unsigned with
    the intercept -1024. `tags` are set on every slice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    slices = np.asarray(hu_zyx, dtype=int)
    normal = np.cross(orientation[:3], orientation[3:])
    shuffled = np.random.default_rng(0).permutation(len(slices))
    files = []
    for k, pixels in enumerate(slices):
        dataset = _slice(pixels - INTERCEPT, spacing_zyx_mm, orientation, series_uid)
        position = np.asarray(origin_xyz_mm, dtype=float) + k * spacing_zyx_mm[0] * normal
        dataset.ImagePositionPatient = [f"{v:.9f}" for v in position]
        dataset.SOPInstanceUID = f"{series_uid}.{k + 1}"
        _set(dataset, tags)
        path = folder / f"{prefix}{shuffled[k]:04d}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        files.append(path)
    return files


def change(path: Path, **tags: Any) -> None:
    """Set tags of a written file; None deletes."""
    dataset = pydicom.dcmread(path)
    _set(dataset, tags)
    dataset.save_as(path)


def zip_folder(folder: Path, path: Path) -> Path:
    """Pack everything below a folder."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


def _slice(stored: Any, spacing_zyx_mm: Sequence[float], orientation: Sequence[float], series_uid: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"{series_uid}.0"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = CTImageStorage
    dataset.PatientName = PATIENT_NAME
    dataset.PatientID = "secret-17"
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SeriesInstanceUID = series_uid
    dataset.Rows, dataset.Columns = stored.shape
    dataset.PixelSpacing = [f"{v:.9g}" for v in spacing_zyx_mm[1:]]
    dataset.SliceThickness = f"{spacing_zyx_mm[0]:.9g}"
    dataset.ImageOrientationPatient = [f"{v:.9f}" for v in orientation]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, INTERCEPT
    dataset.PixelData = stored.astype(np.uint16).tobytes()
    return dataset


def _set(dataset: pydicom.Dataset, tags: dict[str, Any]) -> None:
    for keyword, value in tags.items():
        if value is None:
            delattr(dataset, keyword)
        elif dictionary_VR(keyword) == "US or SS":
            dataset.add_new(tag_for_keyword(keyword), "US", value)  # wrong for signed pixels, and what scanners write
        else:
            setattr(dataset, keyword, value)
