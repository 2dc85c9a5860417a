"""Give access to the files of a folder, a zip or a single path, within limits that protect against hostile input."""

from __future__ import annotations

import io
import itertools
import os
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO

from nodules.scans.result import ScanError
from nodules.scans.volume_files.headers import MAX_SCAN_BYTES

MAX_FILES = 50_000
"""Limit of the number of files in a folder or zip; a long examination with all its series has a few thousand."""

MAX_FILE_BYTES = 2**30 + 2**26
"""Size limit of a single file, which is held in memory: 2,000 frames of 512 x 512."""

MAX_DIRECTORY_BYTES = 2**25
"""Size limit of the list of members of a zip: 670 bytes for each of `MAX_FILES`."""

MAX_RATIO = 200
"""Limit of the ratio of unpacked to packed size; CT shrinks to a half or a third, black pictures to a thousandth."""

RATIO_CHECK_FROM_BYTES = 2**28
"""Unpacked size up to which the ratio is not checked."""

_ENCRYPTED = 0x1 | 0x40  # general-purpose flags of the zip format: encryption, strong encryption
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile unpacks others without a memory limit
_ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz")
_DAMAGE = (
    zipfile.BadZipFile,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    ValueError,
    struct.error,
)


@dataclass(frozen=True)
class FileSource:
    """Named files, and a function to open each.

    Attributes
    ----------
    label : str
        Name of the source in messages: a path, or a description of data that were sent as bytes.
    openers : dict
        File name, relative to the source, to a function that opens it for reading bytes; sorted by name.
    left_out : dict
        File name to the reason why the file was left out.
    kept : dict
        Cache for parsed files between two reads; freed with the source.
    """

    label: str
    openers: Mapping[str, Callable[[], IO[bytes]]]
    left_out: Mapping[str, str] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)


def folder_source(path: Path) -> FileSource:
    """Return the source of all files below a folder, at any depth.

    Links are followed. Every real folder is read once, even if several links lead to it or links form a loop. Archives
    are left out.

    Raises
    ------
    ScanError
        If a folder cannot be listed, a link is broken, or there are more than `MAX_FILES` files.
    """
    files: dict[str, Path] = {}
    for file in _walk(path):
        name = str(file.relative_to(path))
        if file.is_symlink() and not file.exists():
            raise ScanError(f"{path}: {name} is a broken link; restore its target or remove it")
        if file.is_file():
            files[name] = file
        if len(files) > MAX_FILES:
            raise ScanError(f"{path}: there are more than {MAX_FILES} files; give the folder of one examination")
    archives = {name: "archive inside a folder" for name in sorted(files) if _is_archive(name)}
    openers = {
        name: partial(_open_file, files[name], name, str(path)) for name in sorted(files) if name not in archives
    }
    return FileSource(str(path), openers, archives)


def file_source(path: Path) -> FileSource:
    """Return the source of a single file, such as a multi-frame file."""
    return FileSource(str(path), {path.name: partial(_open_file, path, path.name, str(path.parent))})


@contextmanager
def zip_source(file: BinaryIO, label: str) -> Iterator[FileSource]:
    """Return the source of all members of a zip, for the duration of the context.

    Members are read in memory. Nothing is written to disk, so member names can do no harm. Archives inside the zip are
    left out.

    Raises
    ------
    ScanError
        If the file is not a zip, is damaged or encrypted, holds more than `MAX_FILES` members or a member compressed
        with a method other than deflate, or unpacks to more than `MAX_SCAN_BYTES` or `MAX_RATIO` times its size.
    """
    try:
        _check_directory_size(file, label)
        archive = zipfile.ZipFile(file)
    except ScanError:
        raise
    except _DAMAGE as error:
        raise ScanError(
            f"{label}: expected a folder or a zip of DICOM files; it is neither, or it is damaged"
        ) from error
    with archive:
        members = [item for item in archive.infolist() if not item.is_dir() and "__MACOSX" not in item.filename]
        _check_members(members, label)
        members.sort(key=lambda item: item.filename)
        if twice := [a.filename for a, b in itertools.pairwise(members) if a.filename == b.filename]:
            raise ScanError(f"{label}: {twice[0]} appears twice in the zip; pack the folder again")
        archives = {item.filename: "archive inside the zip" for item in members if _is_archive(item.filename)}
        openers = {item.filename: partial(archive.open, item) for item in members if item.filename not in archives}
        yield FileSource(label, openers, archives)


def _walk(path: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise ScanError(f"{path}: the folder {error.filename} cannot be listed: {error.strerror}") from error

    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(path, onerror=refuse, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        yield from (Path(folder, name) for name in names)


def _is_archive(name: str) -> bool:
    return name.lower().endswith(_ARCHIVES)


def _open_file(path: Path, name: str, label: str) -> IO[bytes]:
    if (size := path.stat().st_size) > MAX_FILE_BYTES:
        raise ScanError(f"{label}: {name} has {size} bytes, over the limit of {MAX_FILE_BYTES}")
    return _BoundedFile(path, size)


class _BoundedFile(io.BufferedReader):
    """A file that never allocates more than its own size, whatever length a damaged header asks for."""

    def __init__(self, path: Path, size: int) -> None:
        super().__init__(io.FileIO(path))
        self._size = size

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0 or size > io.DEFAULT_BUFFER_SIZE:
            left = max(self._size - self.tell(), 0)
            size = left if size is None or size < 0 else min(size, left)
        return super().read(size)


def _check_directory_size(file: BinaryIO, label: str) -> None:
    """Refuse a very long list of members, for which zipfile would need minutes or gigabytes.

    Its size is taken from the end record of the zip format or from the 64-bit version (APPNOTE.TXT 4.3.14 to 4.3.16).
    """
    file.seek(0, os.SEEK_END)
    file.seek(max(file.tell() - 2**16 - 100, 0))
    tail = file.read()
    end = tail.rfind(b"PK\5\6")
    sizes = [int.from_bytes(tail[end + 12 : end + 16], "little")] if end >= 0 else []
    if end >= 76 and tail[end - 20 : end - 16] == b"PK\6\7":
        sizes = [int.from_bytes(tail[end - 36 : end - 28], "little")]
    file.seek(0)
    if sizes and sizes[0] > MAX_DIRECTORY_BYTES:
        raise ScanError(
            f"{label}: the list of members of the zip has {sizes[0]} bytes, over the limit of {MAX_DIRECTORY_BYTES}; "
            "give one scan only"
        )


def _check_members(members: list[zipfile.ZipInfo], label: str) -> None:
    if len(members) > MAX_FILES:
        raise ScanError(f"{label}: there are more than {MAX_FILES} files; give one examination only")
    for item in members:
        if item.flag_bits & _ENCRYPTED:
            raise ScanError(f"{label}: the zip is encrypted; give it without a password")
        if item.compress_type not in _METHODS:
            raise ScanError(f"{label}: {item.filename} is packed by method {item.compress_type}; use deflate")
        if item.file_size > MAX_FILE_BYTES:
            raise ScanError(f"{label}: {item.filename} has {item.file_size} bytes, over the limit of {MAX_FILE_BYTES}")
    total, packed = sum(item.file_size for item in members), sum(item.compress_size for item in members)
    if total > MAX_SCAN_BYTES:
        raise ScanError(
            f"{label}: the zip unpacks to {total} bytes, over the limit of {MAX_SCAN_BYTES}; give one scan only"
        )
    if total > max(RATIO_CHECK_FROM_BYTES, MAX_RATIO * packed):
        raise ScanError(f"{label}: {packed} bytes unpack to {total}, as only a zip bomb does; give the folder instead")
