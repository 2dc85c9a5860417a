"""One DICOM file to a pydicom data set that holds only the wanted tags, with a bound on what it may unpack to."""

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

DAMAGE = (
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
"""What pydicom, its decoders and zipfile raise for a damaged file."""

MAX_INFLATED_BYTES = 2**29
"""Largest data set in a deflated file: 1,000 frames of 512 x 512. pydicom holds it twice."""

_CHUNK_BYTES = 2**20


def parse(source: FileSource, name: str, tags: Sequence[str], *, with_pixels: bool = False) -> pydicom.FileDataset:
    """Read the wanted tags of one file.

    Parameters
    ----------
    source : FileSource
        Where the file lies.
    name : str
        The file in `source`.
    tags : sequence of str
        Keywords of the top-level elements that are kept; all others, the patient's among them, are not even read.
    with_pixels : bool
        Read on to the end; else everything from the pixels on is left out.

    Raises
    ------
    InvalidDicomError
        If the file is not DICOM at all.
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
    except DAMAGE as error:
        raise ScanError(f"{source.label}: {name} is damaged ({type(error).__name__}); get it again") from error


def _check_inflated_size(file: IO[bytes], called: str) -> None:
    """Inflate piece by piece, keeping nothing, because pydicom inflates the whole at once, whatever it grows to."""
    if not _is_deflated(file):
        return
    unpacker, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while packed := file.read(_CHUNK_BYTES):
        while packed:
            total += len(unpacker.decompress(packed, _CHUNK_BYTES))
            packed = unpacker.unconsumed_tail
            if total > MAX_INFLATED_BYTES:
                raise ScanError(f"{called} is deflated and unpacks to more than {MAX_INFLATED_BYTES} bytes")


def _is_deflated(file: IO[bytes]) -> bool:
    """Read the file meta information, which pydicom takes in either encoding, and leave the file behind it."""
    for is_implicit in (False, True):
        file.seek(0)
        read_preamble(file, force=False)  # type: ignore[arg-type]
        try:
            meta = read_dataset(file, is_implicit, is_little_endian=True, stop_when=_is_behind_meta)  # type: ignore[arg-type]
            if meta.get("TransferSyntaxUID") is not None:
                return bool(meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian)
        except DAMAGE:
            continue
    return False


def _is_behind_meta(tag: pydicom.tag.BaseTag, _vr: str | None, _length: int) -> bool:
    return tag.group != 2
