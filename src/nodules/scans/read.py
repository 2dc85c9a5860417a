"""Read a CT scan of any accepted format, from a path or from bytes."""

from __future__ import annotations

import tempfile
from pathlib import Path

from nodules.scans.dicom.reader import DICM_POSITION, is_dicom, read_series, read_series_bytes
from nodules.scans.result import Reading, ReadingParams, ScanError
from nodules.scans.volume_files.content import VOLUME_SUFFIXES, content_suffix, volume_suffix
from nodules.scans.volume_files.headers import read_metaimage_header, read_nrrd_header
from nodules.scans.volume_files.reader import read_volume

ACCEPTED = f"a DICOM folder, a .zip of one, a multi-frame DICOM file, or a volume file ({', '.join(VOLUME_SUFFIXES)})"

_SENT = "the sent scan"


def read_scan(path: Path, params: ReadingParams, series_uid: str | None = None) -> Reading:
    """Read a CT scan from a DICOM folder or zip, or from a volume file.

    Parameters
    ----------
    path : Path
        Folder, `.zip`, multi-frame DICOM file, or a file with one of `VOLUME_SUFFIXES`.
    params : ReadingParams
        Limits up to which irregular scans are repaired.
    series_uid : str, optional
        The DICOM series to read. Without it, the reader chooses one (`scans.dicom.series`).

    Returns
    -------
    Reading
        The volume, its repairs and its warnings.

    Raises
    ------
    ScanError
        If the path does not exist, its format is not accepted, its reader refuses it, or `series_uid` is given for a
        volume file.
    """
    if not path.exists():
        raise ScanError(f"{path}: no such file or folder; give {ACCEPTED}")
    if path.is_dir() or path.suffix.lower() == ".zip":
        return read_series(path, params, series_uid)
    if volume_suffix(path):
        if series_uid:
            raise ScanError(f"{path}: a volume file has no series {series_uid}; omit the series UID")
        return read_volume(path, params)
    with path.open("rb") as file:
        start = file.read(DICM_POSITION.stop)
    if is_dicom(start) or path.suffix.lower() == ".dcm":
        return read_series(path, params, series_uid)
    raise ScanError(f"{path}: unknown kind of file; give {ACCEPTED}")


def read_scan_bytes(data: bytes, params: ReadingParams) -> Reading:
    """Read a CT scan that was sent as bytes: a DICOM zip or multi-frame file, `.mha`, `.nii`, `.nii.gz` or `.nrrd`.

    The format is recognised by the content.

    Raises
    ------
    ScanError
        If the format is not accepted, the voxels are in another file, or the reader refuses the scan.
    """
    suffix = _sniff(data)
    if suffix in (".zip", ".dcm"):
        return read_series_bytes(data, params)
    with tempfile.TemporaryDirectory(prefix="nodules-") as folder:
        path = Path(folder) / f"scan{suffix}"
        path.write_bytes(data)
        try:
            _refuse_detached_voxels(path)
            return read_volume(path, params)
        except ScanError as error:
            raise ScanError(str(error).replace(str(path), _SENT)) from error


def _sniff(data: bytes) -> str:
    if data.startswith(b"PK"):
        return ".zip"
    if is_dicom(data):
        return ".dcm"
    suffix = content_suffix(data)
    if suffix is None:
        raise ScanError(
            f"{_SENT}: unknown kind of data; send a zip of a DICOM folder, .mha, .nii, .nii.gz, .nrrd or a multi-frame "
            "DICOM file"
        )
    return suffix


def _refuse_detached_voxels(path: Path) -> None:
    """Refuse a header that points to another file, so that a sender cannot read files of this machine."""
    read_header = {".mha": read_metaimage_header, ".mhd": read_metaimage_header, ".nrrd": read_nrrd_header}
    suffix = volume_suffix(path)
    if suffix in read_header and read_header[suffix](path).data_name is not None:
        raise ScanError(f"{path}: the voxels are not in the file; send one file that holds both header and voxels")
