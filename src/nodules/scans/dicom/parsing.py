"""Parse one DICOM file: read only the wanted tags, and limit the size of deflated data."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Sequence
from typing import IO

import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset, read_preamble
from pydicom.uid import DeflatedExplicitVRLittleEndian

from nodules.scans.dicom.source import FileSource
from nodules.scans.result import ScanError

DAMAGE_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BytesLengthException,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""Exceptions that pydicom, its decoders and zipfile raise for a damaged file."""

MAX_INFLATED_BYTES = 2**29
"""Size limit of the unpacked data set of a deflated file: 1,000 frames of 512 x 512. pydicom holds it twice."""

_CHUNK_BYTES = 2**20


def parse(source: FileSource, name: str, tags: Sequence[str], *, with_pixels: bool = False) -> pydicom.FileDataset:
    """Read the wanted tags of one file.

    Parameters
    ----------
    source : FileSource
        Source of the file.
    name : str
        Name of the file in `source`.
    tags : sequence of str
        Keywords of the top-level elements to keep. All others, such as patient data, are not read.
    with_pixels : bool
        Whether to read to the end of the file. By default, reading stops before the pixels.

    Raises
    ------
    InvalidDicomError
        If the file is not DICOM.
    ScanError
        If it cannot be opened, is damaged, or a deflated file unpacks to more than `MAX_INFLATED_BYTES`.
    """
    try:
        with source.openers[name]() as file:
            _check_inflated_size(file, f"{source.label}: {name}")
            file.seek(0)
            return pydicom.dcmread(file, stop_before_pixels=not with_pixels, specific_tags=list(tags))
    except (InvalidDicomError, ScanError):
        raise
    except DAMAGE_ERRORS as error:
        raise ScanError(f"{source.label}: {name} is damaged ({type(error).__name__}); get it again") from error


def _check_inflated_size(file: IO[bytes], file_label: str) -> None:
    """Inflate in chunks and discard the data, because pydicom would inflate any amount of data at once."""
    if not _is_deflated(file):
        return
    unpacker, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while packed := file.read(_CHUNK_BYTES):
        while packed:
            total += len(unpacker.decompress(packed, _CHUNK_BYTES))
            packed = unpacker.unconsumed_tail
            if total > MAX_INFLATED_BYTES:
                raise ScanError(
                    f"{file_label} is deflated and unpacks to more than {MAX_INFLATED_BYTES} bytes; export it without "
                    "deflate"
                )


def _is_deflated(file: IO[bytes]) -> bool:
    """Return whether the data set is deflated, and leave the file at its start.

    Like pydicom, accept the file meta information in either encoding.
    """
    for is_implicit in (False, True):
        file.seek(0)
        read_preamble(file, force=False)  # type: ignore[arg-type]
        try:
            meta = read_dataset(file, is_implicit, is_little_endian=True, stop_when=_is_after_meta)  # type: ignore[arg-type]
            if meta.get("TransferSyntaxUID") is not None:
                return bool(meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian)
        except DAMAGE_ERRORS:
            continue
    return False


def _is_after_meta(tag: pydicom.tag.BaseTag, _vr: str | None, _length: int) -> bool:
    return tag.group != 2
