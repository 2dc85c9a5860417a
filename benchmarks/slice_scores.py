"""Scores of many slices at many operating points: tables, the point to choose, and an interval over patients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nodules.imaging.geometry.spheres import DIAMETER_STRATA_MM
from nodules.tutorial.evaluation.slice_detection import OperatingPoint, Overlaps, PredictedSlice, score_slice

STRATUM_TITLES = {"under_6mm": "< 6 mm", "6_to_10mm": "6-10 mm", "from_10mm": ">= 10 mm"}
DRAWS = 1000  # of patients, for an interval


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


def score_operating_points(images: Sequence[PredictedSlice], points: Sequence[OperatingPoint]) -> NDArray[np.float64]:
    """Hit, Dice and false positives (P, N, 3) of N slices at P operating points, as in `score_slice`."""
    figures = np.empty((len(points), len(images), 3))
    for number, image in enumerate(images):
        overlaps = {cut: Overlaps.of(image, *cut) for cut in {point.cut for point in points}}
        for row, point in enumerate(points):
            scored = overlaps[point.cut].score(image, point)
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


def dice_interval(rows: pd.DataFrame, patients: Sequence[str]) -> tuple[float, float]:
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
    random = np.random.default_rng(0)
    means = [
        np.concatenate([by_patient[k] for k in random.integers(len(by_patient), size=len(by_patient))]).mean()
        for _ in range(DRAWS)
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
