"""A chest made of ellipses for tests: cheap, noise-free by default, and every border known in mm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nodules.imaging.geometry.volume import Volume

TISSUE_HU, LUNG_HU, AIR_HU, FOAM_HU, NODULE_HU = 40, -850, -1000, -930, 20
# Centres (z, y, x) in mm from the middle of the grid; x grows to the patient's left, y to the back, z to the head.
BODY_YX_MM, BODY_RADII_MM = (-15.0, 0.0), (95.0, 132.0)
LUNG_X_MM, LUNG_Y_MM, LUNG_RADII_MM = 62.0, -20.0, (80.0, 68.0, 48.0)
TRACHEA_YX_MM, TRACHEA_RADIUS_MM, CARINA_Z_MM = (-30.0, 2.0), 9.0, 20.0
VESSELS_YX_MM, VESSEL_RADIUS_MM = ((-45.0, -70.0), (10.0, -50.0), (-15.0, 65.0)), 3.5
WALL_NODULE_MM, WALL_NODULE_RADIUS_MM = (5.0, -20.0, 104.0), 7.0  # left lung; the wall lies at x = 110
COUCH_Y_MM = (88.0, 112.0)


def simple_chest(
    shape_zyx: tuple[int, int, int] = (40, 100, 120),
    spacing_zyx_mm: tuple[float, float, float] = (5.0, 2.7, 2.4),
    origin_xyz_mm: tuple[float, float, float] = (-141.0, -97.5, 312.0),
    noise_hu: float = 0.0,
) -> tuple[Volume, NDArray[np.uint8]]:
    """Draw a chest and say where its lungs are.

    Returns
    -------
    Volume
        int16 HU. The anatomy sits in the middle of the grid and needs about 200 x 270 x 280 mm to be whole.
    (Z, Y, X) ndarray of uint8
        True lungs, vessels and the nodule on the wall included: 1 right, 2 left.
    """
    z, y, x = places_mm(shape_zyx, spacing_zyx_mm)
    voxels = np.full(shape_zyx, AIR_HU, dtype=float)
    voxels[:, _ellipse((y, x), BODY_YX_MM, BODY_RADII_MM)[0]] = TISSUE_HU
    _draw_couch(voxels, y[0, :, 0], spacing_zyx_mm[1])
    lungs = _lungs(z, y, x)
    voxels[lungs > 0] = LUNG_HU
    for vessel_yx_mm in VESSELS_YX_MM:
        voxels[(lungs > 0) & _ellipse((y, x), vessel_yx_mm, (VESSEL_RADIUS_MM,) * 2)] = TISSUE_HU
    voxels[_ellipse((z, y, x), WALL_NODULE_MM, (WALL_NODULE_RADIUS_MM,) * 3)] = NODULE_HU
    voxels[trachea(shape_zyx, spacing_zyx_mm)] = AIR_HU
    voxels += np.random.default_rng(0).normal(0, noise_hu, shape_zyx) if noise_hu else 0
    volume = Volume(np.clip(np.round(voxels), -1000, 3071).astype(np.int16), spacing_zyx_mm, origin_xyz_mm)
    return volume, lungs


def trachea(shape_zyx: tuple[int, int, int], spacing_zyx_mm: tuple[float, float, float]) -> NDArray[np.bool_]:
    z, y, x = places_mm(shape_zyx, spacing_zyx_mm)
    return (z > CARINA_Z_MM) & _ellipse((y, x), TRACHEA_YX_MM, (TRACHEA_RADIUS_MM,) * 2)


def places_mm(
    shape_zyx: tuple[int, int, int], spacing_zyx_mm: tuple[float, float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Distance of the voxel centres from the middle of the grid along each axis, ready to broadcast."""
    axes = [(np.arange(n) + 0.5) * s - n * s / 2 for n, s in zip(shape_zyx, spacing_zyx_mm, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    return z, y, x


def nearest_index(
    point_zyx_mm: tuple[float, float, float],
    shape_zyx: tuple[int, int, int],
    spacing_zyx_mm: tuple[float, float, float],
) -> tuple[int, int, int]:
    """Index of the voxel in which a point, given in mm from the middle of the grid, lies."""
    places = zip(point_zyx_mm, shape_zyx, spacing_zyx_mm, strict=True)
    z, y, x = (int((p + n * s / 2) / s) for p, n, s in places)
    return z, y, x


def _lungs(z: NDArray[np.float64], y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.uint8]:
    right = _ellipse((z, y, x), (0.0, LUNG_Y_MM, -LUNG_X_MM), LUNG_RADII_MM)
    left = _ellipse((z, y, x), (0.0, LUNG_Y_MM, LUNG_X_MM), LUNG_RADII_MM)
    return np.where(right, 1, np.where(left, 2, 0)).astype(np.uint8)


def _draw_couch(voxels_zyx: NDArray[np.float64], y_mm: NDArray[np.float64], spacing_y_mm: float) -> None:
    """A hollow board across the image, filled with foam, its shell one voxel thick."""
    rows = np.flatnonzero((y_mm >= COUCH_Y_MM[0]) & (y_mm <= COUCH_Y_MM[1]))
    if rows.size:
        voxels_zyx[:, rows[0] : rows[-1] + 1, 4:-4] = TISSUE_HU
        voxels_zyx[:, rows[1:-1], 5:-5] = FOAM_HU


def _ellipse(
    axes_mm: tuple[NDArray[np.float64], ...], centre_mm: tuple[float, ...], radii_mm: tuple[float, ...]
) -> NDArray[np.bool_]:
    return sum(((a - c) / r) ** 2 for a, c, r in zip(axes_mm, centre_mm, radii_mm, strict=True)) <= 1.0
