"""Decode the pixels of one DICOM slice or frame to HU, after checking the size that compressed data state."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import generate_frames
from pydicom.errors import InvalidDicomError
from pydicom.pixels import get_decoder

from nodules.imaging.geometry.volume import AIR_HU, MAX_HU
from nodules.scans.dicom.decoder import decode
from nodules.scans.dicom.frames import FRAME_TAGS, frame_count, frame_value
from nodules.scans.dicom.parsing import DAMAGE_ERRORS, parse
from nodules.scans.dicom.source import FileSource
from nodules.scans.result import ScanError

MAX_SLICE_PIXELS = 4096 * 4096
"""Size limit of a slice in pixels; scanners write 512 x 512 to 2048 x 2048."""

NON_HU_RESCALE_TYPES = ("OD", "MGML", "Z_EFF", "ED", "EDW", "PCT")
"""Values of RescaleType for quantities other than HU (DICOM PS3.3 C.11.1.1.2), written by dual-energy scanners."""

_LONGEST_REASON = 300
_RESCALE = "PixelValueTransformationSequence"
_TAGS = [
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    *FRAME_TAGS,
    "NumberOfFrames",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "PixelData",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
]

_J2K_START = b"\xff\x4f\xff\x51"  # SOC, SIZ
_J2K_BOX_BYTES = 4096  # a codestream in a JP2 wrapper starts within these bytes
_JPEG_START = b"\xff\xd8"
_JPEG_LS_FRAME = 0xF7
_NO_FRAMES = (0xC4, 0xC8, 0xCC)  # markers from C0 to CF that do not start a frame
_STUFFING = 0xFF


def read_hu(source: FileSource, name: str, frame: int | None = None) -> NDArray[np.int16]:
    """Decode one slice with its own rescale slope and intercept.

    Parameters
    ----------
    source : FileSource
        Source of the file.
    name : str
        Name of the file in `source`.
    frame : int, optional
        Frame number in a multi-frame file, from 0. The frame's own rescale is used, or else the shared one. The file is
        read once for all its frames; each frame is decoded on its own.

    Returns
    -------
    (Y, X) ndarray
        int16 HU clipped to [`AIR_HU`, `MAX_HU`]; padding is `AIR_HU`.

    Raises
    ------
    ScanError
        If the file is truncated or damaged, its compression is unknown, it holds several frames and `frame` is None,
        slope or intercept is missing, or the header states a quantity other than HU.

    Notes
    -----
    MONOCHROME1 needs no inversion: the photometric interpretation only says which end of the scale is displayed as
    white, after the rescale to HU and the window (DICOM PS3.3 C.7.6.3.1.2; PS3.4 N.2: the modality transformation comes
    first). A file is wrong if its maker inverted the stored values but kept the rescale; the header does not show it.
    """
    try:
        file = _file_with_frame(source, name, frame)
        words = _decoded(file.dataset, file.frames[frame or 0])
        stored = _without_unused_bits(words, file.dataset)
        padding = _is_padding(words, stored, file.dataset)
        slope, intercept = _rescale(file.dataset, frame, f"{source.label}: {name}")
    except ScanError:
        raise
    except InvalidDicomError as error:
        raise ScanError(f"{source.label}: {name} is not DICOM") from error
    except DAMAGE_ERRORS as error:
        raise ScanError(f"{source.label}: {name} cannot be decoded to HU: {_cause(error)}") from error
    if stored.ndim != 2 or not (np.isfinite([slope, intercept]).all() and slope):
        raise ScanError(
            f"{source.label}: {name} has rescale slope {slope}, intercept {intercept} and pixels of shape "
            f"{stored.shape}; expected finite values, a slope other than 0 and a 2-D slice"
        )
    hu = np.rint(np.clip(stored * np.float32(slope) + np.float32(intercept), AIR_HU, MAX_HU)).astype(np.int16)
    hu[padding] = AIR_HU
    return hu


def stated_shape_yx(codestream: bytes) -> tuple[int, int] | None:
    """Return the rows and columns that the header of a codestream states.

    The decoder allocates the size that the codestream states, while the reader expects the size in the DICOM header.
    Decoding is safe only if the two are equal.

    Parameters
    ----------
    codestream : bytes
        One compressed frame, without its DICOM item.

    Returns
    -------
    tuple of int, or None
        None if the format is none of the three below, or the codestream ends before its size.

    Notes
    -----
    JPEG 2000: ISO/IEC 15444-1 A.5.1 (SIZ). JPEG: ITU-T T.81 B.2.2 (SOF). JPEG-LS: ITU-T T.87 C.2.2 (SOF55).
    """
    start = codestream[:_J2K_BOX_BYTES].find(_J2K_START)
    if start >= 0 and not codestream.startswith(_JPEG_START):
        return _j2k_shape(codestream[start : start + 24])
    return _jpeg_shape(codestream) if codestream.startswith(_JPEG_START) else None


@dataclass(frozen=True)
class _File:
    """A parsed file whose pixel data are split into frames, still encoded."""

    dataset: pydicom.FileDataset
    frames: list[bytes] | list[memoryview]


def _file_with_frame(source: FileSource, name: str, frame: int | None) -> _File:
    """Return the parsed file, from the cache if it is there, after checking that it has the frame."""
    file = source.kept.get(name)
    if not isinstance(file, _File):
        file = _open(source, name)
        if len(file.frames) > 1:
            source.kept.clear()  # keep only one multi-frame file in memory
            source.kept[name] = file
    if frame is None and len(file.frames) != 1:
        raise ScanError(f"{source.label}: {name} holds {len(file.frames)} frames; expected one slice")
    if not 0 <= (frame or 0) < len(file.frames):
        raise ScanError(f"{source.label}: {name} holds {len(file.frames)} frames; frame {frame} does not exist")
    return file


def _open(source: FileSource, name: str) -> _File:
    dataset = parse(source, name, _TAGS, with_pixels=True)
    rows, columns, bits = int(dataset.Rows), int(dataset.Columns), int(dataset.BitsAllocated)
    if not 0 < rows * columns <= MAX_SLICE_PIXELS:
        raise ScanError(
            f"{source.label}: {name} has the impossible size {rows} x {columns}; expected 1 to {MAX_SLICE_PIXELS} "
            "pixels"
        )
    if int(dataset.BitsStored) < bits and int(dataset.get("HighBit", 0)) != int(dataset.BitsStored) - 1:
        raise ScanError(
            f"{source.label}: {name} stores {dataset.BitsStored} of {bits} bits, up to bit {dataset.get('HighBit')}; "
            "expected the lowest bits"
        )
    count = frame_count(dataset)
    frames: list[bytes] | list[memoryview]
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        frames = _encapsulated_frames(dataset, count, f"{source.label}: {name}")
    else:
        frames = _native_frames(dataset.PixelData, rows * columns * bits // 8, count, f"{source.label}: {name}")
    del dataset.PixelData
    return _File(dataset, frames)


def _encapsulated_frames(dataset: pydicom.FileDataset, count: int, file_label: str) -> list[bytes]:
    offsets = None
    if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
        offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    frames = list(generate_frames(dataset.PixelData, number_of_frames=count, extended_offsets=offsets))
    if len(frames) != count:
        raise ScanError(f"{file_label} states {count} frames but holds {len(frames)}; get it again")
    for frame in frames:
        shape = stated_shape_yx(frame)
        if shape is not None and shape != (dataset.Rows, dataset.Columns):
            raise ScanError(
                f"{file_label} holds compressed pixels of size {shape}, but its header states "
                f"{(dataset.Rows, dataset.Columns)}"
            )
    return frames


def _native_frames(data: bytes, frame_bytes: int, count: int, file_label: str) -> list[memoryview]:
    if count < 1 or len(data) < count * frame_bytes:
        raise ScanError(
            f"{file_label} cannot be decoded to HU: {count} x {frame_bytes} bytes of pixels expected, {len(data)} found"
        )
    view = memoryview(data)
    return [view[k * frame_bytes : (k + 1) * frame_bytes] for k in range(count)]


def _decoded(dataset: pydicom.Dataset, frame: bytes | memoryview) -> NDArray[Any]:
    """Return the stored words of one frame, including the bits above BitsStored."""
    syntax = dataset.file_meta.TransferSyntaxUID
    description: dict[str, Any] = {
        "rows": int(dataset.Rows),
        "columns": int(dataset.Columns),
        "samples_per_pixel": int(dataset.SamplesPerPixel),
        "photometric_interpretation": str(dataset.PhotometricInterpretation),
        "bits_allocated": int(dataset.BitsAllocated),
        "bits_stored": int(dataset.BitsStored),
        "pixel_representation": int(dataset.PixelRepresentation),
    }
    if syntax.is_encapsulated:
        return decode(bytes(frame), syntax, description)
    options = {"number_of_frames": 1, "pixel_keyword": "PixelData", "pixel_vr": "OW", "correct_unused_bits": False}
    words, _ = get_decoder(syntax).as_array(bytes(frame), index=0, **description | options)
    return words


def _without_unused_bits(words: NDArray[Any], dataset: pydicom.Dataset) -> NDArray[Any]:
    """Clear the bits above BitsStored (overlays, garbage), or fill them with the sign of signed pixels."""
    unused = 8 * words.dtype.itemsize - int(dataset.BitsStored)
    if unused <= 0 or not np.issubdtype(words.dtype, np.integer):
        return words
    return np.right_shift(np.left_shift(words, unused), unused)


def _is_padding(words: NDArray[Any], stored: NDArray[Any], dataset: pydicom.Dataset) -> NDArray[np.bool_]:
    """Return the mask of the padding, which the scanner did not measure (DICOM PS3.3 C.7.5.1.1.2).

    A padding value that does not fit into BitsStored, such as 63536 with 12 bits, is compared with the whole words.
    """
    value, limit = dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")
    if value in (None, ""):
        return np.zeros(stored.shape, dtype=bool)
    ends = [_as_stored(end, stored) for end in (value, value if limit in (None, "") else limit)]
    bits = int(dataset.BitsStored) - np.issubdtype(stored.dtype, np.signedinteger)
    fits = all(-(2**bits) <= end < 2**bits for end in ends)
    found = stored if fits else words
    return (found >= min(ends)) & (found <= max(ends))


def _as_stored(value: Any, stored: NDArray[Any]) -> int:
    """Interpret the 16 bits of the header with the sign of the pixels: 63536 becomes -2000 for signed pixels."""
    bits = int(value) & 0xFFFF
    return bits - 0x10000 if np.issubdtype(stored.dtype, np.signedinteger) and bits & 0x8000 else bits


def _rescale(dataset: pydicom.Dataset, frame: int | None, file_label: str) -> tuple[float, float]:
    slope, intercept, kind = (
        frame_value(dataset, frame, _RESCALE, keyword)
        for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType")
    )
    if slope is None or intercept is None:
        missing = "RescaleSlope" if slope is None else "RescaleIntercept"
        raise ScanError(f"{file_label} cannot be decoded to HU: it has no {missing}")
    if str(kind or "").strip().upper() in NON_HU_RESCALE_TYPES:
        raise ScanError(f"{file_label} cannot be decoded to HU: its values are {kind} (RescaleType)")
    return float(slope), float(intercept)


def _cause(error: BaseException) -> str:
    """Return the cause in one line, without header values: a damaged length may mix patient data into them."""
    tells = isinstance(error, (AttributeError, NotImplementedError, RuntimeError))
    return " ".join(str(error).split())[:_LONGEST_REASON] if tells else type(error).__name__


def _j2k_shape(header: bytes) -> tuple[int, int] | None:
    if len(header) < 24:
        return None
    right, bottom, left, top = struct.unpack(">4L", header[8:24])
    return bottom - top, right - left


def _jpeg_shape(codestream: bytes) -> tuple[int, int] | None:
    at = len(_JPEG_START)
    while at + 9 <= len(codestream) and codestream[at] == _STUFFING:
        marker = codestream[at + 1]
        if marker == _STUFFING:
            at += 1
            continue
        if marker == _JPEG_LS_FRAME or (0xC0 <= marker <= 0xCF and marker not in _NO_FRAMES):
            rows, columns = struct.unpack(">2H", codestream[at + 5 : at + 9])
            return rows, columns
        at += 2 + int.from_bytes(codestream[at + 2 : at + 4], "big")
    return None
