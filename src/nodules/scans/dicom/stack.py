"""Decode the slices of a series one after another into one `Volume` along the axes of the body."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodules.imaging.geometry.reorient import canonical_axes, flipped_xy, onto_world_axes, resample_to_world_axes
from nodules.imaging.geometry.volume import AIR_HU, Volume
from nodules.scans.dicom.geometry import SliceGrid
from nodules.scans.dicom.headers import Slice
from nodules.scans.dicom.pixels import read_hu
from nodules.scans.dicom.source import FileSource
from nodules.scans.hu_range import examine_range
from nodules.scans.result import ScanError
from nodules.scans.volume_files.headers import MAX_SCAN_BYTES


@dataclass(frozen=True)
class DecodedStack:
    """A decoded volume, its repairs and its warnings.

    Attributes
    ----------
    volume : Volume
        int16 HU on canonical axes.
    repairs : tuple of str
        Messages about what was changed or resampled, without the repairs of the slice grid.
    warnings : tuple of str
        Messages about doubtful values.
    flipped_xy : tuple of bool, or None
        As in `Reading`.
    """

    volume: Volume
    repairs: tuple[str, ...]
    warnings: tuple[str, ...]
    flipped_xy: tuple[bool, bool] | None


def decode_stack(series: list[Slice], grid: SliceGrid, source: FileSource) -> DecodedStack:
    """Decode the slices onto a rectangular grid along the world axes.

    A tilted or oblique grid is resampled. A grid that is nearly aligned with the world axes keeps its voxels.

    Parameters
    ----------
    series : list of Slice
        Sorted along the slice normal.
    grid : SliceGrid
        The evenly spaced stack that the slices form.
    source : FileSource
        Source of the files.

    Raises
    ------
    ScanError
        If a slice cannot be decoded or its size differs from its header, the values cannot be HU, or the stack would be
        too large.
    """
    voxels_zyx = _decoded(series, grid.places, source)
    finding = examine_range(voxels_zyx)
    if finding.refusal:
        raise ScanError(f"{source.label}: {finding.refusal}")
    if finding.offset_hu:
        voxels_zyx -= np.int16(finding.offset_hu)
        np.maximum(voxels_zyx, AIR_HU, out=voxels_zyx)
    try:
        volume, turned = _upright(voxels_zyx, grid)
    except ValueError as error:
        raise ScanError(f"{source.label}: unusable geometry: {error}") from error
    repairs = [finding.repair, turned]
    directions = grid.steps_xyz_mm / np.linalg.norm(grid.steps_xyz_mm, axis=0)
    return DecodedStack(
        volume,
        tuple(filter(None, repairs)),
        (finding.warning,) if finding.warning else (),
        None if grid.tilt_degrees else flipped_xy(directions),
    )


def _upright(voxels_zyx: NDArray[np.int16], grid: SliceGrid) -> tuple[Volume, str | None]:
    if grid.tilt_degrees:
        return onto_world_axes(voxels_zyx, grid.origin_xyz_mm, grid.steps_xyz_mm), None
    volume, degrees = resample_to_world_axes(canonical_axes(_rectangular(voxels_zyx, grid)))
    repair = f"the grid was {degrees:.1f} degrees off the axes of the body; resampled along them"
    return volume, repair if degrees else None


def _decoded(series: list[Slice], places: NDArray[np.float64], source: FileSource) -> NDArray[np.int16]:
    shape_yx = series[0].shape_yx
    if len(places) * math.prod(shape_yx) * 2 > MAX_SCAN_BYTES:
        raise ScanError(
            f"{source.label}: {len(places)} slices of {shape_yx} are over the limit of {MAX_SCAN_BYTES} bytes"
        )
    voxels_zyx = np.empty((len(places), *shape_yx), dtype=np.int16)
    recent: dict[int, NDArray[np.int16]] = {}
    for z, place in enumerate(places):
        below = int(place)
        needed = [below] if place == below else [below, below + 1]
        recent = {k: recent[k] if k in recent else _read(series[k], source) for k in needed}
        voxels_zyx[z] = recent[below] if place == below else _interpolated(recent, place)
    return voxels_zyx


def _interpolated(neighbours: dict[int, NDArray[np.int16]], place: float) -> NDArray[np.int16]:
    below, above = sorted(neighbours)
    share = np.float32(place - below)
    mixed = neighbours[below] * (1 - share) + neighbours[above] * share
    return np.rint(mixed).astype(np.int16)


def _read(item: Slice, source: FileSource) -> NDArray[np.int16]:
    hu = read_hu(source, item.name, item.frame)
    if hu.shape != item.shape_yx:
        raise ScanError(
            f"{source.label}: {item.display_name} holds {hu.shape} pixels, but its header states "
            f"{item.shape_yx}; get it again"
        )
    return hu


def _rectangular(voxels_zyx: NDArray[np.int16], grid: SliceGrid) -> Volume:
    spacing_x_mm, spacing_y_mm, spacing_z_mm = (float(mm) for mm in np.linalg.norm(grid.steps_xyz_mm, axis=0))
    direction = grid.steps_xyz_mm / [spacing_x_mm, spacing_y_mm, spacing_z_mm]
    return Volume(
        voxels_zyx=voxels_zyx,
        spacing_zyx_mm=(spacing_z_mm, spacing_y_mm, spacing_x_mm),
        origin_xyz_mm=grid.origin_xyz_mm,
        direction_xyz=tuple(float(v) for v in direction.ravel()),
    )
