"""Parse the text headers of MetaImage and NRRD strictly, before ITK opens the file."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nodules.scans.result import ScanError

MAX_SCAN_BYTES = 4 * 2**30
"""Size limit of an uncompressed scan: 2,000 slices of 1024 x 1024; a larger one is damaged or hostile."""

MAX_POSITION_MM = 1e5
"""Limit of the numbers in a geometry; ITK can search forever if a direction is huge."""

_HEADER_BYTES = 2**16  # a header is a few hundred bytes of text
_DATA_FILE = "ElementDataFile"
_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f]")  # control characters except tab and line feed
_MAX_DIGITS = 18  # of a 64-bit number; Python refuses to parse thousands of digits
_MAX_AXES = 5  # ITK has room for ten and does not check the file
_PER_AXIS = ("DimSize", "ElementSpacing", "ElementSize", "Offset", "Position", "Origin", "CenterOfRotation")
_PER_AXIS_PAIR = ("TransformMatrix", "Rotation", "Orientation")
_METAIMAGE_BYTES = {
    "MET_CHAR": 1,
    "MET_UCHAR": 1,
    "MET_SHORT": 2,
    "MET_USHORT": 2,
    "MET_INT": 4,
    "MET_UINT": 4,
    "MET_LONG": 8,
    "MET_ULONG": 8,
    "MET_LONG_LONG": 8,
    "MET_ULONG_LONG": 8,
    "MET_FLOAT": 4,
    "MET_DOUBLE": 8,
}
_NRRD_BYTES = {"char": 1, "int8": 1, "short": 2, "int16": 2, "int": 4, "int32": 4, "long": 8, "int64": 8} | {
    "float": 4,
    "double": 8,
}


@dataclass(frozen=True)
class TextHeader:
    """Content of a text header.

    Attributes
    ----------
    fields : dict
        Key to value as written; NRRD keys are in lower case and without spaces.
    data_start : int
        Offset of the voxels if they are in the same file.
    data_name : str or None
        Name of the file that holds the voxels; None if they follow the header.
    voxel_bytes : int
        Uncompressed size of all voxels; 0 if the header does not state it.
    """

    fields: dict[str, str]
    data_start: int
    data_name: str | None
    voxel_bytes: int


def read_metaimage_header(path: Path) -> TextHeader:
    """Read the header of a `.mhd` or `.mha`.

    Raises
    ------
    ScanError
        If it names no data file or several, a field has the wrong number of values or absurd values, or the voxels
        would take more than `MAX_SCAN_BYTES`.
    """
    fields, start = _metaimage_lines(path)
    _check_counts(path, fields)
    name = fields.get(_DATA_FILE, "")
    if not name or name.upper().startswith("LIST") or "%" in name:
        raise ScanError(
            f"{path}: ElementDataFile must be LOCAL or the name of one file, got '{name}'; save the scan as one .mha"
        )
    one_value = _METAIMAGE_BYTES.get(fields.get("ElementType", ""), 0)
    channels = _whole_numbers(path, "ElementNumberOfChannels", fields.get("ElementNumberOfChannels", "1"))
    voxels = math.prod(_whole_numbers(path, "DimSize", fields["DimSize"]))
    local = name.upper() == "LOCAL"
    voxel_bytes = _within_limit(path, voxels * one_value * math.prod(channels))
    return TextHeader(fields, start, None if local else name, voxel_bytes)


def read_nrrd_header(path: Path) -> TextHeader:
    """Read the header of a `.nrrd`.

    Raises
    ------
    ScanError
        If it has no sizes, the voxels would take more than `MAX_SCAN_BYTES`, or they lie in several files.
    """
    fields, start = _nrrd_lines(path)
    if "sizes" not in fields:
        raise ScanError(f"{path}: no readable header: it has no sizes; get the file again")
    name = fields.get("datafile")
    if name and (name.upper().startswith("LIST") or "%" in name):
        raise ScanError(f"{path}: the voxels lie in several files; save the scan as one .nrrd")
    for key in ("spacings", "spacedirections", "spaceorigin"):
        numbers = re.split(r"[\s,()]+", fields.get(key, ""))
        _check_numbers(path, key, [number for number in numbers if number not in ("", "none", "nan")])
    kind = fields.get("type", "").removeprefix("unsigned ").removeprefix("signed ")
    one_value = _NRRD_BYTES.get(kind.removeprefix("u").removesuffix("_t").removesuffix(" int").strip() or "int", 0)
    voxels = math.prod(_whole_numbers(path, "sizes", fields["sizes"]))
    return TextHeader(fields, start, name, _within_limit(path, voxels * one_value))


def _metaimage_lines(path: Path) -> tuple[dict[str, str], int]:
    fields: dict[str, str] = {}
    start = 0
    for line in _header_lines(path):
        start += len(line)
        if not line.strip():
            continue
        key, equals, value = line.decode("latin-1").partition("=")
        key = key.rstrip()
        # ITK also accepts ":" for "=" and is lenient elsewhere, so only unambiguous lines are accepted here.
        if not equals or ":" in key or key != key.lstrip() or (_DATA_FILE in key and key != _DATA_FILE):
            raise ScanError(
                f"{path}: no readable header: expected lines of 'key = value', got '{key[:80]}'; save it again"
            )
        fields[key] = value.strip()
        if key == _DATA_FILE:
            break
    return fields, start


def _nrrd_lines(path: Path) -> tuple[dict[str, str], int]:
    fields: dict[str, str] = {}
    start = 0
    for line in _header_lines(path):
        start += len(line)
        text = line.decode("latin-1").strip()
        if not text:
            break
        key, colon, value = text.partition(":")
        if colon and not text.startswith("#"):
            fields[key.lower().replace(" ", "")] = value.removeprefix("=").strip()
    return fields, start


def _header_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of the text header; refuse bytes that some programs take for line breaks and others do not."""
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
        is_whole = not file.read(1)
    lines = head.split(b"\n")
    for line in lines[:-1]:
        if _CONTROL.search(line.removesuffix(b"\r")):
            raise ScanError(f"{path}: no readable header: it is not plain text; get the file again")
        yield line + b"\n"
    if not is_whole:
        raise ScanError(f"{path}: no readable header: it does not end within {_HEADER_BYTES} bytes; get the file again")
    if lines[-1]:
        yield lines[-1]


