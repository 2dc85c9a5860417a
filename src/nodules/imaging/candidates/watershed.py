"""Watershed splitting of touching nodules, at a valley of the probability map or at a narrow neck of the shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

NEIGHBOURS = np.ones((3, 3, 3), dtype=bool)  # 26-neighbourhood: voxels that share a corner are connected
CORE_SHARE = 0.5  # the core of a candidate contains its voxels with at least this share of its peak
NECK = 0.6  # two lobes are two nodules if the radius of the neck is at most this share of the smaller lobe's radius
TIE = 1e-3  # weight of the probability added to the logarithm of the radius, to break ties between equal distances
ROUNDING = 1e-6  # tolerance for probabilities in float32, which are multiples of 1 / 255: 1 - 0.7 must reach 0.3


@dataclass(frozen=True)
class SplitLimits:
    """Conditions for splitting a connected component of the map.

    Attributes
    ----------
    dynamic : float
        Two peaks are two nodules if the map between them falls to at least this below the lower peak.
    min_peak : float
        Lowest peak of a part after splitting.
    min_voxels : float
        Smallest size of a part after splitting.
    """

    dynamic: float
    min_peak: float
    min_voxels: float


def split_touching(
    probability_zyx: NDArray[np.float32],
    inside: NDArray[np.bool_],
    spacing_zyx_mm: tuple[float, float, float],
    limits: SplitLimits,
) -> NDArray[np.int32]:
    """Split one connected component into nodules, labelled from 1, in the component's bounding box.

    The map is first split at peaks with a sufficient dynamic, which is the depth one must descend from a peak to reach
    a higher one (Grimaud, SPIE 1769, 1992). Each part is then split into the lobes of its core by the same criterion
    on the logarithm of the distance to the surface, where a difference is a ratio of radii. Parts too small to be a
    nodule stay with their neighbour.

    Parameters
    ----------
    probability_zyx : (Z, Y, X) ndarray
        Probability map in the box.
    inside : (Z, Y, X) ndarray of bool
        Mask of the component.
    spacing_zyx_mm : tuple of float
        Spacing of the grid.
    limits : SplitLimits
        Conditions for splitting.
    """
    bridged = _split_at_valleys(probability_zyx, inside, limits)
    labels, count = np.zeros(inside.shape, dtype=np.int32), 0
    for number in range(1, bridged.max() + 1):
        part = bridged == number
        lobes = _split_at_necks(probability_zyx, part, spacing_zyx_mm, limits)
        labels[part] = lobes[part] + count
        count += lobes.max()
    return labels


def heaviest_component(inside: NDArray[np.bool_], weight: NDArray[Any]) -> NDArray[np.bool_]:
    """Keep the connected component (26 neighbours) with the largest sum of weights."""
    parts, count = ndimage.label(inside, structure=NEIGHBOURS)
    if count < 2:
        return inside
    sums = np.bincount(parts[inside], weight[inside].astype(np.float64))
    # Rounded, so that the order of summation does not decide between equal sums.
    heaviest: NDArray[np.bool_] = parts == np.argmax(np.round(sums, 6))
    return heaviest


def _split_at_valleys(
    probability_zyx: NDArray[np.float32], inside: NDArray[np.bool_], limits: SplitLimits
) -> NDArray[np.int32]:
    values = probability_zyx[inside]
    if values.max() - values.min() < limits.dynamic * (1 - ROUNDING):
        return inside.astype(np.int32)
    return _watershed(probability_zyx.astype(np.float64), inside, limits)


def _split_at_necks(
    probability_zyx: NDArray[np.float32],
    part: NDArray[np.bool_],
    spacing_zyx_mm: tuple[float, float, float],
    limits: SplitLimits,
) -> NDArray[np.int32]:
    peak = probability_zyx[part].max()
    core = heaviest_component(part & (probability_zyx >= CORE_SHARE * peak), probability_zyx)
    radius_mm = ndimage.distance_transform_edt(np.pad(core, 1), spacing_zyx_mm)[1:-1, 1:-1, 1:-1]
    if np.count_nonzero(part) < 2 * limits.min_voxels or NECK * radius_mm.max() < min(spacing_zyx_mm):
        return part.astype(np.int32)  # too small for two nodules or for a neck
    height = np.log(np.where(core, radius_mm, min(spacing_zyx_mm) / 2)) + TIE * probability_zyx
    return _watershed(height, part, SplitLimits(-np.log(NECK), -np.inf, limits.min_voxels))


def _watershed(height_zyx: NDArray[np.float64], inside: NDArray[np.bool_], limits: SplitLimits) -> NDArray[np.int32]:
    """Watershed from the peaks of sufficient dynamic; parts that are too small are merged into the others."""
    markers, count = _extended_maxima(height_zyx, inside, limits)
    if count < 2:
        return inside.astype(np.int32)
    labels = watershed(-height_zyx, markers, connectivity=NEIGHBOURS, mask=inside)
    large = np.flatnonzero(np.bincount(labels[inside], minlength=count + 1)[1:] >= limits.min_voxels) + 1
    if len(large) < 2:
        return inside.astype(np.int32)
    if len(large) < count:
        # The remaining parts can only grow when others are removed, so none of them is too small now.
        labels = watershed(-height_zyx, _renumbered(markers, large)[0], connectivity=NEIGHBOURS, mask=inside)
    flooded: NDArray[np.int32] = labels.astype(np.int32)
    return flooded


def _extended_maxima(
    height_zyx: NDArray[np.float64], inside: NDArray[np.bool_], limits: SplitLimits
) -> tuple[NDArray[np.int32], int]:
    """Label and count the peaks with at least the required dynamic.

    These are the extended maxima of Soille (Morphological Image Analysis, 2003, 6.3.4): the map is lowered by the
    dynamic and reconstructed by dilation under the original, and the maxima of the result are the peaks.
    """
    dynamic = limits.dynamic * (1 - ROUNDING)
    ground = height_zyx[inside].min() - 2 * dynamic
    height = np.where(inside, height_zyx, ground)
    rebuilt = reconstruction(np.maximum(height - dynamic, ground), height, method="dilation", footprint=NEIGHBOURS)
    tops, count = ndimage.label(local_maxima(rebuilt, connectivity=3), structure=NEIGHBOURS)
    peaks = ndimage.maximum(height, tops, np.arange(count + 1))
    high = np.flatnonzero(peaks >= limits.min_peak)
    return _renumbered(tops, high[high > 0])


def _renumbered(labels_zyx: NDArray[Any], kept: NDArray[np.int64]) -> tuple[NDArray[np.int32], int]:
    """Keep the given labels, in ascending order, and renumber them from 1."""
    numbers = np.zeros(int(labels_zyx.max()) + 1, dtype=np.int32)
    numbers[kept] = np.arange(1, len(kept) + 1)
    return numbers[labels_zyx], len(kept)
