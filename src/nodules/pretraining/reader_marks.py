"""What LIDC's readers drew, on the grid on which candidates are found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nodules.imaging.geometry.reorient import canonical_axes, flipped_xy
from nodules.imaging.geometry.resample import nearest_voxels
from nodules.imaging.geometry.volume import Volume
from nodules.scans.lidc.outlines import MAJORITY, drawn_voxels, outlined_nodules, place_in_scan
from nodules.scans.lidc.xml_file import SeriesReadings
from nodules.scans.result import Reading
from nodules.scans.tables.nodule_cubes import NoduleCube, other_nodules

SMALL_NODULE_MM = 3.0  # readers marked a nodule below this size with one point


@dataclass(frozen=True)
class MarkedNodule:
    """A nodule that at least `MAJORITY` readers drew.

    Attributes
    ----------
    readers : int
        How many drew it.
    centre_world_xyz : tuple of float
        Centroid of what their majority drew, in mm.
    diameter_mm : float
        LUNA16's diameter where there is one, else that of a ball of the same volume.
    """

    readers: int
    centre_world_xyz: tuple[float, float, float]
    diameter_mm: float


@dataclass(frozen=True)
class ReaderMarks:
    """The readers' marks on one grid.

    Attributes
    ----------
    numbers_zyx : (Z, Y, X) ndarray of uint8
        What the readers' majority drew: k for the k-th of `nodules` (from 1), `OTHER_LISTED` for nodules that are
        listed elsewhere, 0 outside.
    drawn_zyx : (Z, Y, X) ndarray of bool
        What any reader drew as a nodule or marked as one below 3 mm; it includes all numbered voxels.
    nodules : tuple of MarkedNodule
        The nodules that count in an evaluation.
    """

    numbers_zyx: NDArray[np.uint8]
    drawn_zyx: NDArray[np.bool_]
    nodules: tuple[MarkedNodule, ...]


@dataclass(frozen=True)
class DrawnVoxels:
    """What any reader drew as a nodule in a scan, or marked as one below 3 mm.

    Attributes
    ----------
    grid : Volume
        Grid of the scan; its voxels are not used.
    flat_indices : (N,) ndarray of int64
        Ascending indices into its voxels.
    """

    grid: Volume
    flat_indices: NDArray[np.int64]


OTHER_LISTED = 255
"""Number of the nodules in view of a cube that have cubes of their own."""


def header_grid(header: Mapping[str, Any]) -> Reading:
    """Make the grid of a scan from a row of the table of LUNA16's headers; it has no voxels of its own."""
    z, y, x = (int(header[f"size_{axis}"]) for axis in "zyx")
    direction_xyz = tuple(np.diag([float(header[f"direction_{axis}"]) for axis in "xyz"]).ravel().tolist())
    spacing_z_mm, spacing_y_mm, spacing_x_mm = (float(header[f"spacing_{axis}"]) for axis in "zyx")
    stored = Volume(
        np.broadcast_to(np.zeros((1, 1, 1), dtype=bool), (z, y, x)),
        (spacing_z_mm, spacing_y_mm, spacing_x_mm),
        (float(header["x"]), float(header["y"]), float(header["z"])),
        direction_xyz,
    )
    # One byte for all voxels again: canonical_axes copies them.
    return Reading(
        canonical_axes(stored).with_voxels(stored.voxels_zyx), "MetaImage", flipped_xy=flipped_xy(direction_xyz)
    )


def marks_in_cube(
    cube: NoduleCube,
    cubes: Sequence[NoduleCube],
    scan: Volume,
    mask_zyx: NDArray[np.bool_],
    drawn: DrawnVoxels | None,
) -> ReaderMarks:
    """Find the marks in a cube: its own nodule, other listed nodules, and all readings where they are known.

    Parameters
    ----------
    cubes : sequence of NoduleCube
        Cubes of the same series.
    scan, mask_zyx
        The cube as `read_cube` returns it.
    drawn : DrawnVoxels, optional
        What any reader drew in the scan.

    Raises
    ------
    ScanError
        As `read_cube`.
    """
    others = other_nodules(cube, cubes, scan)
    numbers = np.where(mask_zyx, 1, np.where(others, OTHER_LISTED, 0)).astype(np.uint8)
    marked = numbers > 0
    if drawn is not None:
        inside, nearest = nearest_voxels(drawn.grid, scan)
        marked[inside] |= np.isin(np.ravel_multi_index(tuple(nearest.T), drawn.grid.shape_zyx), drawn.flat_indices)
    if not mask_zyx.any():
        return ReaderMarks(numbers, marked, ())
    x, y, z = scan.voxel_to_world(np.argwhere(mask_zyx).mean(axis=0)).tolist()
    return ReaderMarks(numbers, marked, (MarkedNodule(cube.readers, (x, y, z), cube.diameter_mm),))


def marks_in_scan(readings: SeriesReadings, scan: Reading) -> ReaderMarks:
    """Find the marks in a whole scan, on its own grid.

    Raises
    ------
    ScanError
        As `outlined_nodules`.
    """
    numbers = np.zeros(scan.volume.shape_zyx, dtype=np.uint8)
    nodules = []
    for one in outlined_nodules(readings, scan):
        if one.readers >= MAJORITY:
            nodules.append(MarkedNodule(one.readers, one.centre_world_xyz, one.diameter_mm))
            numbers[tuple(one.voxels_zyx.T)] = len(nodules)
    drawn = np.zeros(scan.volume.shape_zyx, dtype=bool)
    drawn.flat[drawn_in_scan(readings, scan).flat_indices] = True
    return ReaderMarks(numbers, drawn, tuple(nodules))


def drawn_in_scan(readings: SeriesReadings, scan: Reading) -> DrawnVoxels:
    """Find all voxels that any reader drew, and those around the points of small nodules.

    Raises
    ------
    ScanError
        As `drawn_voxels`.
    """
    drawn = [drawn_voxels(nodule, readings.series_uid, scan) for nodule in readings.nodules]
    indices = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *drawn, *_small_nodules(readings, scan)]))
    return DrawnVoxels(scan.volume, indices)


def _small_nodules(readings: SeriesReadings, scan: Reading) -> list[NDArray[np.int64]]:
    """Flat indices of the voxels within `SMALL_NODULE_MM` of each marked point, which is not the exact centre."""
    if not readings.small_nodules or scan.flipped_xy is None:
        return []
    volume = scan.volume
    shape, spacing_mm = np.asarray(volume.shape_zyx), np.asarray(volume.spacing_zyx_mm)
    reach = np.ceil(SMALL_NODULE_MM / spacing_mm).astype(int)
    offsets = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), axis=-1).reshape(-1, 3)
    offsets = offsets[np.linalg.norm(offsets * spacing_mm, axis=1) <= SMALL_NODULE_MM]
    found = []
    for point in readings.small_nodules:
        z, places_yx = place_in_scan(point.z_mm, [point.pixel_xy], scan)
        near = np.array([z, *places_yx[0]]) + offsets
        near = near[((near >= 0) & (near < shape)).all(axis=1)]
        found.append(np.ravel_multi_index(tuple(near.T), volume.shape_zyx))
    return found
