"""Lung region of a scan as input of the U-Net, the same in training, segmentation and serving."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt
from numpy.typing import NDArray

from nodules.imaging.geometry.morphology import bounding_box
from nodules.imaging.geometry.resample import covered_slices, in_plane_grid, resample_slices
from nodules.imaging.geometry.volume import AIR_HU, Volume, window
from nodules.imaging.lungs.segment import dilate_mm
from nodules.imaging.network_input import slice_context
from nodules.imaging.network_input.slice_context import ContextParams


@dataclass(frozen=True)
class LungRoiParams:
    """Settings that convert a scan to network input.

    Attributes
    ----------
    spacing_mm : float
        In-plane pixel size of the region. The slice distance stays that of the scan.
    margin_mm : float
        Nodules are looked for in the lungs and this margin around them.
    masked_input : bool
        Whether the network sees air in place of everything outside. Its answer ends there in either case.
    window_hu : tuple of 2 float
        HU mapped to 0 and 1.
    """

    spacing_mm: Annotated[float, Gt(0)]
    margin_mm: Annotated[float, Ge(0)]
    masked_input: bool
    window_hu: tuple[float, float]


@dataclass(frozen=True)
class LungRoi:
    """A scan cropped to its lungs and resampled to the network's grid.

    Attributes
    ----------
    scan : Volume
        int16 HU.
    lungs_zyx : (Z, Y, X) ndarray of uint8
        Lung labels on the same grid: 0 background, 1 right lung, 2 left lung.
    visible_zyx : (Z, Y, X) ndarray of bool
        Mask of the lungs and the margin around them, in which nodules are looked for.
    """

    scan: Volume
    lungs_zyx: NDArray[np.uint8]
    visible_zyx: NDArray[np.bool_]


def extract(volume: Volume, lungs_zyx: NDArray[np.uint8], params: LungRoiParams) -> LungRoi:
    """Crop a scan to the box of the lungs and their margin, and resample it in-plane.

    Grid points lie on multiples of `spacing_mm` in world coordinates, so a cropped or padded copy of a scan gives the
    same samples. Without lungs the box is the whole scan and nothing is visible.

    Parameters
    ----------
    volume : Volume
        Scan, int16 HU.
    lungs_zyx : (Z, Y, X) ndarray of uint8
        Lung labels on the scan's grid.
    """
    lungs, visible_zyx = lung_region(volume.with_voxels(lungs_zyx), params)
    return LungRoi(scan_on_grid(volume, lungs), lungs.voxels_zyx, visible_zyx)


def extract_everything(volume: Volume, params: LungRoiParams) -> LungRoi:
    """Resample a scan as `extract` does, with all of it visible: for excerpts in which no lungs can be found."""
    return extract(volume, np.ones(volume.shape_zyx, dtype=np.uint8), params)


def lung_region(lungs: Volume, params: LungRoiParams) -> tuple[Volume, NDArray[np.bool_]]:
    """Compute the region in which nodules are looked for, from the lung labels of the whole scan.

    Parameters
    ----------
    lungs : Volume
        uint8 lung labels of the whole scan, on its grid.

    Returns
    -------
    lungs : Volume
        uint8 labels on the grid of the region (`roi_grid`).
    visible_zyx : (Z, Y, X) ndarray of bool
        Mask of the lungs and the margin around them, on the same grid.
    """
    grid = roi_grid(lungs, lungs.voxels_zyx, params)
    labels = resample_slices(lungs.voxels_zyx[covered_slices(lungs, grid)], lungs, grid, nearest=True)
    return grid.with_voxels(labels), dilate_mm(labels > 0, grid.spacing_zyx_mm, params.margin_mm)


def scan_on_grid(scan: Volume, grid: Volume) -> Volume:
    """Resample a whole scan to the grid of its region."""
    return grid.with_voxels(slices_on_grid(scan.voxels_zyx, np.arange(scan.shape_zyx[0]), scan, grid)[0])


def slices_on_grid(
    slices_zyx: NDArray[Any], slice_indices: NDArray[np.int64], scan: Volume, grid: Volume
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Resample slices of a scan to the grid of its region; slices above and below the region are dropped.

    Parameters
    ----------
    slices_zyx : (S, Y, X) ndarray
        All or some slices of the scan.
    slice_indices : (S,) ndarray of int64
        Index of each of these slices in the scan, ascending.
    scan : Volume
        Supplies the scan's grid; its voxels are not used.
    grid : Volume
        Supplies the grid of the region.

    Returns
    -------
    (N, Y, X) ndarray, (N,) ndarray of int64
        The slices, resampled in-plane, and their indices in the region.
    """
    covered = covered_slices(scan, grid)
    inside = slice(*np.searchsorted(slice_indices, [covered.start, covered.stop]))
    return resample_slices(slices_zyx[inside], scan, grid), slice_indices[inside] - covered.start


