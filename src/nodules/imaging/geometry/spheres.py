"""Annotated nodules as spheres: label maps, crossed slices, and LUNA16's hit rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nodules.imaging.geometry.volume import Volume

DIAMETER_STRATA_MM = {"under_6mm": (0.0, 6.0), "6_to_10mm": (6.0, 10.0), "from_10mm": (10.0, np.inf)}
"""Size strata of nodules: name and range of diameters [smallest, largest). Follow-up of a solid nodule starts at 6 mm
(Fleischner Society 2017); 10 mm divides the larger nodules."""


def ball_mm3(diameter_mm: float) -> float:
    """Volume of a ball of a given diameter."""
    return float(np.pi / 6 * diameter_mm**3)


def ball_diameter_mm(volume_mm3: float) -> float:
    """Diameter of a ball of a given volume."""
    return float((6 * volume_mm3 / np.pi) ** (1 / 3))


def in_spheres(points_xyz: ArrayLike, centres_xyz: ArrayLike, diameters_mm: ArrayLike) -> NDArray[np.bool_]:
    """Tell which points lie inside which spheres: LUNA16's rule for a candidate to hit a nodule.

    A point hits a sphere if its distance to the centre is less than half the diameter (Setio et al., Medical Image
    Analysis 42, 2017).

    Parameters
    ----------
    points_xyz : (N, 3) array_like
        World mm.
    centres_xyz : (M, 3) array_like
        World mm.
    diameters_mm : (M,) array_like
        One per centre.

    Returns
    -------
    (N, M) ndarray of bool
        Points in rows, spheres in columns.
    """
    points, centres = (np.asarray(values, dtype=float).reshape(-1, 3) for values in (points_xyz, centres_xyz))
    distances_mm = np.linalg.norm(points[:, None] - centres[None], axis=2)
    inside: NDArray[np.bool_] = distances_mm < np.asarray(diameters_mm, dtype=float) / 2
    return inside


def crossed_slices(grid: Volume, centre_world_xyz: Sequence[float], diameter_mm: float) -> NDArray[np.int64]:
    """Indices of the slices whose centre plane intersects the nodule's sphere.

    A nodule smaller than the slice distance may lie between two planes; the nearest slice is returned then.
    Slices outside the grid are omitted, so the result is empty for a nodule outside the scan on any side.
    """
    z, y, x = _box(grid, grid.world_to_voxel(centre_world_xyz), diameter_mm)
    if y.start == y.stop or x.start == x.stop:
        return np.empty(0, dtype=np.int64)
    return np.arange(z.start, z.stop, dtype=np.int64)


def draw_nodules(
    grid: Volume, centres_world_xyz: Sequence[Sequence[float]], diameters_mm: Sequence[float]
) -> NDArray[np.uint16]:
    """Draw a label map of nodule spheres: voxels whose centre is at most diameter / 2 from the nodule's centre.

    Parameters
    ----------
    grid : Volume
        Supplies the geometry; its voxels are not used.
    centres_world_xyz, diameters_mm
        One entry per nodule, as in LUNA16's `annotations.csv`.

    Returns
    -------
    (Z, Y, X) ndarray of uint16
        k for the k-th nodule (from 1), 0 elsewhere. Where two spheres overlap, a voxel belongs to the centre that is
        nearer in units of its radius. A sphere that contains no voxel centre is drawn as its nearest voxel.
    """
    labels = np.zeros(grid.shape_zyx, dtype=np.uint16)
    nearest = np.full(grid.shape_zyx, np.inf, dtype=np.float32)
    for number, (centre, diameter) in enumerate(zip(centres_world_xyz, diameters_mm, strict=True), start=1):
        box, distance = _relative_distance(grid, centre, diameter)
        if distance.size == 0:
            continue
        inside = (distance <= 1) & (distance < nearest[box])
        labels[box][inside] = number
        nearest[box][inside] = distance[inside]
    return labels


def _relative_distance(
    grid: Volume, centre_world_xyz: Sequence[float], diameter_mm: float
) -> tuple[tuple[slice, slice, slice], NDArray[np.float32]]:
    """Bounding box of the sphere, and the distance of its voxels to the centre in radii."""
    radius = diameter_mm / 2
    centre = grid.world_to_voxel(centre_world_xyz)
    box = _box(grid, centre, diameter_mm)
    axes = [
        ((np.arange(part.start, part.stop) - index) * spacing) ** 2
        for part, index, spacing in zip(box, centre, grid.spacing_zyx_mm, strict=True)
    ]
    squared = axes[0][:, None, None] + axes[1][None, :, None] + axes[2][None, None, :]
    distance = (np.sqrt(squared) / radius).astype(np.float32)
    if distance.size and not (distance <= 1).any() and _contains(grid, centre):
        distance[np.unravel_index(np.argmin(distance), distance.shape)] = 1.0
    return box, distance


def _box(grid: Volume, centre_zyx: NDArray[np.float64], diameter_mm: float) -> tuple[slice, slice, slice]:
    """Voxels within the sphere along each axis, always including the nearest one, clipped to the grid."""
    box = []
    for index, spacing, size in zip(centre_zyx, grid.spacing_zyx_mm, grid.shape_zyx, strict=True):
        reach = diameter_mm / 2 / spacing
        first, last = min(np.ceil(index - reach), np.rint(index)), max(np.floor(index + reach), np.rint(index))
        box.append(slice(int(np.clip(first, 0, size)), int(np.clip(last + 1, 0, size))))
    z, y, x = box
    return z, y, x


def _contains(grid: Volume, index_zyx: NDArray[np.float64]) -> bool:
    return bool(np.all(index_zyx >= -0.5) and np.all(index_zyx <= np.asarray(grid.shape_zyx) - 0.5))
