"""Training slices of real nodules: of cubes, of excerpts, and of whole scans with the outlines of LIDC's readers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nodules.imaging.geometry.volume import Volume
from nodules.imaging.lungs.segment import LungMaskParams, find_lungs
from nodules.imaging.network_input.lung_roi import LungRoiParams
from nodules.imaging.network_input.slice_context import ContextParams
from nodules.models.unet.training_slices import SliceSet, slice_set
from nodules.pretraining.excerpts import Excerpt
from nodules.scans.lidc.outlines import MAJORITY, outlined_nodules
from nodules.scans.lidc.xml_file import SeriesReadings
from nodules.scans.result import Reading
from nodules.scans.stores.extraction import ExtractParams, extract_slices
from nodules.scans.stores.slices import INSIDE, NODULE_RIM, ScanSlices
from nodules.scans.tables.luna import NoduleAnnotation
from nodules.scans.tables.nodule_cubes import NoduleCube, other_nodules, read_cube


def slices_of_cube(
    cube: NoduleCube, cubes: Sequence[NoduleCube], roi: LungRoiParams, context: ContextParams
) -> SliceSet:
    """All slices of a cube; inside a nodule is what the readers' majority drew of any listed nodule.

    Parameters
    ----------
    cubes : sequence of NoduleCube
        All cubes of the folder, since some show nodules that have cubes of their own.

    Raises
    ------
    ScanError
        As `read_cube`.
    """
    scan, mask = read_cube(cube)
    marked = mask | other_nodules(cube, cubes, scan)
    centre = scan.voxel_to_world(np.argwhere(mask).mean(axis=0)) if mask.any() else np.full(3, np.nan)
    return _slice_set(
        cube.file.stem,
        scan,
        np.where(marked, INSIDE, 0).astype(np.uint8),
        np.arange(len(mask)),
        np.flatnonzero(mask.any(axis=(1, 2))),
        (centre, cube.diameter_mm),
        scan.with_voxels(np.ones(scan.shape_zyx, dtype=np.uint8)),
        roi,
        context,
    )


def slices_of_excerpt(excerpt: Excerpt, roi: LungRoiParams, context: ContextParams) -> SliceSet:
    """The middle slice of an excerpt; inside a nodule is what two readers drew, and what one drew is rim.

    The outer slices lack a neighbour on one side.

    Raises
    ------
    ValueError
        If the excerpt was read without the readers' outlines.
    """
    if excerpt.readers_zyx is None:
        raise ValueError(f"{excerpt.name}: read without the readers' outlines")
    counts, nodule = excerpt.readers_zyx, excerpt.nodules[0]
    shown = np.array([excerpt.middle])
    return _slice_set(
        excerpt.name,
        excerpt.scan,
        np.where(counts >= MAJORITY, INSIDE, np.where(counts > 0, NODULE_RIM, 0)).astype(np.uint8),
        shown,
        shown,
        (np.asarray(nodule.centre_world_xyz), nodule.diameter_mm),
        excerpt.lungs,
        roi,
        context,
    )


def slices_of_scan(
    reading: Reading,
    readings: SeriesReadings,
    lung_mask: LungMaskParams,
    extract: ExtractParams,
    roi: LungRoiParams,
    context: ContextParams,
    seed: int,
) -> SliceSet:
    """Slices of a whole scan through its nodules and between them, with the outlines of LIDC's readers.

    Raises
    ------
    ScanError
        If the outlines do not fit the scan.
    """
    volume, uid = reading.volume, readings.series_uid
    outlined = outlined_nodules(readings, reading)
    nodules = [
        NoduleAnnotation(uid, one.centre_world_xyz, one.diameter_mm) for one in outlined if one.readers >= MAJORITY
    ]
    slices = extract_slices(uid, volume, nodules, extract, context, seed, outlined)
    lungs = volume.with_voxels(find_lungs(volume, lung_mask).labels_zyx)
    return slice_set(slices, lungs, roi, context)


def _slice_set(
    name: str,
    scan: Volume,
    marked_zyx: NDArray[np.uint8],
    targets: NDArray[np.int64],
    crossed: NDArray[np.int64],
    nodule: tuple[NDArray[np.float64], float],
    lungs: Volume,
    roi: LungRoiParams,
    context: ContextParams,
) -> SliceSet:
    """Training slices of an excerpt of a scan, all of which is stored, around one nodule.

    Parameters
    ----------
    marked_zyx : (Z, Y, X) ndarray of uint8
        `INSIDE`, `NODULE_RIM` or 0.
    targets, crossed : ndarray of int64
        Slices to train on, and those among them that cross the nodule.
    nodule : tuple
        Its centre (3,) in world mm, and its diameter in mm.
    """
    numbers = [(int(row), 0) for row in np.flatnonzero(np.isin(targets, crossed))]
    stored = ScanSlices(
        seriesuid=name,
        scan_slices=scan.shape_zyx[0],
        spacing_zyx_mm=scan.spacing_zyx_mm,
        origin_xyz_mm=scan.origin_xyz_mm,
        direction_xyz=tuple(scan.direction_xyz),
        voxels_zyx=scan.voxels_zyx,
        slice_indices=np.arange(scan.shape_zyx[0]),
        target_indices=targets,
        nodule_masks_zyx=marked_zyx[targets],
        nodule_numbers=np.asarray(numbers, dtype=np.int64).reshape(-1, 2),
        centre_world_xyz=nodule[0].reshape(1, 3),
        diameter_mm=np.array([nodule[1]]),
    )
    return slice_set(stored, lungs, roi, context)
