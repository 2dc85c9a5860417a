"""The one way from a scan to what the network sees: training, segmentation and serving all pass here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt
from numpy.typing import NDArray
from scipy import ndimage

from nodules.imaging.geometry.volume import AIR_HU, Volume, window
from nodules.imaging.lungs.segment import dilate_mm
from nodules.imaging.network_input import slice_context
from nodules.imaging.network_input.slice_context import ContextParams


@dataclass(frozen=True)
class LungRoiParams:
    """How a scan is presented to the network.

    Attributes
    ----------
    spacing_mm : float
        In-plane pixel size of the region; slices keep their own distance.
    margin_mm : float
        The network sees the lungs and this much around them; everything else is air.
    window_hu : tuple of 2 float
        HU mapped to 0 and 1.
    """

    spacing_mm: Annotated[float, Gt(0)]
    margin_mm: Annotated[float, Ge(0)]
    window_hu: tuple[float, float]


@dataclass(frozen=True)
class LungRoi:
    """A scan cut to its lungs on the network's grid.

    Attributes
    ----------
    scan : Volume
        int16 HU.
    lungs_zyx : (Z, Y, X) ndarray of uint8
        Labels on the same grid: 0 elsewhere, 1 right lung, 2 left lung.
    visible_zyx : (Z, Y, X) ndarray of bool
        The lungs and the margin around them.
    """

    scan: Volume
    lungs_zyx: NDArray[np.uint8]
    visible_zyx: NDArray[np.bool_]


def extract(volume: Volume, lungs_zyx: NDArray[np.uint8], params: LungRoiParams) -> LungRoi:
    """Cut the box of the lungs and their margin out of a scan, resampled in-plane.

    Grid points lie on multiples of `spacing_mm` in the world, so that a cropped or padded copy of a scan gives the
    same samples. Without any lung the box is the whole scan and nothing is visible.

    Parameters
    ----------
    volume : Volume
        The scan, int16 HU.
    lungs_zyx : (Z, Y, X) ndarray of uint8
        Lung labels on the scan's grid.
    """
    grid = roi_grid(volume, lungs_zyx, params)
    first = round(float(volume.world_to_voxel(grid.origin_xyz_mm)[0]))
    slices = slice(first, first + grid.shape_zyx[0])
    lungs = resample_slices(lungs_zyx[slices], volume, grid, nearest=True)
    scan = resample_slices(volume.voxels_zyx[slices], volume, grid)
    return LungRoi(grid.with_voxels(scan), lungs, dilate_mm(lungs > 0, grid.spacing_zyx_mm, params.margin_mm))


def roi_grid(volume: Volume, lungs_zyx: NDArray[np.uint8], params: LungRoiParams) -> Volume:
    """The grid of the region: the scan's slices, `spacing_mm` in-plane, its voxels all 0 (uint8)."""
    box = _lung_box(volume, lungs_zyx, params.margin_mm)
    axis_x, axis_y, axis_z = np.asarray(volume.direction_xyz, dtype=float).reshape(3, 3).T
    starts, counts = [], []
    for axis, part, spacing in ((axis_y, box[1], volume.spacing_zyx_mm[1]), (axis_x, box[2], volume.spacing_zyx_mm[2])):
        along = float(np.dot(volume.origin_xyz_mm, axis))  # world position of index 0 along this axis
        low, high = along + part.start * spacing, along + (part.stop - 1) * spacing
        first = np.ceil(low / params.spacing_mm - 1e-6)
        starts.append(first * params.spacing_mm)
        counts.append(max(1, int(np.floor(high / params.spacing_mm + 1e-6) - first) + 1))
    slice_z = float(np.dot(volume.voxel_to_world([box[0].start, 0, 0]), axis_z))
    x, y, z = (float(v) for v in starts[1] * axis_x + starts[0] * axis_y + slice_z * axis_z)
    return Volume(
        voxels_zyx=np.zeros((box[0].stop - box[0].start, *counts), dtype=np.uint8),
        spacing_zyx_mm=(volume.spacing_zyx_mm[0], params.spacing_mm, params.spacing_mm),
        origin_xyz_mm=(x, y, z),
        direction_xyz=volume.direction_xyz,
    )


def resample_slices(slices_zyx: NDArray[Any], source: Volume, target: Volume, *, nearest: bool = False) -> NDArray[Any]:
    """Resample slices in-plane from the grid of `source` to that of `target`; z is left as it is.

    Linear interpolation after a Gaussian that removes what the coarser grid cannot hold (sigma of half the source
    pixels that fall into one target pixel, in quadrature), or the nearest pixel for labels.
    """
    offset = source.world_to_voxel(target.origin_xyz_mm)[1:]
    ratio = np.asarray(target.spacing_zyx_mm[1:]) / np.asarray(source.spacing_zyx_mm[1:])
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


def network_input(
    roi: LungRoi, indices: Sequence[int], params: LungRoiParams, context: ContextParams
) -> NDArray[np.float32]:
    """Inputs (len(indices), Y, X, C) in [0, 1] for the given slices of the region; 0 where a slice is not visible."""
    slice_mm, count = roi.scan.spacing_zyx_mm[0], roi.scan.shape_zyx[0]
    reaches = [slice_context.neighbours(int(index), context, slice_mm, count) for index in indices]
    needed = np.unique(np.concatenate(reaches))
    hidden = np.where(roi.visible_zyx[needed], roi.scan.voxels_zyx[needed], np.int16(AIR_HU))
    rows = {int(index): row for row, index in enumerate(needed)}
    stacks = [slice_context.stack(hidden, rows, int(index), context, slice_mm, count) for index in indices]
    return normalise(np.stack(stacks), roi.visible_zyx[list(indices)], params.window_hu)


def normalise(hu: NDArray[Any], visible: NDArray[np.bool_], window_hu: tuple[float, float]) -> NDArray[np.float32]:
    """HU (..., Y, X, C) to network inputs in [0, 1]; 0 where `visible` (..., Y, X) is not."""
    return window(hu, *window_hu) * visible[..., np.newaxis]


def to_scan_grid(values: Volume, scan: Volume) -> Volume:
    """Bring a map on the region's grid back to the scan's own grid by the nearest pixel; 0 outside the region."""
    first = round(float(scan.world_to_voxel(values.origin_xyz_mm)[0]))
    result = np.zeros(scan.shape_zyx, dtype=values.voxels_zyx.dtype)
    offset = values.world_to_voxel(scan.voxel_to_world([first, 0, 0]))[1:]
    ratio = np.asarray(scan.spacing_zyx_mm[1:]) / np.asarray(values.spacing_zyx_mm[1:])
    for image, out in zip(values.voxels_zyx, result[first:], strict=False):
        # "constant" would drop the outer half of the pixels on the region's edge.
        ndimage.affine_transform(image, ratio, offset, out.shape, out, order=0, mode="grid-constant")
    return scan.with_voxels(result)


def _lung_box(volume: Volume, lungs_zyx: NDArray[np.uint8], margin_mm: float) -> tuple[slice, slice, slice]:
    found = ndimage.find_objects((lungs_zyx > 0).astype(np.uint8))
    if not found:
        z, y, x = (slice(0, size) for size in volume.shape_zyx)
        return z, y, x
    box = []
    for part, spacing, size in zip(found[0], volume.spacing_zyx_mm, volume.shape_zyx, strict=True):
        margin = int(np.ceil(margin_mm / spacing))
        box.append(slice(max(0, part.start - margin), min(size, part.stop + margin)))
    z, y, x = box
    return z, y, x
