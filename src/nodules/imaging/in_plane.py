"""Morphology on each axial slice by itself, with lengths in mm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

IN_PLANE = np.array([[[0, 0, 0]] * 3, [[0, 1, 0], [1, 1, 1], [0, 1, 0]], [[0, 0, 0]] * 3], dtype=bool)
BETWEEN_SLICES_MM = 1e6  # so that no slice sees its neighbours


def depth_mm(mask_zyx: NDArray[np.bool_], spacing_zyx_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    """Distance of each voxel of the mask to the nearest voxel outside it in the same slice; 0 outside the mask.

    In a slice that the mask fills, the distance is larger than any patient.
    """
    if mask_zyx.all():
        return np.full(mask_zyx.shape, BETWEEN_SLICES_MM)
    return ndimage.distance_transform_edt(mask_zyx, (BETWEEN_SLICES_MM, *spacing_zyx_mm[1:]))


def dilate(
    mask_zyx: NDArray[np.bool_], spacing_zyx_mm: tuple[float, float, float], radius_mm: float
) -> NDArray[np.bool_]:
    """Add the voxels within `radius_mm` of the mask in the same slice."""
    return depth_mm(~mask_zyx, spacing_zyx_mm) <= radius_mm


def close(
    mask_zyx: NDArray[np.bool_], spacing_zyx_mm: tuple[float, float, float], radius_mm: float
) -> NDArray[np.bool_]:
    """Close bays narrower than a disc of `radius_mm`, then fill holes."""
    if not mask_zyx.any():
        return mask_zyx
    margin = [0] + [int(np.ceil(radius_mm / s)) + 1 for s in spacing_zyx_mm[1:]]
    tight = bounding_box(mask_zyx)
    mask = np.pad(mask_zyx[tight], [(m, m) for m in margin])
    swollen = dilate(mask, spacing_zyx_mm, radius_mm)
    closed = mask | (depth_mm(swollen, spacing_zyx_mm) > radius_mm)
    filled = closed | not_outside(~closed)
    result = np.zeros_like(mask_zyx)
    result[tight] = filled[:, margin[1] : -margin[1], margin[2] : -margin[2]]
    return result


def not_outside(mask_zyx: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Parts of the mask that in their slice are not connected with the edge of the image."""
    labels, count = ndimage.label(mask_zyx, IN_PLANE)
    outside = np.zeros(count + 1, dtype=bool)
    outside[0] = True
    for edge in (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]):
        outside[edge] = True
    return ~outside[labels]


def share_of_surroundings(
    labels_zyx: NDArray[Any], wanted_zyx: NDArray[np.bool_], counted_zyx: NDArray[np.bool_], steps: int
) -> NDArray[np.float64]:
    """Share of wanted voxels among the counted ones up to `steps` voxels around each label in its slice.

    Returns
    -------
    (L + 1,) ndarray of float64
        By label, from 0 to the largest one L; 0 where nothing around a label counts.
    """
    width = 2 * steps + 1
    grown = ndimage.maximum_filter(labels_zyx, size=(1, width, width))
    ring = counted_zyx & (labels_zyx == 0)
    size = int(labels_zyx.max()) + 1
    counted = np.bincount(grown[ring], minlength=size)
    return np.bincount(grown[ring & wanted_zyx], minlength=size) / np.maximum(counted, 1)


def bounding_box(mask_zyx: NDArray[np.bool_], margin_zyx: Sequence[int] = (0, 0, 0)) -> tuple[slice, slice, slice]:
    """Smallest box around a mask that is not empty, widened by a margin but never beyond the grid."""
    box = []
    for axis, margin in enumerate(margin_zyx):
        others = tuple(other for other in range(3) if other != axis)
        inside = np.flatnonzero(mask_zyx.any(axis=others))
        box.append(slice(max(int(inside[0]) - margin, 0), min(int(inside[-1]) + margin + 1, mask_zyx.shape[axis])))
    return box[0], box[1], box[2]