def _check_counts(path: Path, fields: dict[str, str]) -> None:
    """Refuse numbers of values with which ITK would write beyond its arrays for ten axes."""
    (axes,) = _whole_numbers(path, "NDims", fields.get("NDims", "")) or (0,)
    if axes > _MAX_AXES:
        raise ScanError(f"{path}: expected a 3-D image of one value per voxel, got NDims = {axes}")
    wanted = dict.fromkeys(_PER_AXIS, axes) | dict.fromkeys(_PER_AXIS_PAIR, axes**2)
    if "DimSize" not in fields:
        raise ScanError(f"{path}: no readable header: it has no DimSize; get the file again")
    for key, count in wanted.items():
        if key in fields and len(fields[key].split()) != count:
            raise ScanError(f"{path}: {key} must have {count} numbers for NDims = {axes}, got '{fields[key]}'")
    for key in wanted.keys() & fields.keys() - {"DimSize"}:
        _check_numbers(path, key, fields[key].split())


def _check_numbers(path: Path, key: str, numbers: Sequence[str]) -> None:
    for number in numbers:
        try:
            is_sane = abs(float(number)) <= MAX_POSITION_MM  # False for NaN
        except ValueError:
            is_sane = False
        if not is_sane:
            raise ScanError(f"{path}: {key} must be numbers up to {MAX_POSITION_MM:g}, got '{number[:80]}'")


def _whole_numbers(path: Path, key: str, text: str) -> tuple[int, ...]:
    numbers = text.split()
    digits = all(number.isdecimal() and number.isascii() and len(number) <= _MAX_DIGITS for number in numbers)
    if not numbers or not digits or not all(map(int, numbers)):
        raise ScanError(f"{path}: no readable header: {key} must be positive whole numbers, got '{text[:80]}'")
    return tuple(int(number) for number in numbers)


def _within_limit(path: Path, voxel_bytes: int) -> int:
    if voxel_bytes > MAX_SCAN_BYTES:
        raise ScanError(
            f"{path}: its header claims {voxel_bytes} bytes, over the limit of {MAX_SCAN_BYTES}; get the file again"
        )
    return voxel_bytes
