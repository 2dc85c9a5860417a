"""Detection metrics by LUNA16's rules: hits, false positives, sensitivity, FROC curve and CPM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from nodules.imaging.geometry.spheres import in_spheres
from nodules.scans.tables.luna import NoduleAnnotation
from nodules.scans.tables.submission import COORDINATES

FROC_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positives per scan at which LUNA16 reads the curve (Setio et al., Medical Image Analysis 42, 2017)."""

DRAWS = 1000
"""Number of bootstrap samples of the scans for an interval, as in LUNA16."""

MAX_CANDIDATES = 100
"""Largest number of candidates per scan that LUNA16 evaluates; the most probable ones are kept."""


@dataclass(frozen=True)
class ScanDetections:
    """Candidates of one scan matched with its nodules.

    Attributes
    ----------
    hit_probabilities : (m,) ndarray
        For each nodule, the highest probability of the candidates in it; NaN if it was missed.
    false_positive_probabilities : (k,) ndarray
        Probabilities of the candidates that lie in no nodule and in no excluded finding.
    ignored : int
        Number of candidates in an excluded finding and in no nodule; they do not affect the metrics.
    doubles : int
        Number of candidates in a nodule beyond the first one.
    """

    hit_probabilities: NDArray[np.float64]
    false_positive_probabilities: NDArray[np.float64]
    ignored: int = 0
    doubles: int = 0


def match_candidates(
    candidates_xyz: ArrayLike,
    probabilities: ArrayLike,
    nodules_xyz: ArrayLike,
    diameters_mm: ArrayLike,
    excluded_xyz: ArrayLike = (),
    excluded_diameters_mm: ArrayLike = (),
) -> ScanDetections:
    """Match the candidates of one scan with its nodules.

    A candidate may hit several nodules (`in_spheres`).

    Parameters
    ----------
    candidates_xyz : (n, 3) array
        Candidate centres in world mm.
    probabilities : (n,) array
        Their probabilities.
    nodules_xyz, excluded_xyz : (m, 3) array
        Centres in world mm of the nodules, and of the findings that count neither as nodules nor as false positives
        (LUNA16's annotations_excluded.csv).
    diameters_mm, excluded_diameters_mm : (m,) array
        Their diameters.

    Raises
    ------
    ValueError
        If the lengths differ or a number is not finite.
    """
    candidates = _points("candidates_xyz", candidates_xyz)
    probabilities = _values("probabilities", probabilities, len(candidates))
    nodules, excluded = _points("nodules_xyz", nodules_xyz), _points("excluded_xyz", excluded_xyz)
    in_nodule = in_spheres(candidates, nodules, _values("diameters_mm", diameters_mm, len(nodules)))
    in_excluded = in_spheres(
        candidates, excluded, _values("excluded_diameters_mm", excluded_diameters_mm, len(excluded))
    ).any(axis=1)
    elsewhere = ~in_nodule.any(axis=1)
    hits = np.where(in_nodule, probabilities[:, None], -np.inf).max(axis=0, initial=-np.inf)
    return ScanDetections(
        hit_probabilities=np.where(np.isfinite(hits), hits, np.nan),
        false_positive_probabilities=probabilities[elsewhere & ~in_excluded],
        ignored=int((elsewhere & in_excluded).sum()),
        doubles=int(np.maximum(in_nodule.sum(axis=0) - 1, 0).sum()),
    )


def evaluate_submission(
    submission: pd.DataFrame,
    nodules: Mapping[str, Sequence[NoduleAnnotation]],
    excluded: Mapping[str, Sequence[NoduleAnnotation]],
    seriesuids: Sequence[str],
) -> list[ScanDetections]:
    """Match the candidates of a LUNA16 submission with the nodules of every scan.

    Parameters
    ----------
    submission : DataFrame
        As `scans.tables.submission.read_submission` returns it. Scans not in `seriesuids` are ignored.
    nodules, excluded : mapping
        Nodules, and findings that count neither as nodules nor as false positives, by series UID.
    seriesuids : sequence of str
        All evaluated scans, with or without nodules and candidates.
    """
    by_scan = dict(iter(submission.groupby("seriesuid", sort=False)))
    none = submission.iloc[:0]
    return [_match(by_scan.get(uid, none), nodules.get(uid, ()), excluded.get(uid, ())) for uid in seriesuids]


def detection_summary(scans: Sequence[ScanDetections]) -> dict[str, float]:
    """Count hits and false positives over all scans, with candidates of any probability.

    Returns
    -------
    dict
        ``scans``, ``nodules``, ``hits``, ``false_positives``, ``ignored`` and ``doubles``; ``sensitivity`` if there
        are nodules and ``false_positives_per_scan`` if there are scans.
    """
    found = np.concatenate([np.empty(0), *(scan.hit_probabilities for scan in scans)])
    hits = int(np.isfinite(found).sum())
    false_positives = sum(scan.false_positive_probabilities.size for scan in scans)
    figures: dict[str, float] = {
        "scans": len(scans),
        "nodules": found.size,
        "hits": hits,
        "false_positives": false_positives,
        "ignored": sum(scan.ignored for scan in scans),
        "doubles": sum(scan.doubles for scan in scans),
    }
    if found.size:
        figures["sensitivity"] = hits / found.size
    if scans:
        figures["false_positives_per_scan"] = false_positives / len(scans)
    return figures


