"""Write a rendered chest as a MetaImage file of LUNA16 or as a DICOM series of the Data Science Bowl 2017 (DSB)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

# Synthetic MetaImage files, as in LUNA16.
LUNA_UID_ROOT = "1.3.6.1.4.1.14519.5.2.1.6279.6001."
DIRECTIONS = ((1, 1, 1), (-1, -1, 1), (1, 1, -1))
DIRECTION_SHARES = (0.6, 0.2, 0.2)
COMPRESSED_SHARE = 0.2

# Synthetic DICOM series, as in DSB.
UID_ROOT = "2.25."  # of UIDs derived from UUIDs, which need no registration (DICOM PS3.5, annex B.2)
IMPLEMENTATION_UID = "2.25.302984617234950618273645091827364509"
STORED_PADDING = -2000
STUDY_DATE = "20170112"  # start of the competition; the current date would change the bytes


@dataclass(frozen=True)
class Series:
    """Properties that all slices of one patient share."""

    patient_id: str
    spacing_zyx_mm: tuple[float, float, float]
    origin_xyz_mm: tuple[float, float, float]
    intercept: int  # 0 or -1024
    signed: bool
    padding_hu: int | None
    uids: tuple[str, str, str]  # study, series, frame of reference


def draw_series_uid(rng: np.random.Generator) -> str:
    """Draw a series UID with LUNA16's prefix and 30 random digits."""
    return LUNA_UID_ROOT + _digits(rng, 30)


def draw_patient_id(rng: np.random.Generator) -> str:
    """Draw a patient id of 32 hexadecimal digits."""
    return rng.bytes(16).hex()


def draw_uids(rng: np.random.Generator) -> tuple[str, str, str]:
    """Draw the study, series and frame-of-reference UIDs."""
    study, series, frame = (UID_ROOT + str(int.from_bytes(rng.bytes(15), "big")) for _ in range(3))
    return study, series, frame


def draw_signs(rng: np.random.Generator) -> tuple[int, int, int]:
    """Draw the signs of the x, y and z axis directions of one file."""
    return DIRECTIONS[int(rng.choice(len(DIRECTIONS), p=DIRECTION_SHARES))]


def storage_for(padding_hu: int | None, rng: np.random.Generator) -> tuple[int, bool]:
    """Return the intercept and whether pixels are signed, as scanners combine them with their padding.

    A stored -2000 reads as -2000 HU with intercept 0, and as -3024 HU with intercept -1024.
    """
    if padding_hu is None:
        return -1024, bool(rng.random() < 0.5)
    return (0 if padding_hu == STORED_PADDING else padding_hu - STORED_PADDING), True


def write_metaimage(
    path: Path,
    hu_zyx: NDArray[np.int16],
    *,
    spacing_zyx_mm: tuple[float, float, float],
    origin_xyz_mm: tuple[float, float, float],
    signs_xyz: tuple[int, int, int],
    compressed: bool,
) -> None:
    """Write `path` (.mhd) with its .raw or .zraw file.

    Parameters
    ----------
    path : Path
        The .mhd file; its folder must exist.
    hu_zyx : (Z, Y, X) int16 ndarray
        Scan on canonical axes.
    spacing_zyx_mm, origin_xyz_mm : tuple of float
        Geometry of the scan.
    signs_xyz : tuple of int
        1 or -1 for each world axis; -1 stores the axis reversed, with the same voxels at the same world positions.
    compressed : bool
        Whether to write a compressed .zraw file.
    """
    steps = tuple(slice(None, None, sign) for sign in signs_xyz[::-1])
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(hu_zyx[steps]))
    spacing_xyz = spacing_zyx_mm[::-1]
    origin = [
        start if sign > 0 else start + step * (size - 1)
        for start, step, size, sign in zip(origin_xyz_mm, spacing_xyz, hu_zyx.shape[::-1], signs_xyz, strict=True)
    ]
    image.SetSpacing(spacing_xyz)
    image.SetOrigin(origin)
    image.SetDirection(np.diag(np.asarray(signs_xyz, dtype=float)).ravel().tolist())
    SimpleITK.WriteImage(image, str(path), useCompression=compressed, compressionLevel=1)


