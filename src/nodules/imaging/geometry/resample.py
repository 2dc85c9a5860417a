"""A coarser copy of a grid for work that needs no full resolution, and the way back to the full grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nodules.imaging.geometry.volume import Volume

MIN_SLICES = 32


@dataclass(frozen=True)
class WorkingGrid:
    """Block sizes that take a volume to a coarser grid.

    Attributes
    ----------
    full_shape_zyx : tuple of int
        Shape of the volume.
    block_zyx : tuple of int
        Voxels of the volume in one voxel of the coarse grid, along each axis.
    spacing_zyx_mm : tuple of float
        Spacing of the coarse grid.
    """

    full_shape_zyx: tuple[int, int, int]
    block_zyx: tuple[int, int, int]
    spacing_zyx_mm: tuple[float, float, float]

    @classmethod
    def of(cls, volume: Volume, spacing_mm: float) -> WorkingGrid:
        """Make the grid nearest to `spacing_mm` in plane; slices are averaged only when two fit into `spacing_mm`.

        Short stacks keep every slice: they are cheap, and may be chosen slices that are no neighbours in the patient.
        """
        z_mm, y_mm, x_mm = volume.spacing_zyx_mm
        slices = min(int(spacing_mm / z_mm + 1e-6), volume.shape_zyx[0] // MIN_SLICES)
        wanted = (slices, round(spacing_mm / y_mm), round(spacing_mm / x_mm))
        z, y, x = (max(1, min(block, size)) for block, size in zip(wanted, volume.shape_zyx, strict=True))
        return cls(volume.shape_zyx, (z, y, x), (z_mm * z, y_mm * y, x_mm * x))

    def part(self, box_zyx: tuple[slice, slice, slice]) -> tuple[WorkingGrid, tuple[slice, slice, slice]]:
        """Grid of a box of coarse voxels, and the box of the volume's voxels that it covers."""
        full_box = []
        for bounds, block, size in zip(box_zyx, self.block_zyx, self.full_shape_zyx, strict=True):
            stop = size if bounds.stop == size // block else bounds.stop * block
            full_box.append(slice(bounds.start * block, stop))
        z, y, x = full_box
        shape_zyx = (z.stop - z.start, y.stop - y.start, x.stop - x.start)
        return WorkingGrid(shape_zyx, self.block_zyx, self.spacing_zyx_mm), (z, y, x)

    def mean(self, voxels_zyx: NDArray[Any]) -> NDArray[np.float32]:
        """Average the blocks; voxels of an incomplete last block are left out."""
        total = voxels_zyx
        for axis, block in enumerate(self.block_zyx):
            total = _sum_blocks(total, axis, block)
        return total.astype(np.float32) / np.float32(np.prod(self.block_zyx))

    def upsample(self, coarse_zyx: NDArray[Any]) -> NDArray[np.float32]:
        """Values of the coarse grid at every voxel of the volume, linear between voxel centres, constant outside."""
        full = coarse_zyx.astype(np.float32)
        for axis in (2, 1, 0):  # the scattered writes along x first, while the array is small
            full = _interpolate(full, axis, self.block_zyx[axis], self.full_shape_zyx[axis])
        return full

    def repeat(self, coarse_zyx: NDArray[Any]) -> NDArray[Any]:
        """Value of the block to which each voxel of the volume belongs, or of the last block beyond it."""
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
    """Linear interpolation along one axis, one position within the blocks at a time."""
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
