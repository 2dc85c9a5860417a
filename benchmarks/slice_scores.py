"""Scores of many slices at many operating points: tables, the point to choose, and an interval over patients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nodules.imaging.geometry.spheres import DIAMETER_STRATA_MM
from nodules.tutorial.judging.slice_finding import OperatingPoint, PlacedParts, Slice, score

STRATUM_TITLES = {"under_6mm": "< 6 mm", "6_to_10mm": "6-10 mm", "from_10mm": ">= 10 mm"}
DRAWS = 1000  # of patients, for an interval


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
        placed = {cut: PlacedParts.of(image, *cut) for cut in {point.cut for point in points}}
        for row, point in enumerate(points):
            scored = placed[point.cut].score(image, point)
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


def interval(rows: pd.DataFrame, patients: Sequence[str]) -> tuple[float, float]:
    """95 % bootstrap interval of the mean Dice, drawing patients; slices without nodules have no part in it."""
    shown = rows["dice"].notna().to_numpy()
    by_patient = [dice.to_numpy() for _, dice in rows["dice"][shown].groupby(np.asarray(patients)[shown])]
    random = np.random.default_rng(0)
    means = [
        np.concatenate([by_patient[k] for k in random.integers(len(by_patient), size=len(by_patient))]).mean()
        for _ in range(DRAWS)
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
