"""Does a volume file hold all the voxels that its header promises? ITK does not always say."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

from nodules.scans.scan_error import ScanError

_METAIMAGE_BYTES = {
    "MET_CHAR": 1,
    "MET_UCHAR": 1,
    "MET_SHORT": 2,
    "MET_USHORT": 2,
    "MET_INT": 4,
    "MET_UINT": 4,
    "MET_FLOAT": 4,
    "MET_DOUBLE": 8,
}
_HEADER_BYTES = 2**16  # a MetaImage header is a few hundred bytes of text


def check_metaimage(path: Path) -> None:
    """Refuse a MetaImage whose data file is missing or short: ITK's own message speaks of a missing header.

    Raises
    ------
    ScanError
        If there are fewer bytes of data than the header says.
    """
    fields, data_start = _metaimage_header(path)
    name = fields.get("ElementDataFile", "")
    if not name or name.upper().startswith("LIST") or "%" in name:
        return
    local = name.upper() == "LOCAL"
    data_path = path if local else path.parent / name
    if not data_path.is_file():
        raise ScanError(f"{path}: its data file {name} is missing; it must lie beside the header")
    held = data_path.stat().st_size - (data_start if local else 0)
    wanted = _metaimage_data_bytes(fields)
    if held < wanted:
        raise ScanError(f"{data_path}: cut short: the header asks for {wanted} bytes, it holds {held}; get it again")


def check_nifti(path: Path, wanted: int) -> None:
    """Refuse a NIfTI file that ends early: ITK fills what is missing with zeros and says nothing.

    Parameters
    ----------
    path : Path
        `.nii` or `.nii.gz`.
    wanted : int
        Bytes of header and voxels, uncompressed.

    Raises
    ------
    ScanError
        If the file holds fewer bytes.
    """
    held = _gzip_bytes(path, wanted) if path.name.lower().endswith(".gz") else path.stat().st_size
    if held < wanted:
        raise ScanError(f"{path}: cut short: its header asks for {wanted} bytes, it holds {held}; get the file again")


def _gzip_bytes(path: Path, wanted: int) -> int:
    """Return the uncompressed size, exact only where it is below `wanted`."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4))
        if int.from_bytes(file.read(4), "little") == wanted % 2**32:  # the size that ends a complete file
            return wanted
    held = 0
    try:
        with gzip.open(path) as stream:
            while held < wanted and (block := stream.read(2**20)):
                held += len(block)
    except (EOFError, OSError, zlib.error):
        return min(held, wanted - 1)
    return held


def _metaimage_header(path: Path) -> tuple[dict[str, str], int]:
    with path.open("rb") as file:
        text = file.read(_HEADER_BYTES)
    fields: dict[str, str] = {}
    start = 0
    for line in text.splitlines(keepends=True):
        start += len(line)
        key, _, value = line.decode("latin-1").partition("=")
        fields[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            break
    return fields, start


def _metaimage_data_bytes(fields: dict[str, str]) -> int:
    """Return how many bytes the data take, 0 where the header does not tell."""
    try:
        if fields.get("CompressedData", "False").lower() == "true":
            return int(fields.get("CompressedDataSize", "0"))
        voxels = math.prod(int(n) for n in fields["DimSize"].split())
        return voxels * int(fields.get("ElementNumberOfChannels", "1")) * _METAIMAGE_BYTES[fields["ElementType"]]
    except (KeyError, ValueError):
        return 0
