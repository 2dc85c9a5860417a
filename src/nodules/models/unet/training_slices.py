"""The extracted slices of one scan and its lungs, brought to the network's grid for training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nodules.imaging.geometry.volume import AIR_HU, Volume
from nodules.imaging.lungs.segment import dilate_mm
from nodules.imaging.network_input import slice_context
from nodules.imaging.network_input.lung_roi import LungRoiParams, resample_slices, roi_grid
from nodules.imaging.network_input.slice_context import ContextParams
from nodules.models.unet.sampling import SliceSet
from nodules.scans.stores.slices import BESIDE, INSIDE, ScanSlices


def slice_set(slices: ScanSlices, lungs: Volume, params: LungRoiParams, context: ContextParams) -> SliceSet:
    """Same region, same pixels, same context as `lung_roi.network_input` gives for the whole scan.

    Parameters
    ----------
    slices : ScanSlices
        The stored slices; target slices above or below the lungs' region are left out.
    lungs : Volume
        uint8 lung labels of the whole scan.
    """
    grid = roi_grid(lungs, lungs.voxels_zyx, params)
    first = round(float(lungs.world_to_voxel(grid.origin_xyz_mm)[0]))
    count = grid.shape_zyx[0]
    lungs_zyx = resample_slices(lungs.voxels_zyx[first : first + count], lungs, grid, nearest=True)
    visible = dilate_mm(lungs_zyx > 0, grid.spacing_zyx_mm, params.margin_mm)

    stored = [row for row, index in enumerate(slices.slice_indices) if first <= index < first + count]
    rows = {int(slices.slice_indices[row]) - first: position for position, row in enumerate(stored)}
    hu = resample_slices(slices.voxels_zyx[stored], lungs, grid)
    for index, position in rows.items():
        hu[position][~visible[index]] = AIR_HU

    kept = [row for row, index in enumerate(slices.target_indices) if first <= index < first + count]
    targets = [int(slices.target_indices[row]) - first for row in kept]
    shape = (len(targets), *grid.shape_zyx[1:])
    inputs = np.empty((*shape, context.slices), dtype=np.int16)
    for out, index in zip(inputs, targets, strict=True):
        out[...] = np.rint(slice_context.stack(hu, rows, index, context, grid.spacing_zyx_mm[0], count))
    masks = slices.nodule_masks_zyx[kept]
    inside = resample_slices((masks == INSIDE).astype(np.float32), lungs, grid) >= 0.5
    marked = resample_slices((masks > 0).astype(np.float32), lungs, grid) >= 0.5
    centres = _section_centres(slices, kept, grid)
    return SliceSet(
        hu=inputs,
        visible=visible[targets].reshape(shape),
        nodules=np.where(inside, INSIDE, np.where(marked, BESIDE, 0)).astype(np.uint8),
        lungs=(lungs_zyx[targets] > 0).reshape(shape),
        centres=centres,
        diameters_mm=slices.diameter_mm[centres[:, 3]],
    )


def _section_centres(slices: ScanSlices, kept: list[int], grid: Volume) -> NDArray[np.int64]:
    places = []
    for row, nodule in slices.nodule_numbers:
        if int(row) not in kept:
            continue
        _, y, x = np.rint(grid.world_to_voxel(slices.centre_world_xyz[nodule])).astype(int)
        if 0 <= y < grid.shape_zyx[1] and 0 <= x < grid.shape_zyx[2]:
            places.append((kept.index(int(row)), y, x, int(nodule)))
    return np.asarray(places, dtype=np.int64).reshape(-1, 4)
