"""Single-file volumes (MetaImage, NIfTI, NRRD) to and from `Volume`, with their true place in the world."""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from nodules.imaging.volume import AIR_HU, MAX_HU, Volume
from nodules.scans.completeness import check_metaimage, check_nifti
from nodules.scans.scan_error import ScanError

VOLUME_SUFFIXES = (".mhd", ".mha", ".nii", ".nii.gz", ".nrrd")

MAX_SCAN_BYTES = 4 * 2**30
"""Largest scan that is read, uncompressed: 2,000 slices of 1024 x 1024; what claims more is damaged or hostile."""


def read_volume(path: Path) -> Volume:
    """Read a CT scan from one file (`VOLUME_SUFFIXES`).

    Parameters
    ----------
    path : Path
        The file; for `.mhd` the header, whose data file lies beside it.

    Returns
    -------
    Volume
        int16 HU, clipped to [`AIR_HU`, `MAX_HU`], fractions rounded, on canonical axes.

    Raises
    ------
    ScanError
        If the file is missing, damaged, not a 3-D image of one value per voxel, or holds NaN.
    """
    stored = _read(path)
    return stored.with_voxels(_as_hu(stored.voxels_zyx, path))


def read_mask(path: Path) -> Volume:
    """Read a mask, label map or probability map: as `read_volume`, but with the stored type and values.

    Raises
    ------
    ScanError
        If the file is missing, damaged, or not a 3-D image of one value per voxel.
    """
    return _read(path)


def write_volume(volume: Volume, path: Path, *, compress: bool = True) -> None:
    """Write a volume so that it appears whole or not at all; a file of that name is replaced.

    Parameters
    ----------
    volume : Volume
        int16, uint8, uint16, int32 or float voxels; bool is stored as uint8, every float as float32.
    path : Path
        One of `VOLUME_SUFFIXES`, in an existing folder. `.mhd` puts its data file (`.zraw`, or `.raw` where not
        compressed) beside it.
    compress : bool
        Compress losslessly. NIfTI goes by its suffix instead: `.nii.gz` is compressed, `.nii` is not.

    Raises
    ------
    ScanError
        If the suffix is unknown or the folder does not exist.
    """
    if volume_suffix(path) is None:
        raise ScanError(f"{path}: a volume is written as one of {', '.join(VOLUME_SUFFIXES)}")
    if not path.parent.is_dir():
        raise ScanError(f"{path}: its folder does not exist; make it first")
    image = SimpleITK.GetImageFromArray(_storable(volume.voxels_zyx))
    image.SetSpacing([float(s) for s in volume.spacing_zyx_mm[::-1]])
    image.SetOrigin([float(v) for v in volume.origin_xyz_mm])
    image.SetDirection([float(v) for v in volume.direction_xyz])
    with _appearing_whole(path) as unfinished:
        SimpleITK.WriteImage(image, str(unfinished), compress)


def volume_suffix(path: Path) -> str | None:
    """Return the suffix of `VOLUME_SUFFIXES` that the file name ends in, or None; `.nii.gz` counts as one suffix."""
    name = path.name.lower()
    return next((suffix for suffix in VOLUME_SUFFIXES if name.endswith(suffix)), None)


def canonical_axes(volume: Volume) -> Volume:
    """Swap and flip axes until x, y and z run as near to the world's left, back and head as they can.

    No voxel changes its value or its place in the world; an oblique grid stays oblique (as ITK's DICOMOrient to LPS).

    Parameters
    ----------
    volume : Volume
        Any right- or left-handed grid.

    Returns
    -------
    Volume
        The same voxels, contiguous in memory.
    """
    direction = np.asarray(volume.direction_xyz, dtype=float).reshape(3, 3)
    columns = max(itertools.permutations(range(3)), key=lambda order: np.abs(direction[:, order].diagonal()).sum())
    flips_xyz = direction[:, columns].diagonal() < 0
    axes = [2 - column for column in columns[::-1]]  # the array's axes run z, y, x
    flips_zyx = flips_xyz[::-1]
    voxels = volume.voxels_zyx.transpose(axes)[tuple(slice(None, None, -1 if flip else 1) for flip in flips_zyx)]
    corner = [0, 0, 0]
    for axis, flip in zip(axes, flips_zyx, strict=True):
        corner[axis] = volume.shape_zyx[axis] - 1 if flip else 0
    x, y, z = (float(v) for v in volume.voxel_to_world(corner))
    spacing_z_mm, spacing_y_mm, spacing_x_mm = (volume.spacing_zyx_mm[axis] for axis in axes)
    # Adding 0.0 below turns -0.0 into 0.0.
    turned = direction[:, columns] * np.where(flips_xyz, -1.0, 1.0)
    return Volume(
        voxels_zyx=np.ascontiguousarray(voxels),
        spacing_zyx_mm=(spacing_z_mm, spacing_y_mm, spacing_x_mm),
        origin_xyz_mm=(x, y, z),
        direction_xyz=tuple(float(v) + 0.0 for v in turned.ravel()),
    )


