"""Writes small CT series as DICOM files for tests."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import pydicom
from numpy.typing import ArrayLike, NDArray
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage, ExplicitVRBigEndian, ExplicitVRLittleEndian

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


def write_enhanced(
    path: Path,
    hu_zyx: ArrayLike,
    spacing_zyx_mm: Sequence[float] = (2.5, 0.7, 0.7),
    origin_xyz_mm: Sequence[float] = (0.0, 0.0, 0.0),
    orientation: Sequence[float] = AXIAL,
    series_uid: str = SERIES_UID,
    *,
    order: Sequence[int] | None = None,
    rescales: Sequence[tuple[float, float]] | None = None,
    **tags: Any,
) -> Path:
    """Write one Enhanced CT file whose frames are the slices in the given order, which need not be that of space.

    `rescales` holds slope and intercept of each slice, the pixels are stored so that they come out as `hu_zyx`; without
    it all frames share 1 and -1024.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    slices = np.asarray(hu_zyx, dtype=float)
    order = range(len(slices)) if order is None else order
    lines = [(1, INTERCEPT)] * len(slices) if rescales is None else rescales
    stored = np.stack([np.rint((slices[k] - lines[k][1]) / lines[k][0]) for k in order]).astype(np.uint16)
    normal = np.cross(orientation[:3], orientation[3:])
    dataset = _slice(stored[0], spacing_zyx_mm, orientation, series_uid)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    dataset.SOPInstanceUID = f"{series_uid}.1"
    dataset.NumberOfFrames, dataset.PixelData = len(stored), stored.tobytes()
    shared = Dataset()
    shared.PixelMeasuresSequence = [_measures(dataset)]
    shared.PlaneOrientationSequence = [_item(ImageOrientationPatient=dataset.ImageOrientationPatient)]
    for keyword in ("PixelSpacing", "SliceThickness", "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept"):
        delattr(dataset, keyword)
    if rescales is None:
        shared.PixelValueTransformationSequence = [_rescale(1, INTERCEPT)]
    dataset.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for k in order:
        position = np.asarray(origin_xyz_mm, dtype=float) + k * spacing_zyx_mm[0] * normal
        frame = Dataset()
        frame.PlanePositionSequence = [_item(ImagePositionPatient=[f"{v:.9f}" for v in position])]
        frame.CTImageFrameTypeSequence = [_item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])]
        if rescales is not None:
            frame.PixelValueTransformationSequence = [_rescale(*lines[k])]
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = frames
    _set(dataset, tags)
    dataset.save_as(path, enforce_file_format=True)
    return path


def recompress(path: Path, syntax: UID) -> None:
    """Write a native little endian file again with another transfer syntax, really compressed where that is one.

    RLE is written by pydicom, JPEG, JPEG-LS and JPEG 2000 by GDCM.
    """
    dataset = pydicom.dcmread(path)
    if syntax.is_encapsulated:
        stored = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
        dataset.PixelData = encapsulate([_encode(pixels, dataset, syntax) for pixels in stored])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
    elif syntax == ExplicitVRBigEndian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, np.uint16).byteswap().tobytes()
    list(dataset.iterall())  # parsed before the encoding changes under them
    dataset.file_meta.TransferSyntaxUID = syntax
    encoding = {"implicit_vr": syntax.is_implicit_VR, "little_endian": syntax.is_little_endian}
    pydicom.dcmwrite(path, dataset, **encoding, force_encoding=True)


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


def _encode(pixels: NDArray[Any], like: Dataset, syntax: UID) -> bytes:
    """Compress one frame whose description is that of `like`."""
    single = _slice(pixels, (1, 1, 1), AXIAL, SERIES_UID)
    for keyword in ("BitsStored", "HighBit", "PixelRepresentation"):
        setattr(single, keyword, like[keyword].value)
    single.PixelData, single.SOPInstanceUID = pixels.tobytes(), SERIES_UID
    with tempfile.TemporaryDirectory() as folder:
        plain, packed = Path(folder) / "plain", Path(folder) / "packed"
        if syntax == "1.2.840.10008.1.2.5":
            single.compress(syntax)
            single.save_as(packed, enforce_file_format=True)
        else:
            single.save_as(plain, enforce_file_format=True)
            _change_syntax(plain, packed, syntax)
        (frame,) = generate_frames(pydicom.dcmread(packed).PixelData, number_of_frames=1)
    return frame


def _change_syntax(source: Path, target: Path, syntax: UID) -> None:
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(source))
    done = reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax))))
    change.SetInput(reader.GetImage())
    done = done and change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(target))
    if not (done and writer.Write()):
        raise RuntimeError(f"GDCM cannot write {syntax.name}")


def _measures(like: Dataset) -> Dataset:
    return _item(PixelSpacing=like.PixelSpacing, SliceThickness=like.SliceThickness)


def _rescale(slope: float, intercept: float) -> Dataset:
    return _item(RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="HU")


def _item(**tags: Any) -> Dataset:
    item = Dataset()
    _set(item, tags)
    return item


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
