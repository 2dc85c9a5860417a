"""Nodules that touch in the network's answer, cut apart at a weak bridge of the map or a narrow neck of the shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

NEIGHBOURS = np.ones((3, 3, 3), dtype=bool)  # 26: voxels that share a corner touch
CORE_SHARE = 0.5  # a candidate's core: its voxels with at least this share of its peak
NECK = 0.6  # two lobes are two nodules where the neck's radius is at most this share of the smaller lobe's
TIE = 1e-3  # of a probability, added to a logarithm of radii: equal distances are told apart by the map
ROUNDING = 1e-6  # probabilities are multiples of 1 / 255 in float32: 1 - 0.7 must still reach 0.3


@dataclass(frozen=True)
class Cut:
    """When a connected part of the map is cut.

    Attributes
    ----------
    dynamic : float
        Two peaks are two nodules where the map falls between them by at least this below the lower one.
    min_peak : float
        Lowest peak of a part.
    min_voxels : float
        Fewest voxels of a part.
    """

    dynamic: float
    min_peak: float
    min_voxels: float


def cut_apart(
    probability_zyx: NDArray[np.float32],
    inside: NDArray[np.bool_],
    spacing_zyx_mm: tuple[float, float, float],
    cut: Cut,
) -> NDArray[np.int32]:
    """Labels from 1 for the nodules of one connected component, in the component's own box.

    First the map's peaks by their dynamics (how far one must descend from a peak to reach a higher one: Grimaud, SPIE
    1769, 1992), then, within each, the lobes of its core by the same on the logarithm of the distance to the surface,
    where a fall is a ratio of radii. What is too small to be a nodule stays with its neighbour.

    Parameters
    ----------
    probability_zyx : (Z, Y, X) ndarray
        The map in the box.
    inside : (Z, Y, X) ndarray of bool
        The component.
    spacing_zyx_mm : tuple of float
        Spacing of the grid.
    cut : Cut
        Limits.
    """
    bridged = _by_peaks(probability_zyx, inside, cut)
    labels, count = np.zeros(inside.shape, dtype=np.int32), 0
    for number in range(1, bridged.max() + 1):
        part = bridged == number
        lobes = _by_necks(probability_zyx, part, spacing_zyx_mm, cut)
        labels[part] = lobes[part] + count
        count += lobes.max()
    return labels


def heaviest_part(inside: NDArray[np.bool_], weight: NDArray[Any]) -> NDArray[np.bool_]:
    """The connected part (26 neighbours) with the largest sum of weights; everything if nothing is inside."""
    parts, count = ndimage.label(inside, structure=NEIGHBOURS)
    if count < 2:
        return inside
    sums = np.bincount(parts[inside], weight[inside].astype(np.float64))
    # Rounded, so that the order of summing does not decide between equals.
    heaviest: NDArray[np.bool_] = parts == np.argmax(np.round(sums, 6))
    return heaviest


def _by_peaks(probability_zyx: NDArray[np.float32], inside: NDArray[np.bool_], cut: Cut) -> NDArray[np.int32]:
    values = probability_zyx[inside]
    if values.max() - values.min() < cut.dynamic * (1 - ROUNDING):
        return inside.astype(np.int32)
    return _flooded(probability_zyx.astype(np.float64), inside, cut)


def _by_necks(
    probability_zyx: NDArray[np.float32],
    part: NDArray[np.bool_],
    spacing_zyx_mm: tuple[float, float, float],
    cut: Cut,
) -> NDArray[np.int32]:
    peak = probability_zyx[part].max()
    core = heaviest_part(part & (probability_zyx >= CORE_SHARE * peak), probability_zyx)
    radius_mm = ndimage.distance_transform_edt(np.pad(core, 1), spacing_zyx_mm)[1:-1, 1:-1, 1:-1]
    if np.count_nonzero(part) < 2 * cut.min_voxels or NECK * radius_mm.max() < min(spacing_zyx_mm):
        return part.astype(np.int32)  # no room for two nodules, or for a neck thinner than the thickest lobe
    height = np.log(np.where(core, radius_mm, min(spacing_zyx_mm) / 2)) + TIE * probability_zyx
    return _flooded(height, part, Cut(-np.log(NECK), -np.inf, cut.min_voxels))


def _flooded(height_zyx: NDArray[np.float64], inside: NDArray[np.bool_], cut: Cut) -> NDArray[np.int32]:
    """Watershed of the peaks that stand out by the dynamic; parts that are too small are left to the others."""
    markers, count = _outstanding(height_zyx, inside, cut)
    if count < 2:
        return inside.astype(np.int32)
    labels = watershed(-height_zyx, markers, connectivity=NEIGHBOURS, mask=inside)
    large = np.flatnonzero(np.bincount(labels[inside], minlength=count + 1)[1:] >= cut.min_voxels) + 1
    if len(large) < 2:
        return inside.astype(np.int32)
    if len(large) < count:
        # Each can only grow when others vanish, so that none is too small now.
        labels = watershed(-height_zyx, _renumbered(markers, large)[0], connectivity=NEIGHBOURS, mask=inside)
    flooded: NDArray[np.int32] = labels.astype(np.int32)
    return flooded


def _outstanding(height_zyx: NDArray[np.float64], inside: NDArray[np.bool_], cut: Cut) -> tuple[NDArray[np.int32], int]:
    """Label the tops whose dynamic is at least that wanted, and count them.

    Lowered by the dynamic and grown back under the map, lesser peaks drown in the plateau of a higher one; what is
    still a maximum stands out (the extended maxima of Soille, Morphological Image Analysis, 2003, 6.3.4).
    """
    dynamic = cut.dynamic * (1 - ROUNDING)
    ground = height_zyx[inside].min() - 2 * dynamic
    height = np.where(inside, height_zyx, ground)
    rebuilt = reconstruction(np.maximum(height - dynamic, ground), height, method="dilation", footprint=NEIGHBOURS)
    tops, count = ndimage.label(local_maxima(rebuilt, connectivity=3), structure=NEIGHBOURS)
    peaks = ndimage.maximum(height, tops, np.arange(count + 1))
    high = np.flatnonzero(peaks >= cut.min_peak)
    return _renumbered(tops, high[high > 0])


def _renumbered(labels_zyx: NDArray[Any], kept: NDArray[np.int64]) -> tuple[NDArray[np.int32], int]:
    """Keep some labels, ascending, numbered from 1."""
    numbers = np.zeros(int(labels_zyx.max()) + 1, dtype=np.int32)
    numbers[kept] = np.arange(1, len(kept) + 1)
    return numbers[labels_zyx], len(kept)
