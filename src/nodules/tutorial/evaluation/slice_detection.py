"""Slice-level detection and segmentation scores: hits, false positives and Dice, and the choice of operating point.

The reference is a disc of the annotated diameter for each nodule that a slice cuts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

MIN_PIXELS = 4
EIGHT_NEIGHBOURS = np.ones((3, 3))


@dataclass(frozen=True)
class OperatingPoint:
    """Settings that turn a probability map into a mask of connected components.

    Attributes
    ----------
    threshold : float
        Lowest probability of a pixel in a component.
    peak : float
        Lowest peak probability of an accepted component.
    min_mm2 : float
        Smallest area of an accepted component; `MIN_PIXELS` is the least in any case.
    share, power : float
        Pixels below ``share * component_peak ** power`` are removed from their component. With a power of 1 this is a
        fixed fraction of the component's peak, as for whole scans (`imaging.candidates`). A higher power removes less
        from components with a low peak: where the network is unsure of a nodule, its probability falls off even more
        towards the nodule's edge.
    """

    threshold: float
    peak: float
    min_mm2: float
    share: float = 0.0
    power: float = 1.0

    @property
    def cut(self) -> tuple[float, float, float]:
        """The settings that define the components, before small or faint ones are rejected."""
        return self.threshold, self.share, self.power


@dataclass(frozen=True)
class PredictedSlice:
    """An axial slice with its predicted probability map and its ground truth, all on the scan's own pixels.

    Attributes
    ----------
    hu_yx : (Y, X) ndarray of int16
        The slice in HU.
    probability_yx : (Y, X) ndarray of float
        Nodule probability that the network predicts.
    truth_yx : (Y, X) ndarray of int
        Nodule labels: 1 for the nodule that the slice was selected for, 2 and up for any others, 0 elsewhere.
    lungs_yx : (Y, X) ndarray of bool
        Lung mask; false positives are counted only where it is True.
    pixel_mm2 : float
        Area of a pixel.
    diameter_mm : float
        Diameter of nodule 1; NaN if the slice does not cut it.
    spared_yx : (Y, X) ndarray of bool, optional
        Findings that are neither nodules nor mistakes; a component that touches one is no false positive.
    """

    hu_yx: NDArray[np.int16]
    probability_yx: NDArray[np.float32]
    truth_yx: NDArray[np.uint16]
    lungs_yx: NDArray[np.bool_]
    pixel_mm2: float
    diameter_mm: float
    spared_yx: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Components:
    """Connected components (8 neighbours) of a probability map, measured once for many operating points.

    Attributes
    ----------
    labels_yx : (Y, X) ndarray of int
        Labels 1 to N; a component that falls apart when pixels are removed keeps one label.
    pixels, peak : (N,) ndarray
        Number of pixels and largest probability of each component.
    """

    labels_yx: NDArray[np.int32]
    pixels: NDArray[np.int64]
    peak: NDArray[np.float64]

    @classmethod
    def of(cls, probability_yx: NDArray[np.float32], threshold: float, share: float, power: float) -> Components:
        """Label the components, remove their faint pixels and measure them; see `OperatingPoint`."""
        found, count = ndimage.label(probability_yx >= threshold, EIGHT_NEIGHBOURS)
        labels = np.asarray(found, dtype=np.int32)
        inside = np.flatnonzero(labels)
        part, probability = labels.flat[inside], probability_yx.flat[inside]
        peak = np.zeros(count + 1)
        np.maximum.at(peak, part, probability)
        labels.flat[inside[probability < (share * peak**power)[part]]] = 0
        return cls(labels, np.bincount(labels.ravel(), minlength=count + 1)[1:], peak[1:])

    def pixels_on(self, where_yx: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Count the pixels of each component (N,) that lie in a region."""
        return np.bincount(self.labels_yx[where_yx], minlength=len(self.pixels) + 1)[1:]

    def accepted(self, pixel_mm2: float, point: OperatingPoint) -> NDArray[np.bool_]:
        """Tell which components (N,) have the area and the peak that the operating point requires."""
        return (self.pixels >= max(MIN_PIXELS, point.min_mm2 / pixel_mm2)) & (self.peak >= point.peak)


