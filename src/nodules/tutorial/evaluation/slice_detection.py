"""Slice-level detection and segmentation scores: hits, false positives and Dice, and the choice of operating point.

The reference is a disc of the annotated diameter for each nodule that a slice cuts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

MIN_PIXELS = 4
STRATA_MM = {"< 6 mm": (0.0, 6.0), "6-10 mm": (6.0, 10.0), ">= 10 mm": (10.0, np.inf)}
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
    """

    hu_yx: NDArray[np.int16]
    probability_yx: NDArray[np.float32]
    truth_yx: NDArray[np.uint16]
    lungs_yx: NDArray[np.bool_]
    pixel_mm2: float
    diameter_mm: float


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
class _Overlaps:
    """The components of a slice, their overlap with nodules and lungs, and the nodules' numbers of pixels."""

    components: Components
    on_nodules: NDArray[np.int64]
    on_own: NDArray[np.int64]
    in_lungs: NDArray[np.bool_]
    truth_pixels: int
    own_pixels: int

    @classmethod
    def of(cls, image: PredictedSlice, threshold: float, share: float, power: float) -> _Overlaps:
        components = Components.of(image.probability_yx, threshold, share, power)
        own, any_nodule = image.truth_yx == 1, image.truth_yx > 0
        return cls(
            components=components,
            on_nodules=components.pixels_on(any_nodule),
            on_own=components.pixels_on(own),
            in_lungs=components.pixels_on(image.lungs_yx) > 0,
            truth_pixels=int(np.count_nonzero(any_nodule)),
            own_pixels=int(np.count_nonzero(own)),
        )


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
    return _score(image, point, _Overlaps.of(image, *point.cut))


def _score(image: PredictedSlice, point: OperatingPoint, overlaps: _Overlaps) -> dict[str, float]:
    kept = overlaps.components.accepted(image.pixel_mm2, point)
    truth, own_truth = overlaps.truth_pixels, overlaps.own_pixels
    own = kept & (overlaps.on_own > 0)
    found, own_found = (int(overlaps.components.pixels[chosen].sum()) for chosen in (kept, own))
    return {
        "dice": 2.0 * overlaps.on_nodules[kept].sum() / (found + truth) if truth else np.nan,
        "hit": float(own.any()) if own_truth else np.nan,
        "nodule_dice": 2.0 * overlaps.on_own[own].sum() / (own_found + own_truth) if own_truth else np.nan,
        "false_positives": float(np.count_nonzero(kept & (overlaps.on_nodules == 0) & overlaps.in_lungs)),
        "diameter_mm": image.diameter_mm,
    }


def score_slices(images: Iterable[PredictedSlice], point: OperatingPoint) -> pd.DataFrame:
    """Score slices at one operating point; one row per slice, with the columns of `score_slice`."""
    return pd.DataFrame([score_slice(image, point) for image in images])


def scores_by_diameter(rows: pd.DataFrame) -> pd.DataFrame:
    """Average the scores of slices, over all slices and by nodule diameter.

    Parameters
    ----------
    rows : DataFrame
        As `score_slices` returns it. NaN is left out of each mean.

    Returns
    -------
    DataFrame
        One row for all slices and one per diameter stratum, with these columns:

        - ``slices``: number of slices.
        - ``dice``, ``median``: mean and median Dice of whole slices.
        - ``hit``: share of nodules that are hit.
        - ``dice_of_hits``: mean ``nodule_dice`` of the nodules that are hit.
        - ``false_positives``: mean number per slice.
    """
    strata = {"all": rows} | {
        name: rows[(rows["diameter_mm"] >= low) & (rows["diameter_mm"] < high)]
        for name, (low, high) in STRATA_MM.items()
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


def score_operating_points(images: Sequence[PredictedSlice], points: Sequence[OperatingPoint]) -> NDArray[np.float64]:
    """Hit, Dice and false positives (P, N, 3) of N slices at P operating points, as in `score_slice`."""
    figures = np.empty((len(points), len(images), 3))
    for number, image in enumerate(images):
        overlaps = {cut: _Overlaps.of(image, *cut) for cut in {point.cut for point in points}}
        for row, point in enumerate(points):
            scored = _score(image, point, overlaps[point.cut])
            figures[row, number] = scored["hit"], scored["dice"], scored["false_positives"]
    return figures


def choose_operating_point(
    points: Sequence[OperatingPoint],
    figures: NDArray[np.float64],
    allowed_false_positives: float,
    *,
    hits_first: bool = False,
) -> OperatingPoint:
    """Choose the best operating point within a limit of false positives per slice.

    The best point has the highest mean Dice. Each false positive lowers the Dice, so that point usually has fewer false
    positives than the limit allows. If no point meets the limit, the points with the fewest false positives compete.

    Parameters
    ----------
    points : sequence of OperatingPoint
        The P points to choose from.
    figures : (P, N, 3) ndarray
        `score_operating_points` of these points on the N slices used for the choice.
    allowed_false_positives : float
        Largest mean number of false positives per slice.
    hits_first : bool
        Take the point that hits most nodules, as on a FROC curve; mean Dice decides only between equals.
    """
    hits, dices, wrong = np.nanmean(figures, axis=1).T
    limit = max(allowed_false_positives, wrong.min())
    allowed = [index for index in range(len(points)) if wrong[index] <= limit]
    return points[max(allowed, key=lambda index: (hits[index] if hits_first else 0.0, dices[index]))]


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


def dice_interval(rows: pd.DataFrame, patients: Sequence[str], draws: int = 1000, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the mean slice Dice, resampling patients; slices without a nodule are left out.

    Parameters
    ----------
    rows : DataFrame
        As `score_slices` returns it.
    patients : sequence of str
        Patient of each row.
    """
    shown = rows["dice"].notna().to_numpy()
    by_patient = [dice.to_numpy() for _, dice in rows["dice"][shown].groupby(np.asarray(patients)[shown])]
    random = np.random.default_rng(seed)
    means = [
        np.concatenate([by_patient[k] for k in random.integers(len(by_patient), size=len(by_patient))]).mean()
        for _ in range(draws)
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
