"""The operating point: the fusion's weights, the lowest probability of a finding, and the figures on whole scans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pandas as pd
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from nodules.evaluation.detection import ScanDetections, froc_points
from nodules.models.false_positive_reduction.score_fusion import IDENTITY, Fusion, evidence, fit

CLEAR_READERS = 3
"""Readers who must have drawn a nodule for it to count on a whole scan."""

LEVELS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
"""Probabilities at which `kept_by_probability` reports."""


@dataclass(frozen=True)
class OperatingPointParams:
    """The section `operating_point`.

    Attributes
    ----------
    thresholds : tuple of float
        Thresholds of the outline, relative to the peak, of which the one with the largest mean Dice is chosen.
    dilation_mm : float
        As in `SegmentationSettings`.
    nodules_per_scan, others_per_scan : float
        What a whole scan is expected to hold; the fusion weighs candidates so that its probabilities are meant for
        whole scans. Negatives of whole scans and of cubes have the same weight in total.
    allowed_others_per_scan : float
        Largest number of other findings in any whole scan.
    allowed_others_per_cube : float
        Largest mean number of other findings in a cube.
    """

    thresholds: tuple[Annotated[float, Gt(0), Le(1)], ...]
    dilation_mm: Annotated[float, Ge(0)]
    nodules_per_scan: Annotated[float, Gt(0)]
    others_per_scan: Annotated[float, Gt(0)]
    allowed_others_per_scan: Annotated[float, Ge(0)]
    allowed_others_per_cube: Annotated[float, Ge(0)]

    def __post_init__(self) -> None:
        if not self.thresholds:
            raise ValueError("thresholds: expected at least one, got none")


def cross_fitted(scores: pd.DataFrame, params: OperatingPointParams) -> tuple[Fusion, NDArray[np.float64]]:
    """Fit the fusion to all candidates, and compute each one's probability by a fusion fitted to the other folds.

    Parameters
    ----------
    scores : DataFrame
        Candidates with their log-odds out of fold, and the columns fold, source and kind.

    Returns
    -------
    fusion : Fusion
        Fitted to all candidates whose kind is clear.
    probability : (N,) ndarray of float64
        Of each row. With a single fold the fusion is `IDENTITY`.
    """
    rows = evidence(scores["log_odds"], scores)
    probability = IDENTITY.probability(rows)
    folds = scores["fold"].to_numpy()
    for fold in np.unique(folds):
        if (folds != fold).any():
            probability[folds == fold] = _fit(rows, scores, folds != fold, params).probability(rows[folds == fold])
    return _fit(rows, scores, np.ones(len(rows), dtype=bool), params), probability


def _fit(
    rows: NDArray[np.float64], scores: pd.DataFrame, chosen: NDArray[np.bool_], params: OperatingPointParams
) -> Fusion:
    used = chosen & (scores["kind"] != "unclear").to_numpy(dtype=bool)
    shown = scores[used]
    return fit(rows[used], (shown["kind"] == "nodule").to_numpy(dtype=bool), _weights(shown, params))


def _weights(clear: pd.DataFrame, params: OperatingPointParams) -> NDArray[np.float64]:
    """Weight 1 on average: nodules and others stand as on a whole scan, and others of both sources are equal."""
    weights = np.ones(len(clear))
    is_nodule = (clear["kind"] == "nodule").to_numpy(dtype=bool)
    share = params.nodules_per_scan / (params.nodules_per_scan + params.others_per_scan)
    weights[is_nodule] = share / max(int(is_nodule.sum()), 1)
    in_scan = (clear["source"] == "scans").to_numpy(dtype=bool)
    groups = [group for group in (~is_nodule & in_scan, ~is_nodule & ~in_scan) if group.any()]
    for group in groups:
        weights[group] = (1 - share) / len(groups) / np.count_nonzero(group)
    normalised: NDArray[np.float64] = weights * (len(clear) / weights.sum()) if len(clear) else weights
    return normalised


@dataclass(frozen=True)
class Limits:
    """Lowest probabilities of a finding at which there are few enough other findings.

    Attributes
    ----------
    scans, cubes : float
        Enough for every whole scan, and for cubes on average. On whole scans, which hold far more that is no nodule,
        it is larger as a rule.
    """

    scans: float
    cubes: float

    @property
    def min_probability(self) -> float:
        """The lowest probability that is enough for both."""
        return max(self.scans, self.cubes)


def probability_limits(candidates: pd.DataFrame, cubes: int, params: OperatingPointParams) -> Limits:
    """Find the lowest probabilities, since every higher one loses nodules.

    Parameters
    ----------
    candidates : DataFrame
        Candidates with series, source, kind and probability.
    cubes : int
        Number of cubes, with or without candidates.
    """
    others = candidates[candidates["kind"] == "other"]
    in_scan = others["source"] == "scans"
    allowed = int(np.floor(params.allowed_others_per_cube * cubes))
    of_scans = [
        _above_rank(found["probability"], int(params.allowed_others_per_scan))
        for _, found in others[in_scan].groupby("series")
    ]
    return Limits(max(of_scans, default=0.0), _above_rank(others["probability"][~in_scan], allowed))


def kept_by_probability(candidates: pd.DataFrame, nodules: pd.DataFrame) -> dict[str, dict[str, float]]:
    """What each of `LEVELS` keeps: nodules in cubes, LUNA16's among them, nodules of scans, and other findings.

    Parameters
    ----------
    candidates, nodules : DataFrame
        As `nodule_table` takes and returns them; every cube has a nodule, and there is a nodule in a whole scan.
    """
    in_cubes, others = nodules[nodules["source"] == "cubes"], candidates[candidates["kind"] == "other"]
    clear = nodules[(nodules["source"] == "scans") & (nodules["readers"] >= CLEAR_READERS)]
    groups = {"cube_nodules": in_cubes, "luna16_nodules": in_cubes[in_cubes["is_luna16"]], "scan_nodules": clear}
    kept = {}
    for level in LEVELS:
        shown = others["source"][others["probability"] >= level]
        kept[f"{level:g}"] = {
            **{name: float((group["probability"] >= level).mean()) for name, group in groups.items() if len(group)},
            "others_per_cube": float((shown == "cubes").sum() / max(len(in_cubes), 1)),
            "others_in_scans": int((shown == "scans").sum()),
        }
    return kept


def _above_rank(probabilities: pd.Series, rank: int) -> float:
    """Smallest float above the probability that stands behind `rank` larger ones; 0 if there are no more than that."""
    descending = np.sort(probabilities.to_numpy(dtype=float))[::-1]
    return float(np.nextafter(descending[rank], 2.0)) if len(descending) > rank else 0.0


def nodule_table(nodules: pd.DataFrame, candidates: pd.DataFrame) -> pd.DataFrame:
    """Add each nodule's largest probability of the candidates that touch it; NaN if there is none.

    Parameters
    ----------
    nodules : DataFrame
        Columns series, image and nodule.
    candidates : DataFrame
        Columns series, image, nodule (0 for none) and probability.
    """
    keys = ["series", "image", "nodule"]
    largest = candidates[candidates["nodule"] > 0].groupby(keys)["probability"].max().rename("probability")
    return nodules.merge(largest, how="left", left_on=keys, right_index=True)


def scan_figures(
    scans: Sequence[str], candidates: pd.DataFrame, nodules: pd.DataFrame, min_probability: float
) -> dict[str, dict[str, Any]]:
    """Figures of each whole scan by its series.

    Parameters
    ----------
    scans : sequence of str
        Series of the whole scans; some may have no nodule or no candidate.
    candidates, nodules : DataFrame
        As `nodule_table` takes and returns them.
    min_probability : float
        The operating point.

    Returns
    -------
    dict
        ``candidates``; ``others``: other findings at the operating point; ``unclear``: findings there that only a
        minority drew, or that are marked as nodules below 3 mm; ``nodules``: for each nodule of `CLEAR_READERS` and
        more, by number, its readers, diameter, probability, rank among all findings, how many others stand before it,
        and whether it is kept.
    """
    return {
        series: _one_scan(
            candidates[candidates["series"] == series], nodules[nodules["series"] == series], min_probability
        )
        for series in scans
    }


def _one_scan(candidates: pd.DataFrame, nodules: pd.DataFrame, min_probability: float) -> dict[str, Any]:
    shown = candidates["kind"][candidates["probability"] >= min_probability]
    clear = nodules[nodules["readers"] >= CLEAR_READERS]
    return {
        "candidates": len(candidates),
        "others": int((shown == "other").sum()),
        "unclear": int((shown == "unclear").sum()),
        "nodules": {str(row["nodule"]): _rank(row, candidates, min_probability) for row in clear.to_dict("records")},
    }


def _rank(nodule: Mapping[Any, Any], candidates: pd.DataFrame, min_probability: float) -> dict[str, Any]:
    probability = float(nodule["probability"])  # NaN if no candidate touches the nodule
    found = not np.isnan(probability)
    before = candidates[candidates["probability"] > probability]
    return {
        "readers": int(nodule["readers"]),
        "diameter_mm": float(nodule["diameter_mm"]),
        "probability": probability if found else None,
        "rank": len(before) + 1 if found else None,
        "others_before": int((before["kind"] == "other").sum()) if found else None,
        "kept": probability >= min_probability,
    }


def froc(scans: Sequence[str], candidates: pd.DataFrame, nodules: pd.DataFrame) -> dict[str, float]:
    """FROC on whole scans: sensitivity to nodules of `CLEAR_READERS` and more at rates of other findings a scan.

    Parameters
    ----------
    scans, candidates, nodules
        As for `scan_figures`.

    Returns
    -------
    dict
        The sensitivity by rate, and the ``mean``; empty without nodules.
    """
    others = candidates[candidates["kind"] == "other"]
    clear = nodules[nodules["readers"] >= CLEAR_READERS]
    detections = [
        ScanDetections(
            clear["probability"][clear["series"] == series].to_numpy(dtype=float),
            others["probability"][others["series"] == series].to_numpy(dtype=float),
        )
        for series in scans
    ]
    points = froc_points(detections)
    rates = points["false_positives_per_scan"].map(lambda rate: "mean" if pd.isna(rate) else f"{rate:g}")
    return dict(zip(rates, points["sensitivity"].astype(float), strict=True))


def best_threshold(scores: Mapping[float, pd.DataFrame]) -> float:
    """The threshold whose cubes have the largest mean Dice."""
    return max(scores, key=lambda threshold: float(scores[threshold]["dice"].mean()))
