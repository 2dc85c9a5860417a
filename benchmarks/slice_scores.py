"""Nodules on whole slices: Dice against discs of the annotated diameter, hits, false positives, by diameter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

MIN_PIXELS = 4
STRATA_MM = {"all": (0.0, np.inf), "< 6 mm": (0.0, 6.0), "6-10 mm": (6.0, 10.0), ">= 10 mm": (10.0, np.inf)}
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
    """

    threshold: float
    peak: float
    min_mm2: float


@dataclass(frozen=True)
class Slice:
    """A middle slice on the scan's own pixels.

    Attributes
    ----------
    hu_yx : (Y, X) ndarray of int16
        The slice.
    probability_yx : (Y, X) ndarray of float
        The network's answer.
    truth_yx : (Y, X) ndarray of int
        1 the nodule that the slice was chosen for, 2 .. any others.
    lungs_yx : (Y, X) ndarray of bool
        Where false positives are counted.
    pixel_mm2, diameter_mm : float
        Area of a pixel; diameter of nodule 1.
    """

    hu_yx: NDArray[np.int16]
    probability_yx: NDArray[np.float32]
    truth_yx: NDArray[np.uint16]
    lungs_yx: NDArray[np.bool_]
    pixel_mm2: float
    diameter_mm: float


def mask(probability_yx: NDArray[np.float32], pixel_mm2: float, point: OperatingPoint) -> NDArray[np.int32]:
    """Labels of the connected parts (8 neighbours) that count."""
    labels, count = ndimage.label(probability_yx >= point.threshold, EIGHT_NEIGHBOURS)
    if not count:
        return np.asarray(labels, dtype=np.int32)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    peaks = np.append(0.0, ndimage.maximum(probability_yx, labels, np.arange(1, count + 1)))
    counts = (sizes >= max(MIN_PIXELS, point.min_mm2 / pixel_mm2)) & (peaks >= point.peak)
    counts[0] = False
    return np.where(counts[labels], labels, 0).astype(np.int32)


@dataclass(frozen=True)
class Parts:
    """The connected parts of a slice at one threshold, measured once for all operating points.

    Attributes
    ----------
    pixels, peak, on_nodules, on_own : (N,) ndarray
        Size, largest probability, pixels on any nodule and on nodule 1 of each part.
    in_lungs : (N,) ndarray of bool
        Whether it reaches the lungs.
    """

    pixels: NDArray[np.int64]
    peak: NDArray[np.float64]
    on_nodules: NDArray[np.int64]
    on_own: NDArray[np.int64]
    in_lungs: NDArray[np.bool_]

    @classmethod
    def of(cls, image: Slice, threshold: float) -> Parts:
        """Measure the parts (8 neighbours) of a slice."""
        labels, count = ndimage.label(image.probability_yx >= threshold, EIGHT_NEIGHBOURS)
        found = labels > 0

        def pixels(where: NDArray[np.bool_]) -> NDArray[np.int64]:
            return np.bincount(labels[found & where], minlength=count + 1)[1:]

        return cls(
            pixels=pixels(found),
            peak=np.asarray(ndimage.maximum(image.probability_yx, labels, np.arange(1, count + 1)), dtype=float),
            on_nodules=pixels(image.truth_yx > 0),
            on_own=pixels(image.truth_yx == 1),
            in_lungs=pixels(image.lungs_yx) > 0,
        )


def score(image: Slice, point: OperatingPoint, parts: Parts | None = None) -> dict[str, float]:
    """Dice of the whole slice against all its nodules, whether nodule 1 is hit, false positives inside the lungs."""
    parts = parts or Parts.of(image, point.threshold)
    kept = (parts.pixels >= max(MIN_PIXELS, point.min_mm2 / image.pixel_mm2)) & (parts.peak >= point.peak)
    truth = np.count_nonzero(image.truth_yx)
    return {
        "dice": 2.0 * parts.on_nodules[kept].sum() / (parts.pixels[kept].sum() + truth),
        "hit": float(parts.on_own[kept].any()),
        "false_positives": float(np.count_nonzero(kept & (parts.on_nodules == 0) & parts.in_lungs)),
        "diameter_mm": image.diameter_mm,
    }


def scores(images: Iterable[Slice], point: OperatingPoint) -> pd.DataFrame:
    """One row a slice."""
    return pd.DataFrame([score(image, point) for image in images])


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over all slices and by diameter: slices, dice, median, hit, dice_of_hits, false_positives."""
    strata = {
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
                "dice_of_hits": part["dice"][part["hit"] > 0].mean(),
                "false_positives": part["false_positives"].mean(),
            }
            for name, part in strata.items()
        }
    ).T


def choose(images: Sequence[Slice], points: Iterable[OperatingPoint], allowed_false_positives: float) -> OperatingPoint:
    """The point of the best mean Dice among those with few enough false positives a slice, or with the fewest."""
    points = list(points)
    parts = {threshold: [Parts.of(image, threshold) for image in images] for threshold in {p.threshold for p in points}}
    means = {}
    for point in points:
        rows = [score(image, point, part) for image, part in zip(images, parts[point.threshold], strict=True)]
        means[point] = np.mean([[row["dice"], row["false_positives"]] for row in rows], axis=0)
    limit = max(allowed_false_positives, min(wrong for _, wrong in means.values()))
    return max((point for point in points if means[point][1] <= limit), key=lambda point: means[point][0])


def interval(rows: pd.DataFrame, patients: Sequence[str], draws: int = 1000, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the mean Dice, drawing patients."""
    by_patient = [part["dice"].to_numpy() for _, part in rows.groupby(np.asarray(patients))]
    random = np.random.default_rng(seed)
    means = [
        np.concatenate([by_patient[k] for k in random.integers(len(by_patient), size=len(by_patient))]).mean()
        for _ in range(draws)
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
