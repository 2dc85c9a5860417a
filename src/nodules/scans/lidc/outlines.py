"""LIDC's outlines as voxels of a scan's own grid, and the readings that are of the same nodule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.draw import line
from skimage.measure import grid_points_in_poly

from nodules.imaging.geometry.spheres import ball_diameter_mm
from nodules.imaging.geometry.volume import Volume
from nodules.scans.lidc.xml_file import CHARACTERISTICS, NoduleReading, SeriesReadings
from nodules.scans.result import Reading, ScanError

MAJORITY = 2
"""Readers who must have drawn a voxel, half of LIDC's four. A nodule that one reader drew has that reader's outline."""


@dataclass(frozen=True)
class OutlinedNodule:
    """A nodule as its readers drew it.

    Attributes
    ----------
    readers : int
        How many drew it.
    voxels_zyx : (N, 3) ndarray of int64
        Indices of the voxels that the majority of its readers drew: two of them, or the only one.
    drawn_zyx : (M, 3) ndarray of int64
        Indices of the voxels that any of its readers drew.
    centre_world_xyz : tuple of float
        Centroid of the majority's voxels, in mm.
    diameter_mm : float
        Diameter of the ball of the majority's volume.
    scores : dict
        Mean of each of `CHARACTERISTICS` over its readers.
    """

    readers: int
    voxels_zyx: NDArray[np.int64]
    drawn_zyx: NDArray[np.int64]
    centre_world_xyz: tuple[float, float, float]
    diameter_mm: float
    scores: dict[str, float]


def outlined_nodules(readings: SeriesReadings, scan: Reading) -> list[OutlinedNodule]:
    """Join the readings that are of the same nodule.

    Two readings by different readers are of the same nodule if they share a voxel. Where a reader has several readings
    that could join, the pair with the largest intersection over union joins first, and each reader joins once.

    Parameters
    ----------
    readings : SeriesReadings
        The readings of this scan.
    scan : Reading
        The scan as it was read.

    Returns
    -------
    list of OutlinedNodule
        In the order of their first readings in the file.

    Raises
    ------
    ScanError
        As `drawn_voxels`.
    """
    drawn = [drawn_voxels(nodule, readings.series_uid, scan) for nodule in readings.nodules]
    groups = _groups(drawn, [nodule.reader for nodule in readings.nodules])
    return [
        _nodule([drawn[k] for k in group], [readings.nodules[k].scores for k in group], scan.volume) for group in groups
    ]


def drawn_voxels(nodule: NoduleReading, series_uid: str, scan: Reading) -> NDArray[np.int64]:
    """Find the voxels that one reader drew as one nodule.

    An outline runs outside what it surrounds (as in LIDC's instructions and in pylidc): a voxel counts if it lies
    inside an outline and not on it. What the outlines of holes surround is taken away. A contour belongs to the
    nearest slice.

    Returns
    -------
    (N,) ndarray of int64
        Ascending flat indices into the scan's voxels.

    Raises
    ------
    ScanError
        If an outline leaves the grid, or the scan was resampled in its plane, so that the outlines' pixels are lost.
    """
    if scan.flipped_xy is None:
        raise ScanError(f"series {series_uid}: the scan was resampled, so LIDC's outlines, given in pixels, do not fit")
    shape = scan.volume.shape_zyx
    included: list[NDArray[np.int64]] = []
    holes = [np.empty(0, dtype=np.int64)]
    for contour in nodule.contours:
        z, outline_yx = place_in_scan(contour.z_mm, contour.points_xy, scan)
        x, y = np.asarray(contour.points_xy).T
        if not (0 <= z < shape[0] and y.max() < shape[1] and x.max() < shape[2]):
            raise ScanError(
                f"series {series_uid}: an outline at z = {contour.z_mm:g} mm, columns {x.min()} to {x.max()}, rows "
                f"{y.min()} to {y.max()} leaves the scan of shape {shape}; the XML file may be of another scan"
            )
        pixels = _surrounded(outline_yx)
        flat = np.ravel_multi_index((np.full(len(pixels), z), *pixels.T), shape)
        (included if contour.included else holes).append(flat)
    return np.setdiff1d(np.concatenate(included), np.concatenate(holes))


def place_in_scan(z_mm: float, pixels_xy: ArrayLike, scan: Reading) -> tuple[int, NDArray[np.int64]]:
    """Find the slice at a height, and the rows and columns (N, 2) of pixels (N, 2) of the slice as it is stored.

    The places may lie outside the scan.

    Raises
    ------
    ValueError
        If the scan was resampled in its plane.
    """
    if scan.flipped_xy is None:
        raise ValueError("expected a scan with the pixels that are stored, got one that was resampled")
    volume = scan.volume
    z = int(np.rint(volume.world_to_voxel((*volume.origin_xyz_mm[:2], z_mm))[0]))
    pixels_yx = np.asarray(pixels_xy, dtype=np.int64)[:, ::-1]
    mirrored = np.asarray(volume.shape_zyx[1:]) - 1 - pixels_yx
    return z, np.where(scan.flipped_xy[::-1], mirrored, pixels_yx)


def _groups(drawn: Sequence[NDArray[np.int64]], readers: Sequence[int]) -> list[list[int]]:
    pairs = []
    for i, j in combinations(range(len(drawn)), 2):
        shared = np.intersect1d(drawn[i], drawn[j], assume_unique=True).size if readers[i] != readers[j] else 0
        if shared:
            pairs.append((-shared / (len(drawn[i]) + len(drawn[j]) - shared), i, j))
    group_of = {k: [k] for k, voxels in enumerate(drawn) if len(voxels)}
    for _, i, j in sorted(pairs):
        first, second = group_of[i], group_of[j]
        if not {readers[k] for k in first} & {readers[k] for k in second}:
            joined = sorted(first + second)
            group_of |= dict.fromkeys(joined, joined)
    return [group for k, group in group_of.items() if k == group[0]]


def _nodule(drawn: Sequence[NDArray[np.int64]], scores: Sequence[dict[str, int]], volume: Volume) -> OutlinedNodule:
    voxels, counts = np.unique(np.concatenate(drawn), return_counts=True)
    all_zyx = np.stack(np.unravel_index(voxels, volume.shape_zyx), axis=1)
    majority_zyx = all_zyx[counts >= min(MAJORITY, len(drawn))]
    x, y, z = volume.voxel_to_world(majority_zyx.mean(axis=0)).tolist()
    return OutlinedNodule(
        readers=len(drawn),
        voxels_zyx=majority_zyx,
        drawn_zyx=all_zyx,
        centre_world_xyz=(x, y, z),
        diameter_mm=ball_diameter_mm(len(majority_zyx) * volume.voxel_mm3),
        scores={name: float(np.mean([one[name] for one in scores])) for name in CHARACTERISTICS},
    )


def _surrounded(outline_yx: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pixels (N, 2) inside a closed outline, without those of the outline."""
    corner = outline_yx.min(axis=0)
    points = outline_yx - corner
    inside = grid_points_in_poly(tuple(points.max(axis=0) + 1), points, binarize=False) == 1
    for start, end in zip(points, np.roll(points, -1, axis=0), strict=True):
        inside[line(*start, *end)] = False
    pixels: NDArray[np.int64] = np.argwhere(inside) + corner
    return pixels
