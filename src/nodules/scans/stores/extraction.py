"""The slices of one LUNA16 scan that are worth training on: through its nodules, and some without any."""

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
from nodules.scans.stores.slices import BESIDE, INSIDE, ScanSlices
from nodules.scans.tables.luna import NoduleAnnotation

MIDDLE = (0.15, 0.85)  # of the scan's height: above and below are neck and belly more often than lung


@dataclass(frozen=True)
class ExtractParams:
    """The section `extract`.

    Attributes
    ----------
    slices_per_nodule : int
        At most so many of the slices that cut a nodule, evenly spread; an odd number has the middle one among them.
    nodule_free_slices : int
        Slices of each scan that no nodule touches.
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
    volume : Volume
        The scan.
    nodules : sequence of NoduleAnnotation
        Of this scan; those outside its grid are left without slices.
    context : ContextParams
        Says which neighbours the targets need.
    seed : int
        Together with the series UID it decides which nodule-free slices are taken.
    """
    crossed = [crossed_slices(volume, nodule.centre_world_xyz, nodule.diameter_mm) for nodule in nodules]
    # A slice just above or below a nodule still shows it, blurred by its own thickness: it is neither with nor without.
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
        nodule_masks_zyx=np.where(masks, INSIDE, np.where(blurred, BESIDE, 0)).astype(np.uint8),
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
    middle = np.arange(int(slice_count * MIDDLE[0]), int(np.ceil(slice_count * MIDDLE[1])))
    free = np.setdiff1d(middle, np.concatenate([*showing, []]))
    random = np.random.default_rng([seed, zlib.crc32(seriesuid.encode())])
    return np.sort(random.choice(free, size=min(count, free.size), replace=False)).astype(np.int64)


def _with_context(targets: NDArray[np.int64], context: ContextParams, volume: Volume) -> NDArray[np.int64]:
    slice_mm, count = volume.spacing_zyx_mm[0], volume.shape_zyx[0]
    needed = [slice_context.neighbours(int(index), context, slice_mm, count) for index in targets]
    return np.unique(np.concatenate([*needed, []])).astype(np.int64)