def _read(path: Path) -> Volume:
    reader = _open(path)
    if reader.HasMetaDataKey("bitpix"):
        check_nifti(path, _nifti_bytes(reader))
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise ScanError(f"{path}: damaged: {_last_line(error)}; get the file again") from error
    try:
        spacing_x_mm, spacing_y_mm, spacing_z_mm = image.GetSpacing()
        x, y, z = image.GetOrigin()
        return canonical_axes(
            Volume(
                voxels_zyx=SimpleITK.GetArrayFromImage(image),
                spacing_zyx_mm=(spacing_z_mm, spacing_y_mm, spacing_x_mm),
                origin_xyz_mm=(x, y, z),
                direction_xyz=image.GetDirection(),
            )
        )
    except ValueError as error:
        raise ScanError(f"{path}: unusable geometry: {error}") from error


def _open(path: Path) -> SimpleITK.ImageFileReader:
    """Read the header alone and refuse what is no 3-D scalar image of a sane size."""
    if volume_suffix(path) is None:
        raise ScanError(f"{path}: a volume file must end in one of {', '.join(VOLUME_SUFFIXES)}")
    if not path.is_file():
        raise ScanError(f"{path}: no such file")
    if path.name.lower().endswith((".mhd", ".mha")):
        check_metaimage(path)
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise ScanError(f"{path}: no readable header: {_last_line(error)}; check that the suffix is right") from error
    size = reader.GetSize()
    if reader.GetDimension() != 3 or reader.GetNumberOfComponents() != 1 or 0 in size:
        raise ScanError(
            f"{path}: wanted a 3-D image of one value per voxel, got size {tuple(size)} "
            f"of {reader.GetNumberOfComponents()} value(s); save a single 3-D scan"
        )
    if math.prod(size) * 2 > MAX_SCAN_BYTES:
        raise ScanError(f"{path}: its header claims {tuple(size)} voxels, over the limit of {MAX_SCAN_BYTES} bytes")
    return reader


def _nifti_bytes(reader: SimpleITK.ImageFileReader) -> int:
    voxel_bytes = math.prod(reader.GetSize()) * int(reader.GetMetaData("bitpix")) // 8
    return voxel_bytes + int(float(reader.GetMetaData("vox_offset")))


def _as_hu(stored: NDArray[Any], path: Path) -> NDArray[np.int16]:
    if np.issubdtype(stored.dtype, np.floating):
        if np.isnan(stored).any():
            raise ScanError(f"{path}: holds NaN where HU are wanted; replace it by {AIR_HU}")
        return np.rint(np.clip(stored, AIR_HU, MAX_HU)).astype(np.int16)
    limits = np.iinfo(stored.dtype)
    return np.clip(stored, max(AIR_HU, limits.min), min(MAX_HU, limits.max)).astype(np.int16, copy=False)


def _storable(voxels_zyx: NDArray[Any]) -> NDArray[Any]:
    if voxels_zyx.dtype == bool:
        return voxels_zyx.astype(np.uint8)
    if np.issubdtype(voxels_zyx.dtype, np.floating):
        return voxels_zyx.astype(np.float32, copy=False)
    if voxels_zyx.dtype not in (np.uint8, np.int16, np.uint16, np.int32):
        raise ScanError(
            f"voxels must be bool, uint8, int16, uint16, int32 or float to be written, got {voxels_zyx.dtype}"
        )
    return voxels_zyx


@contextmanager
def _appearing_whole(path: Path) -> Iterator[Path]:
    """Give a path to write to; what was written moves to `path` at the end, data files before the header.

    The folder's name is fixed, so that what a killed writer left behind is cleared by the next one.
    """
    folder = path.parent / f".{path.name}.unfinished"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder / path.name
        for file in sorted(folder.iterdir(), key=lambda file: file.name == path.name):
            file.replace(path.parent / file.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _last_line(error: RuntimeError) -> str:
    return str(error).strip().splitlines()[-1]
