"""Choose the training slices of one LUNA16 scan: slices through its nodules, and nodule-free slices."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt
from numpy.typing import NDArray
from scipy import ndimage

from nodules.imaging.geometry.spheres import crossed_slices, draw_nodules, in_spheres
from nodules.imaging.geometry.volume import Volume
from nodules.imaging.network_input import slice_context
from nodules.imaging.network_input.slice_context import ContextParams
from nodules.scans.lidc.outlines import MAJORITY, OutlinedNodule
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
    outlined: Sequence[OutlinedNodule] = (),
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
    outlined : sequence of OutlinedNodule
        Nodules as LIDC's readers drew them, in place of the spheres. Inside a nodule is what the majority of its
        readers drew, also of nodules by two readers, which LUNA16 does not annotate. What a single reader drew is rim.
        An annotated nodule without outlines remains a sphere.
    """
    marked = _as_outlines(volume, nodules, outlined) if outlined else _as_spheres(volume, nodules)
    chosen = [_spread(slices, params.slices_per_nodule) for slices in marked.crossed]
    free = _nodule_free(volume.shape_zyx[0], marked.showing, params.nodule_free_slices, seed, seriesuid)
    targets = np.unique(np.concatenate([*chosen, free]).astype(np.int64))
    stored = _with_context(targets, context, volume)
    numbers = [
        (row, nodule)
        for row, index in enumerate(targets)
        for nodule, slices in enumerate(marked.crossed)
        if index in slices
    ]
    inside, around = marked.inside_zyx[targets], marked.around_zyx[targets]
    return ScanSlices(
        seriesuid=seriesuid,
        scan_slices=volume.shape_zyx[0],
        spacing_zyx_mm=volume.spacing_zyx_mm,
        origin_xyz_mm=volume.origin_xyz_mm,
        direction_xyz=tuple(volume.direction_xyz),
        voxels_zyx=volume.voxels_zyx[stored],
        slice_indices=stored,
        target_indices=targets,
        nodule_masks_zyx=np.where(inside, INSIDE, np.where(around, NODULE_RIM, 0)).astype(np.uint8),
        nodule_numbers=np.asarray(numbers, dtype=np.int64).reshape(-1, 2),
        centre_world_xyz=np.asarray([nodule.centre_world_xyz for nodule in nodules], dtype=float).reshape(-1, 3),
        diameter_mm=np.asarray([nodule.diameter_mm for nodule in nodules], dtype=float),
    )


@dataclass(frozen=True)
class _Marked:
    """What is marked as nodule in a scan: slices through each annotated nodule, slices that show any, and voxels.

    A slice just above or below a nodule still shows it, blurred by the slice thickness. It counts as neither crossed by
    the nodule nor free of it.
    """

    crossed: list[NDArray[np.int64]]
    showing: list[NDArray[np.int64]]
    inside_zyx: NDArray[np.bool_]
    around_zyx: NDArray[np.bool_]


def _as_spheres(volume: Volume, nodules: Sequence[NoduleAnnotation]) -> _Marked:
    centres = [nodule.centre_world_xyz for nodule in nodules]
    diameters = [nodule.diameter_mm for nodule in nodules]
    wider = [diameter + 2 * volume.spacing_zyx_mm[0] for diameter in diameters]
    return _Marked(
        crossed=[crossed_slices(volume, *sphere) for sphere in zip(centres, diameters, strict=True)],
        showing=[crossed_slices(volume, *sphere) for sphere in zip(centres, wider, strict=True)],
        inside_zyx=draw_nodules(volume, centres, diameters) > 0,
        around_zyx=draw_nodules(volume, centres, wider) > 0,
    )


def _as_outlines(volume: Volume, nodules: Sequence[NoduleAnnotation], outlined: Sequence[OutlinedNodule]) -> _Marked:
    by_majority = [one for one in outlined if one.readers >= MAJORITY]
    found = [_nearest(nodule, by_majority) for nodule in nodules]
    spheres = _as_spheres(volume, [nodule for nodule, one in zip(nodules, found, strict=True) if one is None])
    inside, around, showing = spheres.inside_zyx, spheres.around_zyx, spheres.showing
    for one in by_majority:
        inside[tuple(one.voxels_zyx.T)] = True
        around[tuple(_within_a_slice(one.voxels_zyx, volume).T)] = True
    for one in outlined:
        around[tuple(one.drawn_zyx.T)] = True
        z = one.drawn_zyx[:, 0]
        showing.append(np.arange(z.min() - 1, z.max() + 2))
    crossed = [
        crossed_slices(volume, nodule.centre_world_xyz, nodule.diameter_mm)
        if one is None
        else np.unique(one.voxels_zyx[:, 0])
        for nodule, one in zip(nodules, found, strict=True)
    ]
    return _Marked(crossed, showing, inside, around)


def _nearest(nodule: NoduleAnnotation, outlined: Sequence[OutlinedNodule]) -> OutlinedNodule | None:
    """The outlined nodule nearest to the annotated centre, if it lies in the sphere of the annotated diameter."""
    centre = nodule.centre_world_xyz
    nearest = min(outlined, key=lambda one: math.dist(one.centre_world_xyz, centre), default=None)
    hit = nearest and in_spheres(nearest.centre_world_xyz, centre, [nodule.diameter_mm]).all()
    return nearest if hit else None


def _within_a_slice(voxels_zyx: NDArray[np.int64], volume: Volume) -> NDArray[np.int64]:
    """Indices (N, 3) of the voxels at most one slice distance from these."""
    slice_mm = volume.spacing_zyx_mm[0]
    margin = np.ceil(slice_mm / np.asarray(volume.spacing_zyx_mm)).astype(int)
    low = np.maximum(voxels_zyx.min(axis=0) - margin, 0)
    high = np.minimum(voxels_zyx.max(axis=0) + margin + 1, volume.shape_zyx)
    outside = np.ones(high - low, dtype=bool)
    outside[tuple((voxels_zyx - low).T)] = False
    distances_mm = ndimage.distance_transform_edt(outside, sampling=volume.spacing_zyx_mm)
    near: NDArray[np.int64] = np.argwhere(distances_mm <= slice_mm) + low
    return near


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
