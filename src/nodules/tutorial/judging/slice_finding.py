"""Nodules on whole slices: Dice against discs of the annotated diameter, hits, false positives, by diameter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from nodules.imaging.geometry.spheres import DIAMETER_STRATA_MM

MIN_PIXELS = 4
STRATUM_TITLES = {"under_6mm": "< 6 mm", "6_to_10mm": "6-10 mm", "from_10mm": ">= 10 mm"}
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
class _Placed:
    """The parts of a slice, where they lie, and the pixels of its nodules."""

    parts: Parts
    on_nodules: NDArray[np.int64]
    on_own: NDArray[np.int64]
    in_lungs: NDArray[np.bool_]
    truth_pixels: int
    own_pixels: int

    @classmethod
    def of(cls, image: Slice, threshold: float, share: float, power: float) -> _Placed:
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
    return _score(image, point, _Placed.of(image, *point.cut))


def _score(image: Slice, point: OperatingPoint, placed: _Placed) -> dict[str, float]:
    kept = placed.parts.count(image.pixel_mm2, point)
    truth, own_truth = placed.truth_pixels, placed.own_pixels
    own = kept & (placed.on_own > 0)
    found, own_found = (int(placed.parts.pixels[chosen].sum()) for chosen in (kept, own))
    return {
        "dice": 2.0 * placed.on_nodules[kept].sum() / (found + truth) if truth else np.nan,
        "hit": float(own.any()) if own_truth else np.nan,
        "nodule_dice": 2.0 * placed.on_own[own].sum() / (own_found + own_truth) if own_truth else np.nan,
        "false_positives": float(np.count_nonzero(kept & (placed.on_nodules == 0) & placed.in_lungs)),
        "diameter_mm": image.diameter_mm,
    }


def scores(images: Iterable[Slice], point: OperatingPoint) -> pd.DataFrame:
    """One row a slice."""
    return pd.DataFrame([score(image, point) for image in images])


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over all slices and by diameter; what a slice has no number for, it does not count in.

    Returns
    -------
    DataFrame
        `slices`; mean and `median` of `dice` of whole slices; `hit`, the share of nodules; `dice_of_hits`, the mean
        Dice of the hit nodules, each with the parts that touch it; `false_positives` a slice. One row for all slices,
        one a stratum.
    """
    strata = {"all": rows} | {
        STRATUM_TITLES[name]: rows[(rows["diameter_mm"] >= low) & (rows["diameter_mm"] < high)]
        for name, (low, high) in DIAMETER_STRATA_MM.items()
    }
    return pd.DataFrame(
        {
            name: {
                "slices": len(part),
                "dice": part["dice"].mean(),
                "median": part["dice"].median(),
                "hit": part["hit"].mean(),
                "dice_of_hits": part["nodule_dice"][part["hit"] > 0].mean(),
                "false_positives": part["false_positives"].mean(),
            }
            for name, part in strata.items()
        }
    ).T


def judge(images: Sequence[Slice], points: Sequence[OperatingPoint]) -> NDArray[np.float64]:
    """Hit, Dice and false positives (P, N, 3) of N slices at P points, as `score` has them."""
    figures = np.empty((len(points), len(images), 3))
    for number, image in enumerate(images):
        placed = {cut: _Placed.of(image, *cut) for cut in {point.cut for point in points}}
        for row, point in enumerate(points):
            scored = _score(image, point, placed[point.cut])
            figures[row, number] = scored["hit"], scored["dice"], scored["false_positives"]
    return figures


def choose(
    points: Sequence[OperatingPoint],
    figures: NDArray[np.float64],
    allowed_false_positives: float,
    *,
    hits_first: bool = False,
) -> OperatingPoint:
    """The best point among those with few enough false positives a slice, or with the fewest.

    The best has the highest mean Dice, which falls with each false positive and so settles for fewer than are allowed.
    With `hits_first` it hits most nodules, as in a FROC curve, and of equals has the highest mean Dice.

    Parameters
    ----------
    figures : (P, N, 3) ndarray
        What `judge` says of the points on the slices that choose.
    """
    hits, dices, wrong = np.nanmean(figures, axis=1).T
    limit = max(allowed_false_positives, wrong.min())
    allowed = [index for index in range(len(points)) if wrong[index] <= limit]
    return points[max(allowed, key=lambda index: (hits[index] if hits_first else 0.0, dices[index]))]


def mean_soft_dice(masks: NDArray[np.float32], answers: NDArray[np.float32]) -> float:
    """The number that the tutorial reports: the mean over slices of a Dice of probabilities, 1 added above and below.

    NaN without slices.
    """
    if not len(masks):
        return float("nan")
    overlap, sizes = (masks * answers).sum(axis=(1, 2)), masks.sum(axis=(1, 2)) + answers.sum(axis=(1, 2))
    return float(np.mean((2.0 * overlap + 1.0) / (sizes + 1.0)))


def interval(rows: pd.DataFrame, patients: Sequence[str], draws: int = 1000, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the mean Dice, drawing patients; slices without nodules have no part in it."""
    shown = rows["dice"].notna().to_numpy()
    by_patient = [dice.to_numpy() for _, dice in rows["dice"][shown].groupby(np.asarray(patients)[shown])]
    random = np.random.default_rng(seed)
    means = [
        np.concatenate([by_patient[k] for k in random.integers(len(by_patient), size=len(by_patient))]).mean()
        for _ in range(draws)
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
