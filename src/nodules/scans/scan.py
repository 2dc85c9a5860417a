"""Any CT scan a person may give, by what the path or the bytes are."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from nodules.imaging.volume import Volume
from nodules.scans.dicom import read_series, read_series_bytes
from nodules.scans.scan_error import ScanError
from nodules.scans.volume_files import VOLUME_SUFFIXES, read_volume, volume_suffix

ACCEPTED = f"a DICOM folder, a .zip of one, or a volume file ({', '.join(VOLUME_SUFFIXES)})"

_TEXT_HEADER_BYTES = 2**16
_SENT = "the sent scan"


def read_scan(path: Path) -> Volume:
    """Read a CT scan from a DICOM folder or zip, or from a volume file.

    Parameters
    ----------
    path : Path
        Folder, `.zip`, or a file with one of `VOLUME_SUFFIXES`.

    Returns
    -------
    Volume
        int16 HU on canonical axes, clipped as by `read_volume`.

    Raises
    ------
    ScanError
        If nothing is there, it is of no accepted kind, or its reader refuses it.
    """
    if not path.exists():
        raise ScanError(f"{path}: no such file or folder; give {ACCEPTED}")
    if path.is_dir() or path.suffix.lower() == ".zip":
        return read_series(path)
    if volume_suffix(path):
        return read_volume(path)
    if path.suffix.lower() == ".dcm":
        raise ScanError(f"{path}: one DICOM file is one slice; give its folder {path.parent}")
    raise ScanError(f"{path}: unknown kind of file; give {ACCEPTED}")


def read_scan_bytes(data: bytes) -> Volume:
    """Read a CT scan that was sent as bytes: a DICOM zip, `.mha`, `.nii`, `.nii.gz` or `.nrrd`, told by its content.

    Raises
    ------
    ScanError
        If the content is of no accepted kind, keeps its voxels in another file, or its reader refuses it.
    """
    suffix = _sniff(data)
    if suffix == ".zip":
        return read_series_bytes(data)
    _refuse_detached_voxels(data, suffix)
    with tempfile.TemporaryDirectory(prefix="nodules-") as folder:
        path = Path(folder) / f"scan{suffix}"
        path.write_bytes(data)
        try:
            return read_volume(path)
        except ScanError as error:
            raise ScanError(str(error).replace(str(path), _SENT)) from error


def _sniff(data: bytes) -> str:
    if data.startswith(b"PK"):
        return ".zip"
    if data.startswith(b"\x1f\x8b"):
        return ".nii.gz"
    if data.startswith(b"NRRD"):
        return ".nrrd"
    if data[344:348] == b"n+1\0":
        return ".nii"
    if re.search(rb"^\s*NDims\s*=", data[:_TEXT_HEADER_BYTES], re.MULTILINE):
        return ".mha"
    raise ScanError(f"{_SENT}: unknown kind of data; send a zip of a DICOM folder, .mha, .nii, .nii.gz or .nrrd")


def _refuse_detached_voxels(data: bytes, suffix: str) -> None:
    """Refuse a header that points to another file: the sender must not name files of this machine."""
    header = data[:_TEXT_HEADER_BYTES]
    if suffix == ".mha":
        named = re.findall(rb"^\s*ElementDataFile\s*[=:]\s*(.*?)\s*$", header, re.MULTILINE)
        detached = not named or named[0].upper() != b"LOCAL"
    else:
        fields = re.split(rb"\r?\n\r?\n", header, maxsplit=1)[0]
        detached = suffix == ".nrrd" and re.search(rb"^data ?file:", fields, re.MULTILINE | re.IGNORECASE) is not None
    if detached:
        raise ScanError(f"{_SENT}: its voxels are not in the file; send one file that holds both header and voxels")
