"""Close-ups of nodules: HU, reference and prediction on one small grid about the nodule's centre."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nodules.imaging.geometry.volume import Volume
from nodules.imaging.network_input.lung_roi import resample_slices
from nodules.pictures.overlay import nodule_overlay
from nodules.scans.stores.slices import INSIDE, ScanSlices

SIDE_PX, PIXEL_MM = 160, 0.4  # 64 mm about the nodule


@dataclass(frozen=True)
class CloseUp:
    """One axial slice about a nodule, SIDE_PX pixels of PIXEL_MM a side.

    Attributes
    ----------
    hu_yx : (SIDE_PX, SIDE_PX) ndarray of int16
        HU.
    reference_yx, predicted_yx : (SIDE_PX, SIDE_PX) ndarray of bool
        Annotated and predicted nodules.
    title : str
        Diameter and series.
    """

    hu_yx: NDArray[np.int16]
    reference_yx: NDArray[np.bool_]
    predicted_yx: NDArray[np.bool_]
    title: str


def largest_nodule(stored: ScanSlices, predicted: Volume) -> CloseUp | None:
    """Cut out the largest nodule of a scan, on the middle one of the slices that cut it.

    Parameters
    ----------
    stored : ScanSlices
        At least one nodule.
    predicted : Volume
        Labels of predicted nodules in the same scan, on any grid with its axes; 0 is background.

    Returns
    -------
    CloseUp or None
        None if no stored slice cuts the nodule.
    """
    largest = int(stored.diameter_mm.argmax())
    rows = [int(row) for row, nodule in stored.nodule_numbers if nodule == largest]
    if not rows:
        return None
    row = rows[len(rows) // 2]
    index = int(stored.target_indices[row])
    scan = _scan_grid(stored)
    grid = _grid_about(scan, stored.centre_world_xyz[largest], index)
    hu = stored.voxels_zyx[[list(stored.slice_indices).index(index)]]
    reference = resample_slices(stored.nodule_masks_zyx[[row]], scan, grid, nearest=True)[0]
    return CloseUp(
        hu_yx=resample_slices(hu, scan, grid)[0],
        reference_yx=reference == INSIDE,
        predicted_yx=resample_slices(_slice_at(predicted, grid), predicted, grid, nearest=True)[0] > 0,
        title=f"{stored.diameter_mm[largest]:.0f} mm nodule, series ...{stored.seriesuid[-6:]}",
    )


def close_up_overlay(close_ups: Sequence[CloseUp]) -> Figure:
    """Draw reference and predicted outlines on each close-up; without any the figure is empty."""

    def stacked(name: str) -> NDArray[Any]:
        return np.asarray([getattr(one, name) for one in close_ups]).reshape(-1, SIDE_PX, SIDE_PX)

    hu, reference, predicted = (stacked(name) for name in ("hu_yx", "reference_yx", "predicted_yx"))
    return nodule_overlay(hu, reference, predicted, (PIXEL_MM, PIXEL_MM), [one.title for one in close_ups])


def _scan_grid(stored: ScanSlices) -> Volume:
    """The grid of the whole scan, without its voxels."""
    return Volume(
        np.empty((stored.scan_slices, *stored.voxels_zyx.shape[1:]), dtype=np.uint8),
        stored.spacing_zyx_mm,
        stored.origin_xyz_mm,
        stored.direction_xyz,
    )


def _grid_about(scan: Volume, centre_world_xyz: NDArray[np.float64], index: int) -> Volume:
    """The grid of a close-up on the slice `index` of a scan, with a point in the middle."""
    _, y, x = scan.world_to_voxel(centre_world_xyz)
    half_y, half_x = (PIXEL_MM * SIDE_PX / 2 / spacing for spacing in scan.spacing_zyx_mm[1:])
    corner_x, corner_y, corner_z = (float(v) for v in scan.voxel_to_world([index, y - half_y, x - half_x]))
    return Volume(
        np.empty((1, SIDE_PX, SIDE_PX), dtype=np.uint8),
        (scan.spacing_zyx_mm[0], PIXEL_MM, PIXEL_MM),
        (corner_x, corner_y, corner_z),
        scan.direction_xyz,
    )


def _slice_at(volume: Volume, grid: Volume) -> NDArray[Any]:
    """The slice (1, Y, X) of a volume nearest to a grid of one slice; zeros above and below the volume."""
    z = round(float(volume.world_to_voxel(grid.origin_xyz_mm)[0]))
    inside = 0 <= z < volume.shape_zyx[0]
    return volume.voxels_zyx[z : z + 1] if inside else np.zeros_like(volume.voxels_zyx[:1])
