"""Brock model: probability of cancer of each nodule, and of the patient, from CT alone.

This is the Brock (PanCan) model, "full, with spiculation": McWilliams et al., Probability of cancer in pulmonary
nodules detected on first screening CT, N Engl J Med 2013; 369: 910-919. Variables that a scan does not show are set to
the model's reference values: a man of 62 years without a family history of lung cancer. The labels of synthetic
patients are drawn with the same coefficients (`scans.phantom.patient`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

# Coefficients of the log-odds. The intercept describes a smooth solid nodule of 4 mm in a lower lobe, in a patient with
# four nodules and no emphysema.
INTERCEPT = -6.7892
EMPHYSEMA = 0.2953
SIZE, SIZE_CENTRE = -5.3854, 1.58113883  # multiplies (diameter / 10 mm) ** -0.5 minus SIZE_CENTRE, its value at 4 mm
PART_SOLID, GROUND_GLASS = 0.3770, -0.1276
UPPER_LOBE = 0.6581
COUNT, COUNT_CENTRE = -0.0824, 4.0
SPICULATED = 0.7729
SMALLEST_MM = 1.0  # smaller nodules count as 1 mm: the model was not fitted to them, and its size term diverges at 0

# A nodule with a smaller share of solid voxels (above -300 HU; Scholten et al., Eur Radiol 2015; 25: 488-496) is ground
# glass. The limit is above 0, because noise alone lifts a few voxels above -300 HU.
GROUND_GLASS_SHARE = 0.06
SOLID_SHARE = 0.45  # a solid nodule has at least this share, although its surface voxels are partly lung
# From a smooth to a clearly spiculated margin, on the scale of `shape.spiculation`.
SPICULATION_RAMP = (0.015, 0.05)
# Share of lung below -950 HU. Common limits for emphysema are near 6%. A sharp limit would be arbitrary, because
# low-dose noise moves voxels below -950 HU.
EMPHYSEMA_RAMP = (0.02, 0.10)
# Probability of cancer of a patient without detected nodules. For a screened person without nodules it is below 1%.
LEAK = 0.01

# The oblique fissure falls from the fifth thoracic vertebra at the back to the cartilage of the sixth rib in front. The
# horizontal fissure of the right lung is level with the cartilage of the fourth rib (Gray's Anatomy). Relative heights
# in the lungs' bounding box:
FISSURE_FRONT, FISSURE_SLOPE = 0.15, 0.70
HORIZONTAL_FISSURE = 0.50
FISSURE_SPREAD = 0.20  # range of heights of the fissures between people
RIGHT_LUNG = 1


def add_cancer_probability(candidates: pd.DataFrame, emphysema: float) -> pd.DataFrame:
    """Add the probability of cancer of each candidate.

    Parameters
    ----------
    candidates : DataFrame
        `Candidates.table`.
    emphysema : float
        Degree of emphysema, 0 to 1 (`emphysema_degree`).

    Returns
    -------
    DataFrame
        The candidates with three more columns. ``upper_lobe``: degree of membership in an upper lobe, 0 to 1.
        ``brock_probability``: the model's probability of cancer for a nodule of this appearance.
        ``cancer_probability``: the product of ``brock_probability`` and the probability of being a nodule.
    """
    upper = upper_lobe(candidates["relative_height"], candidates["relative_y"], candidates["lung"])
    # The expected number of nodules, because not every candidate is one.
    count = float(candidates["probability"].sum())
    log_odds = (
        INTERCEPT
        + EMPHYSEMA * emphysema
        + COUNT * (count - COUNT_CENTRE)
        + _size_term(candidates["diameter_mm"])
        + _kind_term(candidates["solid_share"])
        + UPPER_LOBE * upper
        + SPICULATED * _ramp(candidates["spiculation"], *SPICULATION_RAMP)
    )
    brock = 1 / (1 + np.exp(-log_odds))
    probability = candidates["probability"].to_numpy(dtype=float)
    return candidates.assign(upper_lobe=upper, brock_probability=brock, cancer_probability=probability * brock)


def noisy_or(probabilities: ArrayLike, leak: float = LEAK) -> float:
    """Probability that at least one of independent causes is present, the leak included (Pearl 1988, ch. 4.3.2)."""
    return float(1 - (1 - leak) * np.prod(1 - np.asarray(probabilities, dtype=float)))


def emphysema_degree(share: float) -> float:
    """Degree of emphysema, 0 to 1, from the share of lung below -950 HU."""
    return float(_ramp(share, *EMPHYSEMA_RAMP))


def upper_lobe(relative_height: ArrayLike, relative_y: ArrayLike, lung: ArrayLike) -> NDArray[np.float64]:
    """Degree to which positions in the lungs' bounding box belong to an upper lobe, 0 to 1.

    The middle lobe does not count as an upper lobe.

    Parameters
    ----------
    relative_height, relative_y : array_like
        As in `Candidates.table`.
    lung : array_like of int
        1 for the right lung. Any other value is treated as the left lung, which has no horizontal fissure.
    """
    height, y = np.asarray(relative_height, dtype=float), np.asarray(relative_y, dtype=float)
    fissure = FISSURE_FRONT + FISSURE_SLOPE * y
    right = np.asarray(lung) == RIGHT_LUNG
    floor = np.where(right, np.maximum(fissure, HORIZONTAL_FISSURE), fissure)
    return _ramp(height, floor - FISSURE_SPREAD / 2, floor + FISSURE_SPREAD / 2)


def _size_term(diameter_mm: pd.Series) -> NDArray[np.float64]:
    size_mm = np.maximum(diameter_mm.to_numpy(dtype=float), SMALLEST_MM)
    term: NDArray[np.float64] = SIZE * ((size_mm / 10) ** -0.5 - SIZE_CENTRE)
    return term


def _kind_term(solid_share: pd.Series) -> NDArray[np.float64]:
    share = solid_share.to_numpy(dtype=float)
    return np.select([share < GROUND_GLASS_SHARE, share < SOLID_SHARE], [GROUND_GLASS, PART_SOLID], 0.0)


def _ramp(value: ArrayLike, low: ArrayLike, high: ArrayLike) -> NDArray[np.float64]:
    """0 below `low`, 1 above `high`, linear in between."""
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    return np.clip((np.asarray(value, dtype=float) - low) / (high - low), 0.0, 1.0)
