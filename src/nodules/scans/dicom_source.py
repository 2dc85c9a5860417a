"""The files of a folder or a zip by name, opened one at a time."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO

from nodules.scans.scan_error import ScanError
from nodules.scans.volume_files import MAX_SCAN_BYTES


@dataclass(frozen=True)
class FileSource:
    """Named files and how to open each.

    Attributes
    ----------
    label : str
        What messages call the whole: a path, or words for data that came over the wire.
    openers : dict
        File name, relative to the whole, to a function that opens it for reading bytes; in order of name.
    """

    label: str
    openers: dict[str, Callable[[], IO[bytes]]]


def folder_source(path: Path) -> FileSource:
    """Every file below a folder, at any depth."""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return FileSource(str(path), {str(file.relative_to(path)): partial(_open_file, file) for file in files})


@contextmanager
def zip_source(file: BinaryIO, label: str) -> Iterator[FileSource]:
    """Every member of a zip, read in memory; usable as long as the context lasts.

    Raises
    ------
    ScanError
        If it is no zip, is encrypted, or unpacks to more than `MAX_SCAN_BYTES`.
    """
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        raise ScanError(f"{label}: wanted a folder or a zip of DICOM files; it is neither, or it is damaged") from error
    with archive:
        members = [item for item in archive.infolist() if not item.is_dir() and "__MACOSX" not in item.filename]
        if any(item.flag_bits & 0x1 for item in members):
            raise ScanError(f"{label}: the zip is encrypted; give it without a password")
        if (total := sum(item.file_size for item in members)) > MAX_SCAN_BYTES:
            raise ScanError(
                f"{label}: {total} bytes unpacked is over the limit of {MAX_SCAN_BYTES}; give one scan only"
            )
        members.sort(key=lambda item: item.filename)
        yield FileSource(label, {item.filename: partial(archive.open, item) for item in members})


def _open_file(path: Path) -> IO[bytes]:
    return path.open("rb")
