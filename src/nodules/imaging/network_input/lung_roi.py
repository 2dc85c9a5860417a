"""The one way from a scan to what the network sees: training, segmentation and serving all pass here."""

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
    lungs, visible_zyx = lung_region(volume.with_voxels(lungs_zyx), params)
    return LungRoi(scan_on_grid(volume, lungs), lungs.voxels_zyx, visible_zyx)


def extract_everything(volume: Volume, params: LungRoiParams) -> LungRoi:
    """Resample a scan as `extract` does, with all of it visible: for excerpts in which no lungs can be found."""
    return extract(volume, np.ones(volume.shape_zyx, dtype=np.uint8), params)


def lung_region(lungs: Volume, params: LungRoiParams) -> tuple[Volume, NDArray[np.bool_]]:
    """Where the network looks, whichever slices of the scan it is shown.

    Parameters
    ----------
    lungs : Volume
        uint8 lung labels of the whole scan, on its grid.

    Returns
    -------
    lungs : Volume
        uint8 labels on the grid of the region (`roi_grid`).
    visible_zyx : (Z, Y, X) ndarray of bool
        The lungs and the margin around them, on the same grid.
    """
    grid = roi_grid(lungs, lungs.voxels_zyx, params)
    labels = resample_slices(lungs.voxels_zyx[covered_slices(lungs, grid)], lungs, grid, nearest=True)
    return grid.with_voxels(labels), dilate_mm(labels > 0, grid.spacing_zyx_mm, params.margin_mm)


def scan_on_grid(scan: Volume, grid: Volume) -> Volume:
    """HU of a whole scan on the grid of its region."""
    return grid.with_voxels(slices_on_grid(scan.voxels_zyx, np.arange(scan.shape_zyx[0]), scan, grid)[0])


def slices_on_grid(
    slices_zyx: NDArray[Any], slice_indices: NDArray[np.int64], scan: Volume, grid: Volume
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Bring slices of a scan to the grid of its region; those above and below the region are left out.

    Parameters
    ----------
    slices_zyx : (S, Y, X) ndarray
        All slices of the scan or some.
    slice_indices : (S,) ndarray of int64
        Ascending index in the scan of each of them.
    scan : Volume
        Supplies the scan's grid; its voxels are not looked at.
    grid : Volume
        Supplies that of the region.

    Returns
    -------
    (N, Y, X) ndarray, (N,) ndarray of int64
        The slices, resampled in-plane, and their indices in the region.
    """
    covered = covered_slices(scan, grid)
    inside = slice(*np.searchsorted(slice_indices, [covered.start, covered.stop]))
    return resample_slices(slices_zyx[inside], scan, grid), slice_indices[inside] - covered.start


def roi_grid(volume: Volume, lungs_zyx: NDArray[np.uint8], params: LungRoiParams) -> Volume:
    """The grid of the region: the scan's slices, `spacing_mm` in-plane, its voxels all 0 (uint8)."""
    return in_plane_grid(volume, _lung_box(lungs_zyx, volume.spacing_zyx_mm, params.margin_mm), params.spacing_mm)


def network_input(
    roi: LungRoi, indices: Sequence[int], params: LungRoiParams, context: ContextParams
) -> NDArray[np.float32]:
    """Inputs (len(indices), Y, X, C) in [0, 1] for the given slices of the region; 0 where a slice is not visible."""
    slice_mm, count = roi.scan.spacing_zyx_mm[0], roi.scan.shape_zyx[0]
    reaches = [slice_context.neighbours(int(index), context, slice_mm, count) for index in indices]
    needed = np.unique(np.concatenate(reaches))
    stacks = visible_stacks(roi.scan.voxels_zyx[needed], needed, roi.visible_zyx, indices, context, slice_mm)
    return normalise(np.stack(list(stacks)), roi.visible_zyx[list(indices)], params.window_hu)


def visible_stacks(
    slices_zyx: NDArray[np.int16],
    slice_indices: NDArray[np.int64],
    visible_zyx: NDArray[np.bool_],
    indices: Sequence[int],
    context: ContextParams,
    slice_mm: float,
) -> Iterator[NDArray[np.float32]]:
    """HU (Y, X, C) of slices of the region and their neighbours, each of them air where it is not visible.

    Parameters
    ----------
    slices_zyx : (S, Y, X) ndarray of int16
        HU of the slices at hand, on the region's grid.
    slice_indices : (S,) ndarray of int64
        Index in the region of each of them.
    visible_zyx : (Z, Y, X) ndarray of bool
        Of the whole region (`lung_region`).
    indices : sequence of int
        The slices wanted.
    slice_mm : float
        Distance between slices of the region.

    Raises
    ------
    KeyError
        If a neighbour that is needed is not at hand.
    """
    hidden = np.where(visible_zyx[slice_indices], slices_zyx, np.int16(AIR_HU))
    rows = {int(index): row for row, index in enumerate(slice_indices)}
    for index in indices:
        yield slice_context.stack(hidden, rows, int(index), context, slice_mm, len(visible_zyx))


def normalise(hu: NDArray[Any], visible: NDArray[np.bool_], window_hu: tuple[float, float]) -> NDArray[np.float32]:
    """HU (..., Y, X, C) to network inputs in [0, 1]; 0 where `visible` (..., Y, X) is not."""
    return window(hu, *window_hu) * visible[..., np.newaxis]


def _lung_box(
    lungs_zyx: NDArray[np.uint8], spacing_zyx_mm: tuple[float, float, float], margin_mm: float
) -> tuple[slice, slice, slice]:
    if not lungs_zyx.any():
        z, y, x = (slice(0, size) for size in lungs_zyx.shape)
        return z, y, x
    return bounding_box(lungs_zyx > 0, [int(np.ceil(margin_mm / spacing)) for spacing in spacing_zyx_mm])
