"""Turning a grid's axes the way of the body's, without moving a voxel."""

from __future__ import annotations

import itertools

import numpy as np

from nodules.imaging.geometry.volume import Volume


def canonical_axes(volume: Volume) -> Volume:
    """Swap and flip axes until x, y and z run as near to the world's left, back and head as they can.

    No voxel changes its value or its place in the world; an oblique grid stays oblique (as ITK's DICOMOrient to LPS).

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
    axes = [2 - column for column in columns[::-1]]  # the array's axes run z, y, x
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
