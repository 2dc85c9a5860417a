"""Choose the training slices of one LUNA16 scan: slices through its nodules, and nodule-free slices."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt
from numpy.typing import NDArray

from nodules.imaging.geometry.spheres import crossed_slices, draw_nodules
from nodules.imaging.geometry.volume import Volume
from nodules.imaging.network_input import slice_context
from nodules.imaging.network_input.slice_context import ContextParams
from nodules.scans.stores.slices import INSIDE, NODULE_RIM, ScanSlices
from nodules.scans.tables.luna import NoduleAnnotation

LUNG_HEIGHT_RANGE = (
    0.15,
    0.85,
)  # of the scan's height; slices above and below show neck and abdomen more often than lung


@dataclass(frozen=True)
class ExtractParams:
    """The section `extract` of params.yaml.

    Attributes
    ----------
    slices_per_nodule : int
        Largest number of slices through each nodule. They are evenly spread; an odd number includes the middle slice.
    nodule_free_slices : int
        Number of slices per scan that no nodule touches.
    """

    slices_per_nodule: Annotated[int, Gt(0)]
    nodule_free_slices: Annotated[int, Ge(0)]


def extract_slices(
    seriesuid: str,
    volume: Volume,
    nodules: Sequence[NoduleAnnotation],
    params: ExtractParams,
    context: ContextParams,
    seed: int,
) -> ScanSlices:
    """Choose target slices, draw all nodules on them, and add the neighbours that their context needs.

    Parameters
    ----------
    seriesuid : str
        Series UID of the scan.
    volume : Volume
        The scan.
    nodules : sequence of NoduleAnnotation
        Nodules of this scan; nodules outside its grid get no slices.
    params : ExtractParams
        How many slices to choose.
    context : ContextParams
        Determines which neighbours the targets need.
    seed : int
        Determines, together with the series UID, which nodule-free slices are chosen.
    """
    crossed = [crossed_slices(volume, nodule.centre_world_xyz, nodule.diameter_mm) for nodule in nodules]
    # A slice just above or below a nodule still shows it, blurred by the slice thickness. It counts as neither crossed
    # by the nodule nor free of it.
    blur_mm = 2 * volume.spacing_zyx_mm[0]
    showing = [crossed_slices(volume, nodule.centre_world_xyz, nodule.diameter_mm + blur_mm) for nodule in nodules]
    chosen = [_spread(slices, params.slices_per_nodule) for slices in crossed]
    free = _nodule_free(volume.shape_zyx[0], showing, params.nodule_free_slices, seed, seriesuid)
    targets = np.unique(np.concatenate([*chosen, free]).astype(np.int64))
    stored = _with_context(targets, context, volume)
    centres = [nodule.centre_world_xyz for nodule in nodules]
    diameters = [nodule.diameter_mm for nodule in nodules]
    masks = draw_nodules(volume, centres, diameters)[targets] > 0
    blurred = draw_nodules(volume, centres, [diameter + blur_mm for diameter in diameters])[targets] > 0
    numbers = [
        (row, nodule) for row, index in enumerate(targets) for nodule, slices in enumerate(crossed) if index in slices
    ]
    return ScanSlices(
        seriesuid=seriesuid,
        scan_slices=volume.shape_zyx[0],
        spacing_zyx_mm=volume.spacing_zyx_mm,
        origin_xyz_mm=volume.origin_xyz_mm,
        direction_xyz=tuple(volume.direction_xyz),
        voxels_zyx=volume.voxels_zyx[stored],
        slice_indices=stored,
        target_indices=targets,
        nodule_masks_zyx=np.where(masks, INSIDE, np.where(blurred, NODULE_RIM, 0)).astype(np.uint8),
        nodule_numbers=np.asarray(numbers, dtype=np.int64).reshape(-1, 2),
        centre_world_xyz=np.asarray(centres, dtype=float).reshape(-1, 3),
        diameter_mm=np.asarray(diameters, dtype=float),
    )


def _spread(slices: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    if len(slices) <= count:
        return slices
    if count == 1:
        return slices[[len(slices) // 2]]
    return slices[np.rint(np.linspace(0, len(slices) - 1, count)).astype(int)]


def _nodule_free(
    slice_count: int, showing: Sequence[NDArray[np.int64]], count: int, seed: int, seriesuid: str
) -> NDArray[np.int64]:
    middle = np.arange(int(slice_count * LUNG_HEIGHT_RANGE[0]), int(np.ceil(slice_count * LUNG_HEIGHT_RANGE[1])))
    free = np.setdiff1d(middle, np.concatenate([*showing, []]))
    random = np.random.default_rng([seed, zlib.crc32(seriesuid.encode())])
    return np.sort(random.choice(free, size=min(count, free.size), replace=False)).astype(np.int64)


def _with_context(targets: NDArray[np.int64], context: ContextParams, volume: Volume) -> NDArray[np.int64]:
    slice_mm, count = volume.spacing_zyx_mm[0], volume.shape_zyx[0]
    needed = [slice_context.neighbours(int(index), context, slice_mm, count) for index in targets]
    return np.unique(np.concatenate([*needed, []])).astype(np.int64)