def write_series(folder: Path, hu_zyx: NDArray[np.int16], series: Series, rng: np.random.Generator) -> None:
    """Write one file per slice into an existing folder, with random names.

    Parameters
    ----------
    folder : Path
        The patient's folder.
    hu_zyx : (Z, Y, X) int16 ndarray
        Scan on canonical axes, including padding.
    series : Series
        Geometry, storage and identifiers.
    rng : Generator
        Random stream for file names and instance UIDs.
    """
    stored = hu_zyx - np.int16(series.intercept)
    pixels = stored.astype("<i2" if series.signed else "<u2")
    names = [rng.bytes(16).hex() for _ in pixels]
    instances = [UID_ROOT + str(int.from_bytes(rng.bytes(15), "big")) for _ in pixels]
    shared = _shared_tags(series, hu_zyx.shape)
    for k in rng.permutation(len(pixels)):
        slice_tags = _slice_tags(series, int(k), instances[k], pixels[k])
        _write(folder / f"{names[k]}.dcm", shared, slice_tags, instances[k])


def _digits(rng: np.random.Generator, number: int) -> str:
    """Draw decimal digits without a leading zero, which UID components must not have."""
    return "".join(str(int(d)) for d in np.concatenate([rng.integers(1, 10, 1), rng.integers(0, 10, number - 1)]))


def _shared_tags(series: Series, shape_zyx: tuple[int, ...]) -> Dataset:
    dz, dy, dx = series.spacing_zyx_mm
    study_uid, series_uid, frame_uid = series.uids
    tags = Dataset()
    tags.SpecificCharacterSet = "ISO_IR 100"
    tags.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    tags.SOPClassUID = CTImageStorage
    tags.StudyDate = tags.SeriesDate = STUDY_DATE
    tags.Modality = "CT"
    tags.Manufacturer = "Synthetic phantom"
    tags.SeriesDescription = "Chest, synthetic"
    tags.PatientName = tags.PatientID = series.patient_id
    tags.StudyInstanceUID, tags.SeriesInstanceUID, tags.FrameOfReferenceUID = study_uid, series_uid, frame_uid
    tags.PositionReferenceIndicator = "SN"
    tags.SeriesNumber = 2
    tags.PatientPosition = "FFS"
    tags.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    tags.PixelSpacing = [f"{dy:.6f}", f"{dx:.6f}"]
    tags.SliceThickness = tags.SpacingBetweenSlices = f"{dz:.6g}"
    tags.KVP = 120
    tags.SamplesPerPixel, tags.PhotometricInterpretation = 1, "MONOCHROME2"
    tags.Rows, tags.Columns = int(shape_zyx[1]), int(shape_zyx[2])
    tags.BitsAllocated, tags.BitsStored, tags.HighBit = 16, 16, 15
    tags.PixelRepresentation = int(series.signed)
    if series.padding_hu is not None:
        tags.add_new(0x00280120, "SS", series.padding_hu - series.intercept)
    tags.RescaleIntercept, tags.RescaleSlope, tags.RescaleType = series.intercept, 1, "HU"
    tags.WindowCenter, tags.WindowWidth = 40, 350
    return tags


def _slice_tags(series: Series, k: int, instance_uid: str, pixels: NDArray[np.integer]) -> Dataset:
    x, y, z = series.origin_xyz_mm
    height = z + k * series.spacing_zyx_mm[0]
    tags = Dataset()
    tags.SOPInstanceUID = instance_uid
    tags.InstanceNumber = k + 1
    tags.ImagePositionPatient = [f"{x:.4f}", f"{y:.4f}", f"{height:.4f}"]
    tags.SliceLocation = f"{height:.4f}"
    tags.add_new(0x7FE00010, "OW", pixels.tobytes())
    return tags


def _write(path: Path, shared: Dataset, slice_tags: Dataset, instance_uid: str) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, UID(instance_uid)
    meta.TransferSyntaxUID, meta.ImplementationClassUID = ExplicitVRLittleEndian, UID(IMPLEMENTATION_UID)
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.update(shared)
    dataset.update(slice_tags)
    dataset.save_as(path, enforce_file_format=True)
