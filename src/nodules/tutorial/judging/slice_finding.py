"""Nodules on whole slices: Dice against discs of the annotated diameter, hits and false positives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

MIN_PIXELS = 4
EIGHT_NEIGHBOURS = np.ones((3, 3))


@dataclass(frozen=True)
class OperatingPoint:
    """How a map of probability becomes a mask.

    Attributes
    ----------
    threshold : float
        Lowest probability of a pixel.
    peak : float
        A connected part needs a pixel of at least this.
    min_mm2 : float
        Smallest part; never below `MIN_PIXELS`.
    share, power : float
        Pixels below `share * peak ** power` of their part's peak are cut off; with a power of 1 that is a share of the
        peak, as in whole scans (`imaging.candidates`). With a higher one a faint part keeps more of its rim than a
        sure one: where a network is unsure of a nodule, it says still less at the nodule's edge.
    """

    threshold: float
    peak: float
    min_mm2: float
    share: float = 0.0
    power: float = 1.0

    @property
    def cut(self) -> tuple[float, float, float]:
        """What decides on the parts, before any is left out."""
        return self.threshold, self.share, self.power


@dataclass(frozen=True)
class Slice:
    """A slice on the scan's own pixels.

    Attributes
    ----------
    hu_yx : (Y, X) ndarray of int16
        The slice.
    probability_yx : (Y, X) ndarray of float
        The network's answer.
    truth_yx : (Y, X) ndarray of int
        1 the nodule that the slice was chosen for, 2 .. any others; 0 where there is none.
    lungs_yx : (Y, X) ndarray of bool
        Where false positives are counted.
    pixel_mm2, diameter_mm : float
        Area of a pixel; diameter of nodule 1, NaN where the slice does not show it.
    """

    hu_yx: NDArray[np.int16]
    probability_yx: NDArray[np.float32]
    truth_yx: NDArray[np.uint16]
    lungs_yx: NDArray[np.bool_]
    pixel_mm2: float
    diameter_mm: float


@dataclass(frozen=True)
class Parts:
    """The connected parts (8 neighbours) of a map, cut and measured once for many operating points.

    Attributes
    ----------
    labels_yx : (Y, X) ndarray of int
        1 .. N; a part that is cut in two keeps one label.
    pixels, peak : (N,) ndarray
        Size and largest probability of each part.
    """

    labels_yx: NDArray[np.int32]
    pixels: NDArray[np.int64]
    peak: NDArray[np.float64]

    @classmethod
    def of(cls, probability_yx: NDArray[np.float32], threshold: float, share: float, power: float) -> Parts:
        """Find, cut and measure the parts."""
        found, count = ndimage.label(probability_yx >= threshold, EIGHT_NEIGHBOURS)
        labels = np.asarray(found, dtype=np.int32)
        inside = np.flatnonzero(labels)
        part, probability = labels.flat[inside], probability_yx.flat[inside]
        peak = np.zeros(count + 1)
        np.maximum.at(peak, part, probability)
        labels.flat[inside[probability < (share * peak**power)[part]]] = 0
        return cls(labels, np.bincount(labels.ravel(), minlength=count + 1)[1:], peak[1:])

    def pixels_on(self, where_yx: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Pixels (N,) of each part in a region."""
        return np.bincount(self.labels_yx[where_yx], minlength=len(self.pixels) + 1)[1:]

    def count(self, pixel_mm2: float, point: OperatingPoint) -> NDArray[np.bool_]:
        """Tell which parts (N,) are large and sure enough."""
        return (self.pixels >= max(MIN_PIXELS, point.min_mm2 / pixel_mm2)) & (self.peak >= point.peak)


@dataclass(frozen=True)
class PlacedParts:
    """The parts of a slice, cut and placed once for many operating points of one `OperatingPoint.cut`.

    Attributes
    ----------
    parts : Parts
        Of the slice.
    on_nodules, on_own : (N,) ndarray of int64
        Pixels of each part on any nodule, and on the one that the slice was chosen for.
    in_lungs : (N,) ndarray of bool
        Whether the part reaches into the lungs.
    truth_pixels, own_pixels : int
        Pixels of all nodules, and of the one that the slice was chosen for.
    """

    parts: Parts
    on_nodules: NDArray[np.int64]
    on_own: NDArray[np.int64]
    in_lungs: NDArray[np.bool_]
    truth_pixels: int
    own_pixels: int

    @classmethod
    def of(cls, image: Slice, threshold: float, share: float, power: float) -> PlacedParts:
        """Find, cut and place the parts."""
        parts = Parts.of(image.probability_yx, threshold, share, power)
        own, any_nodule = image.truth_yx == 1, image.truth_yx > 0
        return cls(
            parts=parts,
            on_nodules=parts.pixels_on(any_nodule),
            on_own=parts.pixels_on(own),
            in_lungs=parts.pixels_on(image.lungs_yx) > 0,
            truth_pixels=int(np.count_nonzero(any_nodule)),
            own_pixels=int(np.count_nonzero(own)),
        )

    def score(self, image: Slice, point: OperatingPoint) -> dict[str, float]:
        """As the function `score` says; the point must have the cut of these parts."""
        kept = self.parts.count(image.pixel_mm2, point)
        truth, own_truth = self.truth_pixels, self.own_pixels
        own = kept & (self.on_own > 0)
        found, own_found = (int(self.parts.pixels[chosen].sum()) for chosen in (kept, own))
        return {
            "dice": 2.0 * self.on_nodules[kept].sum() / (found + truth) if truth else np.nan,
            "hit": float(own.any()) if own_truth else np.nan,
            "nodule_dice": 2.0 * self.on_own[own].sum() / (own_found + own_truth) if own_truth else np.nan,
            "false_positives": float(np.count_nonzero(kept & (self.on_nodules == 0) & self.in_lungs)),
            "diameter_mm": image.diameter_mm,
        }


def mask(probability_yx: NDArray[np.float32], pixel_mm2: float, point: OperatingPoint) -> NDArray[np.int32]:
    """Labels of the parts that count."""
    parts = Parts.of(probability_yx, *point.cut)
    counts = np.append(False, parts.count(pixel_mm2, point))
    return np.where(counts[parts.labels_yx], parts.labels_yx, 0).astype(np.int32)


def score(image: Slice, point: OperatingPoint) -> dict[str, float]:
    """Dice of the whole slice against all its nodules, and how nodule 1 fares.

    Returns
    -------
    dict of str to float
        `dice` of the slice, NaN where it shows no nodule; `hit`, whether a part touches nodule 1, and `nodule_dice`,
        of those parts against nodule 1, both NaN where the slice does not show it; `false_positives`, parts in the
        lungs that touch no nodule; `diameter_mm` of nodule 1.
    """
    return PlacedParts.of(image, *point.cut).score(image, point)


def mean_soft_dice(masks: NDArray[np.float32], answers: NDArray[np.float32]) -> float:
    """The number that the tutorial reports: the mean over slices of a Dice of probabilities, 1 added above and below.

    NaN without slices.
    """
    if not len(masks):
        return float("nan")
    overlap, sizes = (masks * answers).sum(axis=(1, 2)), masks.sum(axis=(1, 2)) + answers.sum(axis=(1, 2))
    return float(np.mean((2.0 * overlap + 1.0) / (sizes + 1.0)))
