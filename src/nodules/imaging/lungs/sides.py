"""Separation of the lungs into right and left, even where the two touch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nodules.imaging.geometry import morphology

RIGHT, LEFT = 1, 2
NECK_MM = (0.0, 1.5, 3.0, 4.5, 6.0, 8.0, 10.0, 13.0, 16.0, 20.0)  # erosion radii, tried in this order
MIN_PARTNER_SHARE = 0.1  # of the larger lung; a smaller part is a lobe or a pocket, not the other lung
MIN_APART_MM = 60.0  # between the centres of the two lungs along x
OFF_MIDLINE_MM = 20.0  # a further part whose centre is farther from the midline belongs to the lung on its side


def label_sides(
    lungs_zyx: NDArray[np.bool_], spacing_zyx_mm: tuple[float, float, float], midline_x: float
) -> NDArray[np.uint8]:
    """Label lung tissue 1 (right) or 2 (left).

    The lungs are eroded in plane with increasing radii until two large parts lie side by side. Further parts that are
    clearly off the midline, such as recesses beside the diaphragm, join the lung on their side. Every other voxel joins
    the nearest labelled part. A single lung is labelled by the side of the midline on which its centre lies.

    Parameters
    ----------
    lungs_zyx : (Z, Y, X) ndarray of bool
        Both lungs. The column index increases towards the patient's left.
    spacing_zyx_mm : tuple of float
        Spacing of the grid.
    midline_x : float
        Column index of the middle of the body.

    Returns
    -------
    (Z, Y, X) ndarray of uint8
        0 background, 1 right lung, 2 left lung.
    """
    labels = np.zeros(lungs_zyx.shape, dtype=np.uint8)
    if not lungs_zyx.any():
        return labels
    box = morphology.bounding_box(lungs_zyx)
    lungs = np.pad(lungs_zyx[box], ((0, 0), (1, 1), (1, 1)))
    offset = box[2].start - 1
    sides = _nearest(lungs, _seeds(lungs, spacing_zyx_mm, midline_x - offset), spacing_zyx_mm)
    labels[box] = np.where(lungs, sides, 0)[:, 1:-1, 1:-1]
    return labels


def _seeds(
    lungs_zyx: NDArray[np.bool_], spacing_zyx_mm: tuple[float, float, float], midline_x: float
) -> NDArray[np.uint8]:
    for neck_mm in NECK_MM:
        parts, count = ndimage.label(morphology.erode(lungs_zyx, spacing_zyx_mm, neck_mm))
        sizes, middles_x = _sizes_and_middles(parts, count)
        pair = _pair(sizes, middles_x, spacing_zyx_mm[2])
        if pair is not None:
            return _sides_of_parts(pair, middles_x, midline_x, spacing_zyx_mm[2])[parts]
    return _by_centre(lungs_zyx, midline_x)


def _sides_of_parts(
    pair: tuple[int, int], middles_x: NDArray[np.float64], midline_x: float, x_mm: float
) -> NDArray[np.uint8]:
    """Side of each part, 0 if uncertain. If the pair does not straddle the midline, all other parts are uncertain."""
    numbers = np.zeros(middles_x.size, dtype=np.uint8)
    right, left = pair
    if middles_x[right] < midline_x < middles_x[left]:
        off_mm = (middles_x - midline_x) * x_mm
        numbers[off_mm <= -OFF_MIDLINE_MM], numbers[off_mm >= OFF_MIDLINE_MM] = RIGHT, LEFT
    numbers[0], numbers[right], numbers[left] = 0, RIGHT, LEFT
    return numbers


def _pair(sizes: NDArray[np.float64], middles_x: NDArray[np.float64], x_mm: float) -> tuple[int, int] | None:
    """Return the largest part and the largest part beside it, the right one first."""
    if sizes.size < 3:
        return None
    first = int(sizes.argmax())
    apart = np.abs(middles_x - middles_x[first]) * x_mm >= MIN_APART_MM
    second = int(np.where(apart, sizes, 0).argmax())
    if not apart[second] or sizes[second] < MIN_PARTNER_SHARE * sizes[first]:
        return None
    return (first, second) if middles_x[first] < middles_x[second] else (second, first)


def _sizes_and_middles(parts_zyx: NDArray[Any], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    inside = parts_zyx > 0
    numbers = parts_zyx[inside]
    columns = np.broadcast_to(np.arange(parts_zyx.shape[2], dtype=float), parts_zyx.shape)[inside]
    sizes = np.bincount(numbers, minlength=count + 1).astype(float)
    return sizes, np.bincount(numbers, weights=columns, minlength=count + 1) / np.maximum(sizes, 1)


def _by_centre(lungs_zyx: NDArray[np.bool_], midline_x: float) -> NDArray[np.uint8]:
    parts, count = ndimage.label(lungs_zyx)
    _, middles_x = _sizes_and_middles(parts, count)
    numbers = np.where(middles_x < midline_x, RIGHT, LEFT).astype(np.uint8)
    numbers[0] = 0
    return numbers[parts]


def _nearest(
    lungs_zyx: NDArray[np.bool_], seeds_zyx: NDArray[np.uint8], spacing_zyx_mm: tuple[float, float, float]
) -> NDArray[np.uint8]:
    if ((seeds_zyx > 0) == lungs_zyx).all():
        return seeds_zyx
    indices = ndimage.distance_transform_edt(
        seeds_zyx == 0, spacing_zyx_mm, return_distances=False, return_indices=True
    )
    return seeds_zyx[tuple(indices)]
