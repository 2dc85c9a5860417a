"""Check that the header of a volume file states its voxel size and directions without contradiction.

ITK fills in what is missing, and silently chooses between contradictory statements.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from nodules.scans.result import ScanError
from nodules.scans.volume_files.headers import MAX_POSITION_MM, read_metaimage_header, read_nrrd_header

SPACING_MM = (0.05, 30.0)
"""Smallest and largest voxel size of a chest CT scan; other sizes have another unit or are invented."""

_TOLERANCE_MM = 0.5
_NIFTI = ((348, "f4", 256), (540, "f8", 352))  # of both versions: size of the header, type and offset of quatern_b
_ENDS: tuple[tuple[Literal["little", "big"], str], ...] = (("little", "<"), ("big", ">"))
_NIFTI_2_BYTES = 540
_ASSUMED_DIRECTIONS = "x is assumed to point to the left, y to the back and z to the head"


def check_stated_geometry(path: Path, header: SimpleITK.ImageFileReader) -> list[str]:
    """Check the voxel size, the position and the directions in the header of a CT scan.

    Parameters
    ----------
    path : Path
        `.mhd`, `.mha`, `.nii`, `.nii.gz` or `.nrrd`.
    header : SimpleITK.ImageFileReader
        Reader that has already read the image information.

    Returns
    -------
    list of str
        Warnings about directions that are missing or stated twice with different values.

    Raises
    ------
    ScanError
        If the voxel size is missing, contradictory or impossible for a CT scan in mm. Negative sizes are refused as
        well, because some readers take them as flips and others do not.
    """
    name = path.name.lower()
    if name.endswith((".mhd", ".mha")):
        warnings = _metaimage(path)
    elif name.endswith(".nrrd"):
        warnings = _nrrd(path)
    else:
        warnings = _nifti(path, header)
    spacing_mm = header.GetSpacing()[:3]
    if not all(SPACING_MM[0] <= size <= SPACING_MM[1] for size in spacing_mm):
        shown = " x ".join(f"{size:g}" for size in spacing_mm)
        raise ScanError(
            f"{path}: voxels of {shown} mm (x, y, z) are impossible for a CT scan ({SPACING_MM[0]:g} to "
            f"{SPACING_MM[1]:g} mm); correct the spacing in the header"
        )
    return warnings


def _metaimage(path: Path) -> list[str]:
    fields = read_metaimage_header(path).fields
    _require_spacing(path, bool(fields.keys() & {"ElementSpacing", "ElementSize"}), "ElementSpacing")
    stated = fields.keys() & {"TransformMatrix", "Rotation", "Orientation"}
    return [] if stated else [f"the header states no directions (TransformMatrix): {_ASSUMED_DIRECTIONS}"]


def _nrrd(path: Path) -> list[str]:
    fields = read_nrrd_header(path).fields
    _require_spacing(path, bool(fields.keys() & {"spacings", "spacedirections"}), "space directions")
    space = fields.get("space", "").lower()
    known = ("left-posterior-superior", "right-anterior-superior", "left-anterior-superior", "lps", "ras", "las")
    if space.removesuffix("-time") in known and "spacedirections" in fields:
        return []
    return [f"the header states no directions in the body (space: {space[:40] or 'none'}): {_ASSUMED_DIRECTIONS}"]


def _nifti(path: Path, header: SimpleITK.ImageFileReader) -> list[str]:
    qform, sform = (int(header.GetMetaData(key)) for key in ("qform_code", "sform_code"))
    _check_nifti_numbers(path, qform > 0, sform > 0)
    if qform <= 0 and sform <= 0:
        return [f"the header states no directions (qform_code and sform_code are 0): {_ASSUMED_DIRECTIONS}"]
    if sform <= 0:
        return []
    stated, read = _sform_lps(header), _grid(header)
    sizes_mm = [np.linalg.norm(matrix[:3, :3], axis=0) for matrix in (stated, read)]
    if not np.allclose(sizes_mm[0], sizes_mm[1], rtol=0.01):
        shown = [" x ".join(f"{size:.3g}" for size in sizes) for sizes in sizes_mm]
        raise ScanError(
            f"{path}: voxels of {shown[0]} mm by its sform, {shown[1]} mm by its pixdim; correct the header"
        )
    ends = np.array([[0, 0, 0, 1], [*(size - 1 for size in header.GetSize()[:3]), 1]]).T
    apart_mm = float(np.abs((stated - read) @ ends).max())
    if apart_mm <= _TOLERANCE_MM:
        return []
    mirrored = np.linalg.det(stated[:, :3]) * np.linalg.det(read[:, :3]) < 0
    if qform <= 0 or mirrored:
        raise ScanError(
            f"{path}: its sform disagrees with its qform and pixdim by {apart_mm:.1f} mm; correct the header"
        )
    return [f"qform and sform differ by {apart_mm:.1f} mm; the qform was used"]


def _check_nifti_numbers(path: Path, has_qform: bool, has_sform: bool) -> None:
    """Check the bytes of the header, because ITK replaces invalid numbers by 0."""
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rb") as file:
        head = file.read(_NIFTI_2_BYTES)
    places = {size.to_bytes(4, end): (f"{sign}{kind}", at) for size, kind, at in _NIFTI for end, sign in _ENDS}
    if head[:4] not in places:
        raise ScanError(f"{path}: no readable header: it belongs to no version of NIfTI; get the file again")
    kind, start = places[head[:4]]
    numbers = np.abs(np.frombuffer(head, kind, count=18, offset=start))
    parts = {"quatern": (numbers[:3], 1.001, has_qform), "qoffset": (numbers[3:6], MAX_POSITION_MM, has_qform)}
    parts["srow"] = (numbers[6:], MAX_POSITION_MM, has_sform)
    for name, (found, limit, counts) in parts.items():
        if counts and not (found <= limit).all():  # False for NaN
            raise ScanError(f"{path}: {name} must be numbers up to {limit:g}, got {found.max():g}; correct the header")


def _require_spacing(path: Path, is_stated: bool, key: str) -> None:
    if not is_stated:
        raise ScanError(f"{path}: the header states no voxel size ({key}); save the scan with its spacing")


def _sform_lps(header: SimpleITK.ImageFileReader) -> NDArray[np.float64]:
    """Return the index-to-world matrix of the sform in LPS mm (NIfTI's world axes point right, front and up)."""
    rows = [[float(value) for value in header.GetMetaData(f"srow_{axis}").split()] for axis in "xyz"]
    scale = {1: 1000.0, 3: 0.001}.get(int(header.GetMetaData("xyzt_units")) & 7, 1.0)
    return np.diag([-1.0, -1.0, 1.0]) @ np.array(rows) * scale


def _grid(header: SimpleITK.ImageFileReader) -> NDArray[np.float64]:
    """Return the index-to-world matrix as ITK read it."""
    axes = header.GetDimension()
    direction = np.reshape(header.GetDirection(), (axes, axes))[:3, :3]
    return np.column_stack([direction * np.array(header.GetSpacing()[:3]), header.GetOrigin()[:3]])
