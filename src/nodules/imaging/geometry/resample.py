"""Resampling of scans: in-plane to another pixel size, or to a coarser working grid and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nodules.imaging.geometry.volume import Volume

MIN_SLICES = 32  # stacks with fewer slices are short; see `WorkingGrid.of`


def in_plane_grid(volume: Volume, box_zyx: tuple[slice, slice, slice], pixel_mm: float) -> Volume:
    """Make a grid with square pixels inside a box of a volume; the slice positions do not change.

    Pixel centres lie on multiples of `pixel_mm` in world coordinates, so a cropped or padded copy of the volume has
    the same pixels.

    Parameters
    ----------
    volume : Volume
        Supplies the geometry; its voxels are not used.
    box_zyx : tuple of slice
        Box of voxels of the volume.
    pixel_mm : float
        In-plane pixel size. The grid has at least one pixel along each axis.

    Returns
    -------
    Volume
        Grid whose voxels are all 0 (uint8).
    """
    axis_x, axis_y, axis_z = np.asarray(volume.direction_xyz, dtype=float).reshape(3, 3).T
    starts, counts = [], []
    for axis, part, spacing_mm in (
        (axis_y, box_zyx[1], volume.spacing_zyx_mm[1]),
        (axis_x, box_zyx[2], volume.spacing_zyx_mm[2]),
    ):
        along = float(np.dot(volume.origin_xyz_mm, axis))  # world position of index 0 along this axis
        low, high = along + part.start * spacing_mm, along + (part.stop - 1) * spacing_mm
        first = np.ceil(low / pixel_mm - 1e-6)
        starts.append(first * pixel_mm)
        counts.append(max(1, int(np.floor(high / pixel_mm + 1e-6) - first) + 1))
    slice_z = float(np.dot(volume.voxel_to_world([box_zyx[0].start, 0, 0]), axis_z))
    x, y, z = (float(v) for v in starts[1] * axis_x + starts[0] * axis_y + slice_z * axis_z)
    return Volume(
        voxels_zyx=np.zeros((box_zyx[0].stop - box_zyx[0].start, *counts), dtype=np.uint8),
        spacing_zyx_mm=(volume.spacing_zyx_mm[0], pixel_mm, pixel_mm),
        origin_xyz_mm=(x, y, z),
        direction_xyz=volume.direction_xyz,
    )


def covered_slices(whole: Volume, part: Volume) -> slice:
    """Slices of `whole` that coincide with those of `part`; both grids share axes and slice distance."""
    first = round(float(whole.world_to_voxel(part.origin_xyz_mm)[0]))
    return slice(first, first + part.shape_zyx[0])


def resample_slices(slices_zyx: NDArray[Any], source: Volume, target: Volume, *, nearest: bool = False) -> NDArray[Any]:
    """Resample slices in-plane from the grid of `source` to that of `target`; z does not change.

    Images are smoothed by a Gaussian against aliasing and then interpolated linearly. With r source pixels per target
    pixel, sigma is sqrt(r^2 - 1) / 2 source pixels. Labels (`nearest`) take the nearest pixel.
    """
    ratio, offset = _in_plane_map(source, target)
    sigma = 0.5 * np.sqrt(np.maximum(ratio**2 - 1, 0))
    resampled = np.empty((len(slices_zyx), *target.shape_zyx[1:]), dtype=slices_zyx.dtype)
    for image, out in zip(slices_zyx, resampled, strict=True):
        if nearest:
            ndimage.affine_transform(image, ratio, offset, out.shape, out, order=0, mode="nearest")
            continue
        smooth = ndimage.gaussian_filter(image.astype(np.float32), sigma, mode="nearest")
        values = ndimage.affine_transform(smooth, ratio, offset, out.shape, order=1, mode="nearest")
        out[...] = np.rint(values) if np.issubdtype(out.dtype, np.integer) else values
    return resampled


def to_scan_grid(values: Volume, scan: Volume) -> Volume:
    """Bring a map on an `in_plane_grid` of a scan back to the scan's own grid by the nearest pixel; 0 outside of it."""
    slices = covered_slices(scan, values)
    result = np.zeros(scan.shape_zyx, dtype=values.voxels_zyx.dtype)
    ratio, offset = _in_plane_map(values, scan, slices.start)
    for image, out in zip(values.voxels_zyx, result[slices], strict=True):
        # "constant" would drop the outer half of the pixels on the map's edge.
        ndimage.affine_transform(image, ratio, offset, out.shape, out, order=0, mode="grid-constant")
    return scan.with_voxels(result)


def nearest_voxels(source: Volume, target: Volume) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Find the voxel of `source` that is nearest to each voxel of `target`; the grids need not share anything.

    Returns
    -------
    inside : (Z, Y, X) ndarray of bool
        On the grid of `target`: whether the nearest place lies in `source`.
    voxels_zyx : (N, 3) ndarray of int64
        Indices in `source`, for the voxels that lie inside, in their order.
    """
    places_xyz = target.voxel_to_world(np.moveaxis(np.indices(target.shape_zyx), 0, -1))
    nearest = np.rint(source.world_to_voxel(places_xyz)).astype(np.int64)
    inside: NDArray[np.bool_] = np.all((nearest >= 0) & (nearest < np.asarray(source.shape_zyx)), axis=-1)
    return inside, nearest[inside]


def _in_plane_map(
    source: Volume, target: Volume, target_slice: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ratio and offset (y, x) that take pixels of a slice of `target` to pixels of `source`."""
    offset = source.world_to_voxel(target.voxel_to_world([target_slice, 0, 0]))[1:]
    return np.asarray(target.spacing_zyx_mm[1:]) / np.asarray(source.spacing_zyx_mm[1:]), offset


