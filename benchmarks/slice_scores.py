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


def score(image: Slice, point: OperatingPoint) -> dict[str, float]:
    """Dice of the whole slice against all its nodules, whether nodule 1 is hit, false positives inside the lungs."""
    labels = mask(image.probability_yx, image.pixel_mm2, point)
    found, truth = labels > 0, image.truth_yx > 0
    wrong = np.setdiff1d(labels[found & image.lungs_yx], labels[truth])
    return {
        "dice": 2.0 * np.count_nonzero(found & truth) / (np.count_nonzero(found) + np.count_nonzero(truth)),
        "hit": float((found & (image.truth_yx == 1)).any()),
        "false_positives": float(wrong.size),
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
    results = [(point, scores(images, point)) for point in points]
    fewest = min(rows["false_positives"].mean() for _, rows in results)
    limit = max(allowed_false_positives, fewest)
    allowed = [(rows["dice"].mean(), point) for point, rows in results if rows["false_positives"].mean() <= limit]
    return max(allowed, key=lambda pair: pair[0])[1]


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
