"""Nodule mask of a slice (the tutorial's "node mask"): the discs in which it cuts the annotated spheres."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nodules.imaging.geometry.spheres import draw_nodules
from nodules.imaging.geometry.volume import Volume
from nodules.tutorial.steps.defects import TutorialDefects
from nodules.tutorial.steps.nodule_slices import NoduleSlice, as_read


def node_mask(
    scan: Volume,
    wanted: NoduleSlice,
    centres_world_xyz: Sequence[Sequence[float]],
    diameters_mm: Sequence[float],
    defects: TutorialDefects,
) -> NDArray[np.bool_]:
    """Draw the nodules of one slice on the scan's own pixels.

    Parameters
    ----------
    scan : Volume
        The scan; only its geometry is used.
    wanted : NoduleSlice
        The slice and the nodules to draw.
    centres_world_xyz, diameters_mm
        Centre and diameter of every nodule of the scan.
    defects : TutorialDefects
        `diameter_taken_for_radius`, `pixel_indices_truncated` and `direction_ignored` change the mask.

    Returns
    -------
    (Y, X) ndarray of bool
        True where a pixel's centre lies within the radius of a nodule's centre; all False if the slice cuts no nodule.
    """
    grid = as_read(scan, direction_ignored=defects.direction_ignored)
    _, rows, columns = grid.shape_zyx
    plane = grid.crop((slice(wanted.z, wanted.z + 1), slice(0, rows), slice(0, columns)))
    scale = 2.0 if defects.diameter_taken_for_radius else 1.0
    drawn = draw_nodules(
        plane,
        [centres_world_xyz[nodule] for nodule in wanted.nodules],
        [scale * diameters_mm[nodule] for nodule in wanted.nodules],
    )
    mask = drawn[0] > 0
    return _truncated(mask, grid) if defects.pixel_indices_truncated else mask


def _truncated(mask_yx: NDArray[np.bool_], grid: Volume) -> NDArray[np.bool_]:
    """Move each pixel as the defect `pixel_indices_truncated` does: by at most one pixel towards the first index."""
    _, y_mm, x_mm = grid.spacing_zyx_mm
    x_origin_mm, y_origin_mm, _ = grid.origin_xyz_mm
    rows, columns = np.nonzero(mask_yx)
    moved = np.zeros_like(mask_yx)
    moved[_there_and_back(rows, y_mm, y_origin_mm), _there_and_back(columns, x_mm, x_origin_mm)] = True
    return moved


def _there_and_back(indices: NDArray[np.int64], spacing_mm: float, origin_mm: float) -> NDArray[np.int64]:
    return (((spacing_mm * indices + origin_mm) - origin_mm) / spacing_mm).astype(np.int64)
