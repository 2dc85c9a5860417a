"""Which nodules a list of candidates finds and at what price in false positives, by LUNA16's hit rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

# The operating points of LUNA16 (Setio et al., Medical Image Analysis 2017).
FROC_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class Matches:
    """The candidates of one scan held against its nodules.

    Attributes
    ----------
    nodule_of_candidate : (n,) ndarray
        Index of the nodule each candidate lies in; -1 for a false positive.
    probabilities : (n,) ndarray
        The candidates' probabilities.
    nodules : int
        Nodules of the scan.
    """

    nodule_of_candidate: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    nodules: int

    @property
    def hit_nodules(self) -> NDArray[np.int64]:
        """Indices of the nodules with at least one candidate, ascending."""
        return np.unique(self.nodule_of_candidate[self.nodule_of_candidate >= 0])

    @property
    def false_positive_probabilities(self) -> NDArray[np.float64]:
        """Probabilities of the candidates that lie in no nodule."""
        return self.probabilities[self.nodule_of_candidate < 0]

    @property
    def hit_probabilities(self) -> NDArray[np.float64]:
        """Highest probability in each nodule of `hit_nodules`; a nodule's other candidates are ignored."""
        best = [self.probabilities[self.nodule_of_candidate == nodule].max() for nodule in self.hit_nodules]
        return np.asarray(best, dtype=float)


def match_candidates(
    candidates_xyz: ArrayLike, probabilities: ArrayLike, nodules_xyz: ArrayLike, diameters_mm: ArrayLike
) -> Matches:
    """Give each candidate to the nearest nodule whose sphere holds it.

    Parameters
    ----------
    candidates_xyz : (n, 3) array
        Candidate centres in world mm.
    probabilities : (n,) array
        Their probabilities.
    nodules_xyz : (m, 3) array
        Nodule centres in world mm.
    diameters_mm : (m,) array
        Nodule diameters. A candidate hits when its distance is smaller than half of it, the rule of LUNA16.

    Raises
    ------
    ValueError
        If the lengths differ or a probability or coordinate is not finite.
    """
    candidates, nodules = _points("candidates_xyz", candidates_xyz), _points("nodules_xyz", nodules_xyz)
    chances = _values("probabilities", probabilities, len(candidates))
    radii_mm = _values("diameters_mm", diameters_mm, len(nodules)) / 2
    if not len(nodules):
        return Matches(np.full(len(candidates), -1), chances, 0)
    distances_mm = np.linalg.norm(candidates[:, None, :] - nodules[None, :, :], axis=2)
    distances_mm[distances_mm >= radii_mm] = np.inf
    nearest = distances_mm.argmin(axis=1)
    inside = np.isfinite(distances_mm.min(axis=1))
    return Matches(np.where(inside, nearest, -1), chances, len(nodules))


def detection_summary(matches: Sequence[Matches]) -> dict[str, float]:
    """Figures over scans, every candidate taken whatever its probability.

    Returns
    -------
    dict
        ``scans``, ``nodules``, ``hits`` and ``false_positives``; ``sensitivity`` where there are nodules and
        ``false_positives_per_scan`` where there are scans.
    """
    nodules = sum(scan.nodules for scan in matches)
    hits = sum(scan.hit_nodules.size for scan in matches)
    false_positives = sum(scan.false_positive_probabilities.size for scan in matches)
    figures: dict[str, float] = {
        "scans": len(matches),
        "nodules": nodules,
        "hits": hits,
        "false_positives": false_positives,
    }
    if nodules:
        figures["sensitivity"] = hits / nodules
    if matches:
        figures["false_positives_per_scan"] = false_positives / len(matches)
    return figures


def froc_points(matches: Sequence[Matches], rates: Sequence[float] = FROC_RATES) -> pd.DataFrame:
    """Best sensitivity that a probability threshold reaches without exceeding each rate of false positives.

    Scans without candidates or without nodules count. There is no interpolation between thresholds.

    Returns
    -------
    DataFrame
        ``false_positives_per_scan`` and ``sensitivity``, one row per rate; no rows without scans or nodules.
    """
    nodules = sum(scan.nodules for scan in matches)
    if not nodules:
        return pd.DataFrame({"false_positives_per_scan": [], "sensitivity": []}, dtype=float)
    hits = np.sort(np.concatenate([scan.hit_probabilities for scan in matches]))
    false = np.sort(np.concatenate([scan.false_positive_probabilities for scan in matches]))
    thresholds = np.append(np.unique(np.concatenate([hits, false])), np.inf)
    found = (hits.size - np.searchsorted(hits, thresholds)) / nodules
    price = (false.size - np.searchsorted(false, thresholds)) / len(matches)
    best = [float(found[price <= rate].max()) for rate in rates]
    return pd.DataFrame({"false_positives_per_scan": [float(rate) for rate in rates], "sensitivity": best})


def _points(name: str, values: ArrayLike) -> NDArray[np.float64]:
    points = np.asarray(values, dtype=float)
    if points.size == 0:
        return np.empty((0, 3))
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"{name} must have shape (n, 3), got {points.shape}")
    if not np.isfinite(points).all():
        raise ValueError(f"{name} must be finite")
    return points


def _values(name: str, values: ArrayLike, length: int) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=float).reshape(-1)
    if numbers.size != length:
        raise ValueError(f"{name} must have {length} values, one per point, got {numbers.size}")
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} must be finite")
    return numbers
