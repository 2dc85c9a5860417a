"""Read a scan or a mask from one MetaImage, NIfTI or NRRD file into a `Volume` with its true geometry."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from nodules.imaging.geometry.reorient import canonical_axes, flipped_xy, onto_world_axes, resample_to_world_axes
from nodules.imaging.geometry.volume import AIR_HU, MAX_HU, Volume
from nodules.scans.hu_range import examine_range
from nodules.scans.result import Reading, ReadingParams, ScanError
from nodules.scans.volume_files.completeness import (
    NOT_FINITE,
    check_finite_nifti,
    check_metaimage,
    check_nifti,
    check_nrrd,
)
from nodules.scans.volume_files.content import KINDS, check_content, volume_suffix
from nodules.scans.volume_files.headers import MAX_SCAN_BYTES
from nodules.scans.volume_files.stated_geometry import check_stated_geometry

_SHEARED = "its axes are not at right angles (a tilted gantry?); resample it onto a rectangular grid first"
_COSINE_TOLERANCE = 1e-3
_NIFTI_FLOATS = {"16": 4, "64": 8}  # code of the data type to its size in bytes


def read_volume(path: Path, params: ReadingParams) -> Reading:
    """Read a CT scan from one file (`VOLUME_SUFFIXES`).

    Parameters
    ----------
    path : Path
        The file. For `.mhd` it is the header, and the data file lies beside it.
    params : ReadingParams
        Gives the largest gantry tilt (axes that are not at right angles) that is straightened. NIfTI files with a tilt
        are always refused.

    Returns
    -------
    Reading
        int16 HU on canonical axes along the body, rounded, clipped to [`AIR_HU`, `MAX_HU`].

    Raises
    ------
    ScanError
        If the file is missing, damaged or of another format than its suffix; if it is not a 3-D image of one value per
        voxel; if it is tilted too far, does not state its voxel size, or holds NaN or values that are not HU
        (`hu_range.examine_range`).
    """
    stored = _read(path)
    warnings = check_stated_geometry(path, stored.header)
    _check_finite(stored, path)
    finding = examine_range(stored.values_zyx)
    if finding.refusal:
        raise ScanError(f"{path}: {finding.refusal}")
    hu = _to_hu(stored.values_zyx, finding.offset_hu)
    kept, grid = stored.repairs, stored.grid
    del stored  # halves the peak memory
    volume, turned = _set_upright(hu, grid, params, path)
    return Reading(
        volume,
        kind=KINDS[volume_suffix(path) or ""],
        repairs=tuple(text for text in [*kept, finding.repair, turned] if text),
        warnings=tuple(text for text in [*warnings, finding.warning] if text),
        flipped_xy=None if grid.skew_degrees else flipped_xy(grid.direction),
    )


def read_mask(path: Path) -> Volume:
    """Read a mask, label map or probability map with its stored type and values, on canonical axes.

    Raises
    ------
    ScanError
        If the file is missing, damaged, or not a 3-D image of one value per voxel.
    """
    stored = _read(path)
    if stored.grid.skew_degrees:
        raise ScanError(f"{path}: {_SHEARED}")
    return canonical_axes(_volume(stored.values_zyx.copy(), stored.grid, path))


@dataclass(frozen=True)
class _Grid:
    """Geometry of the voxels; the columns of `direction` point along index x, y and z."""

    spacing_xyz_mm: tuple[float, ...]
    origin_xyz_mm: tuple[float, ...]
    direction: NDArray[np.float64]

    @property
    def skew_degrees(self) -> float:
        """Largest deviation of two axes from a right angle; 0 within rounding."""
        columns = self.direction / np.linalg.norm(self.direction, axis=0)
        cosines = np.abs(columns.T @ columns - np.eye(3))
        return float(np.degrees(np.arcsin(min(1.0, cosines.max())))) if cosines.max() > _COSINE_TOLERANCE else 0.0


@dataclass(frozen=True)
class _Stored:
    """An image as ITK read it; `values_zyx` may be a view of `image`, which must stay alive."""

    image: SimpleITK.Image
    header: SimpleITK.ImageFileReader
    values_zyx: NDArray[Any]
    grid: _Grid
    repairs: tuple[str, ...]


def _read(path: Path) -> _Stored:
    check_content(path)
    if path.name.lower().endswith((".mhd", ".mha")):
        check_metaimage(path)
    elif path.name.lower().endswith(".nrrd"):
        check_nrrd(path)
    header = _open(path)
    if _is_nifti(header):
        check_nifti(path, _nifti_bytes(header))
    try:
        image = header.Execute()
    except RuntimeError as error:
        if "direction" in str(error) or "spacing" in str(error):
            raise ScanError(
                f"{path}: unusable geometry: spacing and directions must span space; correct them"
            ) from error
        raise ScanError(f"{path}: damaged: {_last_line(error)}; get the file again") from error
    values = SimpleITK.GetArrayViewFromImage(image).reshape(image.GetSize()[2::-1])
    if values.dtype.kind not in "iuf":
        raise ScanError(f"{path}: expected real numbers, got {image.GetPixelIDTypeAsString()}; save a single CT scan")
    if inter := _unused_intercept(header):
        values = values - inter
    return _Stored(image, header, values, _grid(image), _single_time(header))


def _open(path: Path) -> SimpleITK.ImageFileReader:
    """Read the header only, and refuse anything but a 3-D scalar image of acceptable size."""
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        if "orthonormal" in str(error):
            raise ScanError(f"{path}: {_SHEARED}") from error
        raise ScanError(f"{path}: no readable header: {_last_line(error)}; get the file again") from error
    size = reader.GetSize()
    if len(size) < 3 or math.prod(size[3:]) != 1 or reader.GetNumberOfComponents() != 1 or 0 in size:
        raise ScanError(
            f"{path}: expected a 3-D image of one value per voxel, got size {tuple(size)} "
            f"of {reader.GetNumberOfComponents()} value(s); save a single 3-D scan"
        )
    if math.prod(size) * _bytes_per_value(reader) > MAX_SCAN_BYTES:
        raise ScanError(f"{path}: its header claims {tuple(size)} voxels, over the limit of {MAX_SCAN_BYTES} bytes")
    return reader


def _grid(image: SimpleITK.Image) -> _Grid:
    axes = image.GetDimension()
    direction = np.reshape(image.GetDirection(), (axes, axes))[:3, :3]
    return _Grid(image.GetSpacing()[:3], image.GetOrigin()[:3], direction)


def _set_upright(
    hu_zyx: NDArray[np.int16], grid: _Grid, params: ReadingParams, path: Path
) -> tuple[Volume, str | None]:
    """Align the grid with the axes of the body; also return the repair if this needs resampling."""
    skew_degrees = grid.skew_degrees
    if skew_degrees > params.max_tilt_degrees:
        raise ScanError(
            f"{path}: {_SHEARED}: {skew_degrees:.1f} degrees off, over the limit of {params.max_tilt_degrees:g} "
            "(max_tilt_degrees)"
        )
    turned = None if skew_degrees else canonical_axes(_volume(hu_zyx, grid, path))
    try:
        if turned is None:
            straight = onto_world_axes(hu_zyx, grid.origin_xyz_mm, grid.direction * np.array(grid.spacing_xyz_mm))
            return straight, f"gantry tilt of {skew_degrees:.1f} degrees straightened"
        volume, degrees = resample_to_world_axes(turned)
    except ValueError as error:
        raise ScanError(f"{path}: its grid is oblique and cannot be resampled: {error}") from error
    repair = f"the grid was {degrees:.1f} degrees off the axes of the body; resampled along them"
    return volume, repair if degrees else None


def _volume(voxels_zyx: NDArray[Any], grid: _Grid, path: Path) -> Volume:
    spacing_x_mm, spacing_y_mm, spacing_z_mm = grid.spacing_xyz_mm
    x, y, z = grid.origin_xyz_mm
    try:
        return Volume(
            voxels_zyx=voxels_zyx,
            spacing_zyx_mm=(spacing_z_mm, spacing_y_mm, spacing_x_mm),
            origin_xyz_mm=(x, y, z),
            direction_xyz=tuple(float(v) for v in grid.direction.ravel()),
        )
    except ValueError as error:
        raise ScanError(f"{path}: unusable geometry: {error}") from error


def _check_finite(stored: _Stored, path: Path) -> None:
    if stored.values_zyx.dtype.kind != "f":
        return
    if not all(np.isfinite(plane).all() for plane in stored.values_zyx):
        raise ScanError(f"{path}: {NOT_FINITE}")
    value_bytes = _NIFTI_FLOATS.get(stored.header.GetMetaData("datatype")) if _is_nifti(stored.header) else None
    if value_bytes:
        start = int(float(stored.header.GetMetaData("vox_offset")))
        check_finite_nifti(path, start, stored.values_zyx.size * value_bytes, value_bytes)


def _to_hu(values_zyx: NDArray[Any], offset_hu: int) -> NDArray[np.int16]:
    hu = np.empty(values_zyx.shape, np.int16)
    for plane, values in zip(hu, values_zyx, strict=True):  # slice by slice, to avoid a second copy of the scan
        limits = np.iinfo(values.dtype) if values.dtype.kind in "iu" else np.finfo(values.dtype)
        low, high = max(AIR_HU + offset_hu, limits.min), min(MAX_HU + offset_hu, limits.max)
        plane[:] = np.rint(np.clip(values, low, high)) - offset_hu
    return hu


def _single_time(header: SimpleITK.ImageFileReader) -> tuple[str, ...]:
    is_4d = header.GetDimension() > 3 or (header.HasMetaDataKey("dim[0]") and int(header.GetMetaData("dim[0]")) > 3)
    has_list = header.HasMetaDataKey("NRRD_pixel_original_axis")
    return ("a fourth axis of one time point was dropped",) if is_4d or has_list else ()


def _bytes_per_value(header: SimpleITK.ImageFileReader) -> int:
    return int(SimpleITK.Image([1, 1], header.GetPixelID()).GetSizeOfPixelComponent())


def _unused_intercept(header: SimpleITK.ImageFileReader) -> float:
    """Return the intercept that ITK added although a slope of 0 means no scaling (NIfTI-1); NaN also reads as 0."""
    if not _is_nifti(header):
        return 0.0
    slope, inter = (float(header.GetMetaData(key)) for key in ("scl_slope", "scl_inter"))
    return inter if slope == 0 else 0.0


def _is_nifti(header: SimpleITK.ImageFileReader) -> bool:
    return bool(header.HasMetaDataKey("bitpix"))


def _nifti_bytes(header: SimpleITK.ImageFileReader) -> int:
    voxel_bytes = math.prod(header.GetSize()) * int(header.GetMetaData("bitpix")) // 8
    return voxel_bytes + int(float(header.GetMetaData("vox_offset")))


def _last_line(error: RuntimeError) -> str:
    return str(error).strip().splitlines()[-1]