def froc_points(
    scans: Sequence[ScanDetections], rates: Sequence[float] = FROC_RATES, draws: int = 0, seed: int = 0
) -> pd.DataFrame:
    """Read the FROC curve at given rates, with linear interpolation as in LUNA16's evaluation script.

    Parameters
    ----------
    scans : sequence of ScanDetections
        One per scan.
    rates : sequence of float
        False positives per scan.
    draws : int
        Number of bootstrap samples of the scans for a 95 % interval; 0 for no interval.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        Columns ``false_positives_per_scan`` and ``sensitivity``; with draws also ``low`` and ``high``. One row per
        rate. The last row has the rate NaN and the mean sensitivity, the competition performance metric (CPM). No rows
        without scans or nodules.
    """
    pooled = _Pooled.of(scans)
    columns = ["false_positives_per_scan", "sensitivity", *(["low", "high"] if draws else [])]
    if not pooled.nodules.sum():
        return pd.DataFrame({name: [] for name in columns}, dtype=float)
    table = pd.DataFrame({columns[0]: [*rates, np.nan], columns[1]: _sensitivities(pooled, np.ones(len(scans)), rates)})
    if draws:
        random = np.random.default_rng(seed)
        weights = random.multinomial(len(scans), np.full(len(scans), 1 / len(scans)), size=draws)
        drawn = [_sensitivities(pooled, weight, rates) for weight in weights if weight @ pooled.nodules]
        table["low"], table["high"] = np.percentile(drawn, [2.5, 97.5], axis=0)
    return table


def centres_and_diameters(findings: Sequence[NoduleAnnotation]) -> tuple[list[tuple[float, float, float]], list[float]]:
    """Centres in world mm, x first, and diameters in mm, as arguments of `match_candidates` and `draw_nodules`."""
    return [one.centre_world_xyz for one in findings], [one.diameter_mm for one in findings]


@dataclass(frozen=True)
class _Pooled:
    """Hits and false positives of all scans, most probable first; `steps` are the last indices of ties."""

    is_hit: NDArray[np.bool_]
    scan: NDArray[np.int64]
    steps: NDArray[np.int64]
    nodules: NDArray[np.int64]

    @classmethod
    def of(cls, scans: Sequence[ScanDetections]) -> _Pooled:
        parts = [(scan.hit_probabilities[np.isfinite(scan.hit_probabilities)], True, k) for k, scan in enumerate(scans)]
        parts += [(scan.false_positive_probabilities, False, k) for k, scan in enumerate(scans)]
        probabilities = np.concatenate([np.empty(0), *(found for found, _, _ in parts)])
        is_hit = np.repeat([hit for _, hit, _ in parts], [found.size for found, _, _ in parts]).astype(bool)
        number = np.repeat([k for _, _, k in parts], [found.size for found, _, _ in parts]).astype(np.int64)
        order = np.argsort(-probabilities, kind="stable")
        probabilities = probabilities[order]
        steps = (
            np.flatnonzero(np.append(probabilities[1:] != probabilities[:-1], True))
            if probabilities.size
            else np.empty(0, np.int64)
        )
        nodules = np.array([scan.hit_probabilities.size for scan in scans], dtype=np.int64)
        return cls(is_hit[order], number[order], steps, nodules)

    def curve(self, weights: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """False positives per scan and sensitivity after each step; each scan counts `weights` times."""
        weight = weights[self.scan]
        false, hits = np.cumsum(weight * ~self.is_hit)[self.steps], np.cumsum(weight * self.is_hit)[self.steps]
        return np.append(0.0, false / weights.sum()), np.append(0.0, hits / (weights @ self.nodules))


def _sensitivities(pooled: _Pooled, weights: NDArray[Any], rates: Sequence[float]) -> list[float]:
    rate, found = pooled.curve(weights)
    sensitivities = np.interp(rates, rate, found)
    return [*(float(value) for value in sensitivities), float(np.mean(sensitivities))]


def _points(name: str, values: ArrayLike) -> NDArray[np.float64]:
    points = np.asarray(values, dtype=float)
    if points.size == 0:
        return np.empty((0, 3))
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"{name}: expected shape (n, 3), got {points.shape}")
    if not np.isfinite(points).all():
        raise ValueError(f"{name}: expected finite numbers, got NaN or infinity")
    return points


def _values(name: str, values: ArrayLike, length: int) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=float).reshape(-1)
    if numbers.size != length:
        raise ValueError(f"{name}: expected {length} values, one per point, got {numbers.size}")
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name}: expected finite numbers, got NaN or infinity")
    return numbers


def _match(
    candidates: pd.DataFrame, nodules: Sequence[NoduleAnnotation], excluded: Sequence[NoduleAnnotation]
) -> ScanDetections:
    kept = candidates.sort_values("probability", ascending=False, kind="stable").head(MAX_CANDIDATES)
    return match_candidates(
        kept[COORDINATES].to_numpy(dtype=float),
        kept["probability"].to_numpy(dtype=float),
        *centres_and_diameters(nodules),
        *centres_and_diameters(excluded),
    )