def roi_grid(volume: Volume, lungs_zyx: NDArray[np.uint8], params: LungRoiParams) -> Volume:
    """Grid of the region: slices of the scan, `spacing_mm` in-plane. Its voxels are all 0 (uint8)."""
    return in_plane_grid(volume, _lung_box(lungs_zyx, volume.spacing_zyx_mm, params.margin_mm), params.spacing_mm)


def network_input(
    roi: LungRoi, indices: Sequence[int], params: LungRoiParams, context: ContextParams
) -> NDArray[np.float32]:
    """Network inputs (len(indices), Y, X, C) in [0, 1] for slices of the region."""
    slice_mm, count = roi.scan.spacing_zyx_mm[0], roi.scan.shape_zyx[0]
    reaches = [slice_context.neighbours(int(index), context, slice_mm, count) for index in indices]
    needed = np.unique(np.concatenate(reaches))
    stacks = input_stacks(roi.scan.voxels_zyx[needed], needed, roi.visible_zyx, indices, params, context, slice_mm)
    return normalise(np.stack(list(stacks)), roi.visible_zyx[list(indices)], params)


def input_stacks(
    slices_zyx: NDArray[np.int16],
    slice_indices: NDArray[np.int64],
    visible_zyx: NDArray[np.bool_],
    indices: Sequence[int],
    params: LungRoiParams,
    context: ContextParams,
    slice_mm: float,
) -> Iterator[NDArray[np.float32]]:
    """Yield each slice with its neighbours as HU (Y, X, C), with air outside the visible mask if the input is masked.

    Parameters
    ----------
    slices_zyx : (S, Y, X) ndarray of int16
        HU of the available slices, on the region's grid.
    slice_indices : (S,) ndarray of int64
        Index of each of these slices in the region.
    visible_zyx : (Z, Y, X) ndarray of bool
        Visible mask of the whole region (`lung_region`).
    indices : sequence of int
        Slices of the region to yield.
    slice_mm : float
        Distance between slices of the region.

    Raises
    ------
    KeyError
        If a needed neighbour is not among the available slices.
    """
    shown = np.where(visible_zyx[slice_indices], slices_zyx, np.int16(AIR_HU)) if params.masked_input else slices_zyx
    rows = {int(index): row for row, index in enumerate(slice_indices)}
    for index in indices:
        yield slice_context.stack(shown, rows, int(index), context, slice_mm, len(visible_zyx))


def normalise(hu: NDArray[Any], visible: NDArray[np.bool_], params: LungRoiParams) -> NDArray[np.float32]:
    """Map HU (..., Y, X, C) to network inputs in [0, 1]; a masked input is 0 where `visible` (..., Y, X) is False."""
    mapped = window(hu, *params.window_hu)
    return mapped * visible[..., np.newaxis] if params.masked_input else mapped


def _lung_box(
    lungs_zyx: NDArray[np.uint8], spacing_zyx_mm: tuple[float, float, float], margin_mm: float
) -> tuple[slice, slice, slice]:
    if not lungs_zyx.any():
        z, y, x = (slice(0, size) for size in lungs_zyx.shape)
        return z, y, x
    return bounding_box(lungs_zyx > 0, [int(np.ceil(margin_mm / spacing)) for spacing in spacing_zyx_mm])