@dataclass(frozen=True)
class Overlaps:
    """The components of a slice and their overlap with nodules and lungs, for all operating points of one cut.

    Attributes
    ----------
    components : Components
        Of the slice.
    on_nodules, on_own : (N,) ndarray of int64
        Pixels of each component on any nodule, and on nodule 1.
    may_be_false : (N,) ndarray of bool
        Whether the component reaches into the lungs and touches no spared finding.
    truth_pixels, own_pixels : int
        Pixels of all nodules, and of nodule 1.
    """

    components: Components
    on_nodules: NDArray[np.int64]
    on_own: NDArray[np.int64]
    may_be_false: NDArray[np.bool_]
    truth_pixels: int
    own_pixels: int

    @classmethod
    def of(cls, image: PredictedSlice, threshold: float, share: float, power: float) -> Overlaps:
        """Label the components of a slice by the three values of `OperatingPoint.cut`, and measure their overlap."""
        components = Components.of(image.probability_yx, threshold, share, power)
        own, any_nodule = image.truth_yx == 1, image.truth_yx > 0
        may_be_false = components.pixels_on(image.lungs_yx) > 0
        if image.spared_yx is not None:
            may_be_false &= components.pixels_on(image.spared_yx) == 0
        return cls(
            components=components,
            on_nodules=components.pixels_on(any_nodule),
            on_own=components.pixels_on(own),
            may_be_false=may_be_false,
            truth_pixels=int(np.count_nonzero(any_nodule)),
            own_pixels=int(np.count_nonzero(own)),
        )

    def score(self, image: PredictedSlice, point: OperatingPoint) -> dict[str, float]:
        """Score the slice as `score_slice` does; the point must have the cut of these components."""
        kept = self.components.accepted(image.pixel_mm2, point)
        truth, own_truth = self.truth_pixels, self.own_pixels
        own = kept & (self.on_own > 0)
        found, own_found = (int(self.components.pixels[chosen].sum()) for chosen in (kept, own))
        return {
            "dice": 2.0 * self.on_nodules[kept].sum() / (found + truth) if truth else np.nan,
            "hit": float(own.any()) if own_truth else np.nan,
            "nodule_dice": 2.0 * self.on_own[own].sum() / (own_found + own_truth) if own_truth else np.nan,
            "false_positives": float(np.count_nonzero(kept & (self.on_nodules == 0) & self.may_be_false)),
            "diameter_mm": image.diameter_mm,
        }


def component_labels(probability_yx: NDArray[np.float32], pixel_mm2: float, point: OperatingPoint) -> NDArray[np.int32]:
    """Label the components (Y, X) that an operating point accepts; 0 is background."""
    components = Components.of(probability_yx, *point.cut)
    accepted = np.append(False, components.accepted(pixel_mm2, point))
    return np.where(accepted[components.labels_yx], components.labels_yx, 0).astype(np.int32)


def score_slice(image: PredictedSlice, point: OperatingPoint) -> dict[str, float]:
    """Score a slice: its Dice against all nodules, whether nodule 1 is hit, and the false positives.

    Returns
    -------
    dict of str to float
        - ``dice``: Dice of the whole slice; NaN if the slice cuts no nodule.
        - ``hit``: 1 if a component touches nodule 1, else 0; NaN if the slice does not cut nodule 1.
        - ``nodule_dice``: Dice of the components that touch nodule 1 against nodule 1; NaN as for ``hit``.
        - ``false_positives``: number of components in the lungs that touch no nodule.
        - ``diameter_mm``: diameter of nodule 1.
    """
    return Overlaps.of(image, *point.cut).score(image, point)


def mean_soft_dice(masks: NDArray[np.float32], predictions: NDArray[np.float32]) -> float:
    """Mean soft Dice of slices, the number that the tutorial reports.

    The Dice of each slice is taken of probabilities, with 1 added to numerator and denominator.

    Parameters
    ----------
    masks, predictions : (N, S, S) ndarray of float32
        Reference masks and predicted probabilities.

    Returns
    -------
    float
        NaN without slices.
    """
    if not len(masks):
        return float("nan")
    overlap, sizes = (masks * predictions).sum(axis=(1, 2)), masks.sum(axis=(1, 2)) + predictions.sum(axis=(1, 2))
    return float(np.mean((2.0 * overlap + 1.0) / (sizes + 1.0)))