@dataclass(frozen=True)
class WorkingGrid:
    """A coarser grid whose voxels are blocks of a volume's voxels.

    Attributes
    ----------
    full_shape_zyx : tuple of int
        Shape of the volume.
    block_zyx : tuple of int
        Number of the volume's voxels in one coarse voxel, along each axis.
    spacing_zyx_mm : tuple of float
        Spacing of the coarse grid.
    """

    full_shape_zyx: tuple[int, int, int]
    block_zyx: tuple[int, int, int]
    spacing_zyx_mm: tuple[float, float, float]

    @classmethod
    def of(cls, volume: Volume, spacing_mm: float) -> WorkingGrid:
        """Make the grid closest to `spacing_mm` in-plane; slices are averaged only if two fit into `spacing_mm`.

        Stacks of fewer than 2 x `MIN_SLICES` slices keep every slice: they take little time, and their slices may be
        a selection that is not adjacent in the patient.
        """
        z_mm, y_mm, x_mm = volume.spacing_zyx_mm
        slices = min(int(spacing_mm / z_mm + 1e-6), volume.shape_zyx[0] // MIN_SLICES)
        blocks = (slices, round(spacing_mm / y_mm), round(spacing_mm / x_mm))
        z, y, x = (max(1, min(block, size)) for block, size in zip(blocks, volume.shape_zyx, strict=True))
        return cls(volume.shape_zyx, (z, y, x), (z_mm * z, y_mm * y, x_mm * x))

    def part(self, box_zyx: tuple[slice, slice, slice]) -> tuple[WorkingGrid, tuple[slice, slice, slice]]:
        """Grid of a box of coarse voxels, and the box of full-resolution voxels that it covers."""
        full_box = []
        for bounds, block, size in zip(box_zyx, self.block_zyx, self.full_shape_zyx, strict=True):
            stop = size if bounds.stop == size // block else bounds.stop * block
            full_box.append(slice(bounds.start * block, stop))
        z, y, x = full_box
        shape_zyx = (z.stop - z.start, y.stop - y.start, x.stop - x.start)
        return WorkingGrid(shape_zyx, self.block_zyx, self.spacing_zyx_mm), (z, y, x)

    def mean(self, voxels_zyx: NDArray[Any]) -> NDArray[np.float32]:
        """Average each block; voxels of an incomplete last block are ignored."""
        total = voxels_zyx
        for axis, block in enumerate(self.block_zyx):
            total = _sum_blocks(total, axis, block)
        return total.astype(np.float32) / np.float32(np.prod(self.block_zyx))

    def upsample(self, coarse_zyx: NDArray[Any]) -> NDArray[np.float32]:
        """Interpolate coarse values linearly at every voxel of the volume; constant beyond the outermost centres."""
        full = coarse_zyx.astype(np.float32)
        for axis in (2, 1, 0):  # x first: its scattered writes are cheapest while the array is small
            full = _interpolate(full, axis, self.block_zyx[axis], self.full_shape_zyx[axis])
        return full

    def repeat(self, coarse_zyx: NDArray[Any]) -> NDArray[Any]:
        """Give each voxel of the volume the value of its block, or of the last block if it lies beyond it."""
        full = coarse_zyx
        for axis in (2, 1, 0):
            times = np.full(full.shape[axis], self.block_zyx[axis])
            times[-1] += self.full_shape_zyx[axis] - times.sum()
            full = np.repeat(full, times, axis)
        return full


def _sum_blocks(voxels_zyx: NDArray[Any], axis: int, block: int) -> NDArray[Any]:
    if block == 1:
        return voxels_zyx
    stop = voxels_zyx.shape[axis] // block * block
    total: NDArray[Any] | None = None
    for start in range(block):
        part = voxels_zyx[(slice(None),) * axis + (slice(start, stop, block),)]
        total = part.astype(np.result_type(part, np.int32)) if total is None else np.add(total, part, out=total)
    return total if total is not None else voxels_zyx


def _interpolate(values_zyx: NDArray[np.float32], axis: int, block: int, size: int) -> NDArray[np.float32]:
    """Interpolate linearly along one axis, for one position within all blocks at a time."""
    if block == 1:
        return values_zyx
    values = np.moveaxis(values_zyx, axis, 0)
    before, after = np.concatenate([values[:1], values[:-1]]), np.concatenate([values[1:], values[-1:]])
    full = np.empty((*values_zyx.shape[:axis], size, *values_zyx.shape[axis + 1 :]), dtype=np.float32)
    target = np.moveaxis(full, axis, 0)
    for place in range(block):
        shift = np.float32((place + 0.5) / block - 0.5)
        neighbour = before if shift < 0 else after
        target[place : len(values) * block : block] = values + abs(shift) * (neighbour - values)
    target[len(values) * block :] = values[-1]
    return full
