"""Recognise the format of a volume file by its name and by its first bytes."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

from nodules.scans.result import ScanError

VOLUME_SUFFIXES = (".mhd", ".mha", ".nii", ".nii.gz", ".nrrd")
KINDS = {".mhd": "MetaImage", ".mha": "MetaImage", ".nii": "NIfTI", ".nii.gz": "NIfTI", ".nrrd": "NRRD"}

_HEAD_BYTES = 2**16
_NIFTI_BYTES = 348  # header size of version 1, within which both versions have their magic
_NIFTI_MAGIC = {344: (b"n+1\0", b"ni1\0"), 4: (b"n+2\0", b"ni2\0")}  # offset of the magic in versions 1 and 2
_FOREIGN = {b"PK\x03\x04": "a zip", b"\x89PNG": "a PNG picture", b"\xff\xd8\xff": "a JPEG picture", b"%PDF": "a PDF"}


def volume_suffix(path: Path) -> str | None:
    """Return the suffix of `VOLUME_SUFFIXES` that the file name ends in, or None; `.nii.gz` counts as one suffix."""
    name = path.name.lower()
    return next((suffix for suffix in VOLUME_SUFFIXES if name.endswith(suffix)), None)


def content_suffix(head: bytes) -> str | None:
    """Return the suffix that fits the first bytes of a file, or None if the format is not in `VOLUME_SUFFIXES`.

    Parameters
    ----------
    head : bytes
        At least the first 64 KiB, or the whole file. A MetaImage is `.mhd` if its voxels are in another file.
    """
    if head.startswith(b"NRRD"):
        return ".nrrd"
    if any(head[start : start + 4] in magics for start, magics in _NIFTI_MAGIC.items()):
        return ".nii"
    if head.startswith(b"\x1f\x8b"):
        return ".nii.gz" if content_suffix(_unzipped(head)) == ".nii" else None
    if re.search(rb"^\s*NDims\s*[=:]", head[:_HEAD_BYTES], re.MULTILINE):
        data_file = re.search(rb"^\s*ElementDataFile\s*[=:]\s*(\S*)", head[:_HEAD_BYTES], re.MULTILINE)
        return ".mha" if data_file and data_file.group(1).upper() == b"LOCAL" else ".mhd"
    return None


def check_content(path: Path) -> None:
    """Refuse a file whose content does not match its suffix.

    Raises
    ------
    ScanError
        If the file is missing or empty, its suffix is not in `VOLUME_SUFFIXES`, or its content has another format.
    """
    suffix = volume_suffix(path)
    if suffix is None:
        raise ScanError(f"{path}: a volume file must end in one of {', '.join(VOLUME_SUFFIXES)}")
    if not path.is_file():
        raise ScanError(f"{path}: no such file")
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise ScanError(f"{path}: the file is empty; get it again")
    found = content_suffix(head)
    if found is None:
        raise ScanError(
            f"{path}: no readable header: {_describe_foreign(head)} and not {KINDS[suffix]}; get the file again"
        )
    if KINDS[found] != KINDS[suffix] or {found, suffix} == {".nii", ".nii.gz"}:
        raise ScanError(f"{path}: its content is {KINDS[found]}; rename it to end in {found}")


def _unzipped(head: bytes) -> bytes:
    """Decompress the first `_NIFTI_BYTES`; bgzip and pigz may spread them over several members."""
    found = b""
    try:
        while head and len(found) < _NIFTI_BYTES:
            member = zlib.decompressobj(wbits=31)
            found += member.decompress(head, _NIFTI_BYTES - len(found))
            head = member.unused_data
    except zlib.error:
        return b""
    return found


def _describe_foreign(head: bytes) -> str:
    if head[128:132] == b"DICM":
        return "it is one DICOM file (give its folder)"
    return f"it is {next((name for magic, name in _FOREIGN.items() if head.startswith(magic)), 'of an unknown kind')}"
