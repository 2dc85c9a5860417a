"""Series of a linear field or of the phantom on slices of any position and direction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from support.damaged_scans.cases import HU_ZYX, ORIGIN_XYZ_MM, SPACING_ZYX_MM, linear_hu
from support.damaged_scans.dicom_changes import Write
from support.dicom_files import AXIAL, change, write_series


def linear_at(depths_mm: NDArray[np.float64]) -> Write:
    """The linear field, scanned at these distances from the first slice."""

    def write(folder: Path) -> Path:
        positions = np.asarray(ORIGIN_XYZ_MM) + np.outer(depths_mm, (0, 0, 1))
        return stack(folder, positions, AXIAL)

    return write


def tilted(degrees: float) -> Write:
    """The linear field by a tilted gantry: the table moves along z, the slices lean towards it."""
    lean = np.deg2rad(degrees)

    def write(folder: Path) -> Path:
        positions = np.asarray(ORIGIN_XYZ_MM) + np.outer(np.arange(6) * 2.5, (0, 0, 1))
        return stack(folder, positions, (1, 0, 0, 0, np.cos(lean), np.sin(lean)))

    return write


def leaning_stack(orientation: Sequence[float], last_slice_xyz_mm: Sequence[float]) -> Write:
    """The linear field on six slices that follow each other along a line."""

    def write(folder: Path) -> Path:
        positions = np.asarray(ORIGIN_XYZ_MM) + np.outer(np.linspace(0, 1, 6), last_slice_xyz_mm)
        return stack(folder, positions, orientation)

    return write


def scanned_along(orientation: Sequence[float]) -> Write:
    """The phantom, standing where it always stands, cut into slices of another direction."""
    along_x, along_y = np.reshape(orientation, (2, 3))
    steps = np.stack([np.cross(along_x, along_y), along_y, along_x])  # along slices, rows, columns
    axes_xyz = np.abs(steps).argmax(axis=1)
    is_reversed = steps[range(3), axes_xyz] < 0

    def write(folder: Path) -> Path:
        cut = HU_ZYX.transpose(2 - axes_xyz)[tuple(slice(None, None, -1 if flip else 1) for flip in is_reversed)]
        size_xyz, spacing_xyz_mm = np.array(HU_ZYX.shape[::-1]), np.array(SPACING_ZYX_MM[::-1])
        corner_xyz = np.zeros(3)
        corner_xyz[axes_xyz] = np.where(is_reversed, (size_xyz - 1)[axes_xyz], 0)
        origin = np.asarray(ORIGIN_XYZ_MM) + corner_xyz * spacing_xyz_mm
        write_series(folder, cut, spacing_xyz_mm[axes_xyz], origin, orientation)
        return folder

    return write


def stack(folder: Path, positions_xyz: NDArray[np.float64], orientation: Sequence[float]) -> Path:
    """The linear field on slices at these positions."""
    along_x, along_y = np.reshape(orientation, (2, 3))
    rows, columns = np.indices(HU_ZYX.shape[1:])
    in_plane = rows[..., None] * SPACING_ZYX_MM[1] * along_y + columns[..., None] * SPACING_ZYX_MM[2] * along_x
    hu_zyx = np.rint(linear_hu(positions_xyz[:, None, None] + in_plane))
    files = write_series(folder, hu_zyx, SPACING_ZYX_MM, orientation=orientation)
    for file, position in zip(files, positions_xyz, strict=True):
        change(file, ImagePositionPatient=[f"{v:.9f}" for v in position])
    return folder


def two_thousand_slices(folder: Path) -> Path:
    """Files of 4 x 4 pixels that differ in their position, position and number written into one and the same file."""
    (file,) = write_series(folder, np.full((1, 4, 4), -700), (1.0, 0.6, 0.8), (0, 0, 111111))
    data = file.read_bytes()
    file.unlink()
    for k in range(2000):
        (folder / f"{(k * 7919) % 2000}").write_bytes(data.replace(b"111111.000000000", f"{k:06d}.000000000".encode()))
    return folder
