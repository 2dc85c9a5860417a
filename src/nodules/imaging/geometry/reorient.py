"""Reorientation of volumes to the world axes by swaps and flips; oblique grids are resampled."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from nodules.imaging.geometry.volume import AIR_HU, Volume

MAX_OBLIQUE_DEGREES = 2.0
"""A grid is resampled if an axis deviates by more than this from its world axis. An angle of 2 degrees moves the rim of
a 3 cm nodule by 0.5 mm relative to its centre, which is less than a voxel."""

MAX_VOXELS = 2**29
MAX_GROWTH = 4
"""A resampled grid of more than `MAX_VOXELS` voxels may have at most this many times the voxels of the oblique grid.
With more, the spacing must be wrong."""

_EDGE = 0.5 + 1e-3  # half a voxel, with a tolerance for rounding


def canonical_axes(volume: Volume) -> Volume:
    """Swap and flip axes so that x, y and z run as closely as possible to the patient's left, back and head.

    No voxel changes its value or its world position. An oblique grid stays oblique, as in ITK's DICOMOrient to LPS.

    Parameters
    ----------
    volume : Volume
        Any right- or left-handed grid.

    Returns
    -------
    Volume
        The same voxels, contiguous in memory.
    """
    direction = np.asarray(volume.direction_xyz, dtype=float).reshape(3, 3)
    columns = max(itertools.permutations(range(3)), key=lambda order: np.abs(direction[:, order].diagonal()).sum())
    flips_xyz = direction[:, columns].diagonal() < 0
    axes = [2 - column for column in columns[::-1]]  # the array's axes are z, y, x
    flips_zyx = flips_xyz[::-1]
    voxels = volume.voxels_zyx.transpose(axes)[tuple(slice(None, None, -1 if flip else 1) for flip in flips_zyx)]
    corner = [0, 0, 0]
    for axis, flip in zip(axes, flips_zyx, strict=True):
        corner[axis] = volume.shape_zyx[axis] - 1 if flip else 0
    x, y, z = (float(v) for v in volume.voxel_to_world(corner))
    spacing_z_mm, spacing_y_mm, spacing_x_mm = (volume.spacing_zyx_mm[axis] for axis in axes)
    # Adding 0.0 below turns -0.0 into 0.0.
    turned = direction[:, columns] * np.where(flips_xyz, -1.0, 1.0)
    return Volume(
        voxels_zyx=np.ascontiguousarray(voxels),
        spacing_zyx_mm=(spacing_z_mm, spacing_y_mm, spacing_x_mm),
        origin_xyz_mm=(x, y, z),
        direction_xyz=tuple(float(v) + 0.0 for v in turned.ravel()),
    )


def flipped_xy(direction_xyz: ArrayLike) -> tuple[bool, bool] | None:
    """Tell what bringing a grid onto the axes of the world does to the columns and rows of its slices.

    Parameters
    ----------
    direction_xyz : (3, 3) or (9,) array_like
        Columns: the directions of the x, y and z index axes, of length 1.

    Returns
    -------
    tuple of bool, or None
        Whether `canonical_axes` reverses x, and y; None if axes are swapped, or `resample_to_world_axes` resamples.
    """
    along = np.reshape(np.asarray(direction_xyz, dtype=float), (3, 3)).diagonal()
    if np.abs(along).min() < np.cos(np.radians(MAX_OBLIQUE_DEGREES)):
        return None
    return bool(along[0] < 0), bool(along[1] < 0)


def resample_to_world_axes(volume: Volume) -> tuple[Volume, float]:
    """Resample an oblique grid to the world axes; leave other grids unchanged.

    Parameters
    ----------
    volume : Volume
        int16 HU on canonical axes.

    Returns
    -------
    Volume
        The same object if no axis deviates by more than `MAX_OBLIQUE_DEGREES`, otherwise the result of
        `onto_world_axes`.
    float
        Largest angle in degrees between an axis of the grid and its world axis if the grid was resampled, otherwise 0.

    Raises
    ------
    ValueError
        If the resampled grid would be implausibly large; see `MAX_GROWTH`.
    """
    direction = np.reshape(volume.direction_xyz, (3, 3))
    degrees = float(np.degrees(np.arccos(np.clip(direction.diagonal().min(), -1, 1))))
    if degrees <= MAX_OBLIQUE_DEGREES:
        return volume, 0.0
    steps_xyz_mm = direction * np.asarray(volume.spacing_zyx_mm[::-1])
    return onto_world_axes(volume.voxels_zyx, volume.origin_xyz_mm, steps_xyz_mm), degrees


def onto_world_axes(voxels_zyx: NDArray[np.int16], origin_xyz_mm: ArrayLike, steps_xyz_mm: ArrayLike) -> Volume:
    """Resample voxels onto a grid aligned with the world axes; their axes may be oblique or sheared.

    Parameters
    ----------
    voxels_zyx : (Z, Y, X) ndarray of int16
        HU.
    origin_xyz_mm : (3,) array_like
        World position of the centre of voxel (0, 0, 0).
    steps_xyz_mm : (3, 3) array_like
        Columns: world vectors from one voxel to the next along the index axes x, y and z.

    Returns
    -------
    Volume
        int16 HU, interpolated linearly, on the smallest grid that covers every voxel. Points outside all voxels are
        air. The spacing along each world axis is the length of the step closest in direction.

    Raises
    ------
    ValueError
        If the steps lie in one plane, or the grid would be implausibly large; see `MAX_GROWTH`.
    """
    steps = np.asarray(steps_xyz_mm, dtype=float)
    if not abs(np.linalg.det(steps)) > 1e-6 * np.prod(np.linalg.norm(steps, axis=0)):
        raise ValueError(f"steps_xyz_mm: expected three linearly independent columns, got {steps.tolist()}")
    spacing_xyz_mm = _spacing_along_world(steps)
    size_xyz = np.asarray(voxels_zyx.shape[::-1])
    extent_xyz_mm = np.abs(steps) @ size_xyz
    shape_xyz = np.maximum(1, np.ceil(extent_xyz_mm / spacing_xyz_mm - 1e-3)).astype(int)
    if not math.prod(map(int, shape_xyz)) <= max(MAX_VOXELS, MAX_GROWTH * voxels_zyx.size):
        raise ValueError(
            f"resampling {tuple(size_xyz)} voxels to the world axes: expected at most {MAX_VOXELS} voxels or "
            f"{MAX_GROWTH} times as many, got a grid of {tuple(shape_xyz)}; check the spacing and the orientation"
        )
    middle_xyz_mm = np.asarray(origin_xyz_mm, dtype=float) + steps @ (size_xyz - 1) / 2
    corner_xyz_mm = middle_xyz_mm - spacing_xyz_mm * (shape_xyz - 1) / 2
    to_index = np.linalg.inv(steps)
    matrix_zyx = (to_index * spacing_xyz_mm)[::-1, ::-1]
    offset_zyx = (to_index @ (corner_xyz_mm - np.asarray(origin_xyz_mm, dtype=float)))[::-1]
    x, y, z = (float(v) for v in corner_xyz_mm)
    spacing_x_mm, spacing_y_mm, spacing_z_mm = (float(v) for v in spacing_xyz_mm)
    voxels = _sample(voxels_zyx, matrix_zyx, offset_zyx, tuple(int(n) for n in shape_xyz[::-1]))
    return Volume(voxels, (spacing_z_mm, spacing_y_mm, spacing_x_mm), (x, y, z))


def _spacing_along_world(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(steps, axis=0)
    along = np.abs(steps / lengths)
    order = max(itertools.permutations(range(3)), key=lambda order: along[:, order].diagonal().sum())
    spacing: NDArray[np.float64] = lengths[list(order)]
    return spacing


def _sample(
    voxels_zyx: NDArray[np.int16], matrix: NDArray[np.float64], offset: NDArray[np.float64], shape: tuple[int, ...]
) -> NDArray[np.int16]:
    """Interpolate linearly between centres, constant from the outermost centre to its voxel's edge, air beyond."""
    found = np.empty(shape, dtype=np.int16)
    ndimage.affine_transform(voxels_zyx, matrix, offset, output_shape=shape, output=found, order=1, mode="nearest")
    y, x = np.ogrid[: shape[1], : shape[2]]
    for z, plane in enumerate(found):
        outside = np.zeros(plane.shape, dtype=bool)
        for row, start, size in zip(matrix, offset + matrix[:, 0] * z, voxels_zyx.shape, strict=True):
            index = (row[1] * y + start) + row[2] * x
            outside |= (index < -_EDGE) | (index > size - 1 + _EDGE)
        plane[outside] = AIR_HU
    return found
