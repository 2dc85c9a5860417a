"""Check that a volume file holds all voxels that its header promises, undamaged.

ITK does not report all damage. It fills missing voxels of a NIfTI file with zeros, replaces NaN there by zero, and
returns a MetaImage even if its compressed data are damaged.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from nodules.imaging.geometry.volume import AIR_HU
from nodules.scans.result import ScanError
from nodules.scans.volume_files.headers import read_metaimage_header, read_nrrd_header

NOT_FINITE = f"holds NaN or infinity instead of HU; set such voxels to {AIR_HU}"

_NIFTI_HEADER_BYTES = (348, 540)  # header sizes of versions 1 and 2, which are their first four bytes
_ZLIB, _GZIP = 15, 31  # values of `wbits` in zlib
_BLOCK_BYTES = 2**20
_LEAST_BYTES = {"raw": 1.0, "ascii": 0.25, "text": 0.25, "txt": 0.25, "hex": 2.0}  # on disk, per byte in memory


def check_metaimage(path: Path, *, inflate: bool = True) -> None:
    """Refuse a MetaImage whose data file is missing, too short, too long or damaged.

    Parameters
    ----------
    path : Path
        `.mhd` or `.mha`.
    inflate : bool
        Whether to inflate compressed data to check that they are complete. Otherwise only their size on disk is
        compared with `CompressedDataSize`.

    Raises
    ------
    ScanError
        If the header is unreadable, or the data do not match it.
    """
    header = read_metaimage_header(path)
    data_path, start = _data(path, header.data_name, header.data_start)
    if header.fields.get("CompressedData", "False").lower() == "true":
        if inflate:
            _check_deflated(data_path, start, _ZLIB, header.voxel_bytes)
        packed = header.fields.get("CompressedDataSize", "")
        wanted = int(packed) if packed.isascii() and packed.isdecimal() else 0
        _check_size(data_path, data_path.stat().st_size - start, wanted)
        return
    held = data_path.stat().st_size - start
    _check_size(data_path, held, header.voxel_bytes)
    if held > header.voxel_bytes > 0 and "HeaderSize" not in header.fields:
        raise ScanError(
            f"{data_path}: {held} bytes of voxels are more than the {header.voxel_bytes} that the header {path.name} "
            "asks for: the header belongs to another scan, or its size or type is wrong"
        )


def check_nrrd(path: Path) -> None:
    """Refuse an NRRD whose data file is missing, too short or damaged.

    Raises
    ------
    ScanError
        If the header is unreadable, or the data do not match it.
    """
    header = read_nrrd_header(path)
    data_path, start = _data(path, header.data_name, header.data_start)
    encoding = header.fields.get("encoding", "raw").lower()
    if encoding in ("gzip", "gz"):
        _check_deflated(data_path, start, _GZIP, header.voxel_bytes)
    elif encoding in _LEAST_BYTES:
        least = int(header.voxel_bytes * _LEAST_BYTES[encoding])
        _check_size(data_path, data_path.stat().st_size - start, least)
    else:
        raise ScanError(f"{path}: cannot read the encoding '{encoding[:40]}'; save it as raw or gzip")


def check_nifti(path: Path, wanted: int) -> None:
    """Refuse a NIfTI file that is truncated or damaged.

    Parameters
    ----------
    path : Path
        `.nii` or `.nii.gz`.
    wanted : int
        Uncompressed size of header and voxels in bytes.

    Raises
    ------
    ScanError
        If the file holds fewer bytes, or its compressed data are damaged.
    """
    if path.name.lower().endswith(".gz"):
        _check_deflated(path, 0, _GZIP, wanted)
    else:
        _check_size(path, path.stat().st_size, wanted)


def check_finite_nifti(path: Path, voxel_start: int, voxel_bytes: int, value_bytes: int) -> None:
    """Refuse NaN and infinity in a NIfTI file of floating-point values.

    Parameters
    ----------
    path : Path
        `.nii` or `.nii.gz`, complete.
    voxel_start, voxel_bytes : int
        Offset and size of the voxels in bytes, uncompressed.
    value_bytes : int
        4 for float, 8 for double.

    Raises
    ------
    ScanError
        If a value is not finite.
    """
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
        order = "<" if int.from_bytes(file.read(4), "little") in _NIFTI_HEADER_BYTES else ">"
        file.read(voxel_start - 4)
        for start in range(0, voxel_bytes, _BLOCK_BYTES):
            block = file.read(min(_BLOCK_BYTES, voxel_bytes - start))
            if not np.isfinite(np.frombuffer(block, f"{order}f{value_bytes}")).all():
                raise ScanError(f"{path}: {NOT_FINITE}")


def _data(path: Path, name: str | None, start: int) -> tuple[Path, int]:
    if name is None:
        return path, start
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ScanError(
            f"{path}: its data file {name[:80]} must lie beside the header; move it there and correct the name"
        )
    data_path = path.parent / name
    if not data_path.is_file():
        raise ScanError(f"{path}: its data file {name} is missing; it must lie beside the header")
    return data_path, 0


def _check_size(path: Path, held: int, wanted: int) -> None:
    if held < wanted:
        raise ScanError(f"{path}: cut short: the header asks for {wanted} bytes, it holds {held}; get the file again")


def _check_deflated(path: Path, start: int, wbits: int, wanted: int) -> None:
    """Inflate to the end and discard the data, which verifies the checksums; ignore data beyond `wanted` bytes."""
    held, ended = 0, True
    stream = zlib.decompressobj(wbits)
    try:
        with path.open("rb") as file:
            file.seek(start)
            while held <= wanted and (block := file.read(_BLOCK_BYTES)):
                while block and held <= wanted:
                    held += len(stream.decompress(block, _BLOCK_BYTES))
                    ended, block = stream.eof, stream.unconsumed_tail
                    if ended:
                        block = _next_member(stream.unused_data)
                        stream = zlib.decompressobj(wbits)
    except zlib.error as error:
        raise ScanError(f"{path}: damaged: its data cannot be decompressed ({error}); get the file again") from error
    if held < wanted or (held == wanted and not ended):
        raise ScanError(
            f"{path}: cut short: the header asks for {wanted} bytes, it holds {held} unpacked; get the file again"
        )


def _next_member(rest: bytes) -> bytes:
    """Return the next member of a gzip file, or nothing; zeros or other data may follow the last member."""
    return rest if rest.startswith(b"\x1f\x8b") else b""
