"""Risk of cancer of each nodule by what CT alone shows, and of the patient by all of them.

The Brock (PanCan) model, "full, with spiculation": McWilliams et al., Probability of cancer in pulmonary nodules
detected on first screening CT, N Engl J Med 2013; 369: 910-919. What a scan does not tell is left at the model's point
of reference: a man of 62 years without lung cancer in the family. The labels of synthetic patients are drawn with the
same coefficients (`scans.phantom.patient`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

# Log-odds of a smooth solid nodule of 4 mm, one of four, in a lower lobe without emphysema, and what changes them.
INTERCEPT = -6.7892
EMPHYSEMA = 0.2953
SIZE, SIZE_CENTRE = -5.3854, 1.58113883  # times (diameter / 10 mm) ** -0.5, less its value at 4 mm
PART_SOLID, GROUND_GLASS = 0.3770, -0.1276
UPPER_LOBE = 0.6581
COUNT, COUNT_CENTRE = -0.0824, 4.0
SPICULATED = 0.7729
SMALLEST_MM = 1.0  # the model has never seen a smaller nodule, and its size term has no value at 0

# A nodule with less than this share of solid voxels is ground glass. Scholten et al. (Eur Radiol 2015; 25: 488-496)
# tell a solid part by voxels above -300 HU; a few voxels pass it by noise alone.
GROUND_GLASS_SHARE = 0.06
SOLID_SHARE = 0.45  # a solid nodule keeps at least this, although its surface shares voxels with the lung
# From a smooth to a clearly spiculated margin on the scale of `shape.spiculation`.
SPICULATION_RAMP = (0.015, 0.05)
# Share of lung below -950 HU. Limits in use for emphysema lie near 6%; noise of a low dose moves voxels below -950 HU,
# so that one sharp limit would be arbitrary.
EMPHYSEMA_RAMP = (0.02, 0.10)
# Risk of a patient in whom nothing was found: a screened person's without a nodule is below 1%.
LEAK = 0.01

# The oblique fissure falls from the fifth thoracic vertebra behind to the sixth rib's cartilage in front, and the
# horizontal one of the right lung lies at the height of the fourth (Gray's Anatomy). In the lungs' box:
FISSURE_FRONT, FISSURE_SLOPE = 0.15, 0.70
HORIZONTAL_FISSURE = 0.50
FISSURE_DOUBT = 0.20  # the height over which fissures of different people lie
RIGHT_LUNG = 1


def with_risk(candidates: pd.DataFrame, emphysema: float) -> pd.DataFrame:
    """Add the risk of each candidate.

    Parameters
    ----------
    candidates : DataFrame
        `Candidates.table`.
    emphysema : float
        0 to 1, `patient_emphysema`.

    Returns
    -------
    DataFrame
        The candidates with three more columns. ``upper_lobe``: how surely it lies in an upper lobe, 0 to 1.
        ``malignancy``: the model's probability of cancer for a nodule of this look. ``cancer_probability``: that times
        the probability of being a nodule.
    """
    upper = upper_lobe(candidates["relative_height"], candidates["relative_y"], candidates["lung"])
    # Not every candidate is a nodule: their expected number.
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
    malignancy = 1 / (1 + np.exp(-log_odds))
    probability = candidates["probability"].to_numpy(dtype=float)
    return candidates.assign(upper_lobe=upper, malignancy=malignancy, cancer_probability=probability * malignancy)


def noisy_or(cancer_probabilities: ArrayLike) -> float:
    """Probability that at least one of independent causes is there, the leak among them (Pearl 1988, ch. 4.3.2)."""
    return float(1 - (1 - LEAK) * np.prod(1 - np.asarray(cancer_probabilities, dtype=float)))


def patient_emphysema(share: float) -> float:
    """How surely a share of lung below -950 HU is emphysema, 0 to 1."""
    return float(_ramp(share, *EMPHYSEMA_RAMP))


def upper_lobe(relative_height: ArrayLike, relative_y: ArrayLike, lung: ArrayLike) -> NDArray[np.float64]:
    """How surely places in the lungs' box belong to an upper lobe, 0 to 1; the middle lobe is none.

    Parameters
    ----------
    relative_height, relative_y : array_like
        As in `Candidates.table`.
    lung : array_like of int
        1 for the right lung; any other is taken for the left one, which has no horizontal fissure.
    """
    height, y = np.asarray(relative_height, dtype=float), np.asarray(relative_y, dtype=float)
    fissure = FISSURE_FRONT + FISSURE_SLOPE * y
    right = np.asarray(lung) == RIGHT_LUNG
    floor = np.where(right, np.maximum(fissure, HORIZONTAL_FISSURE), fissure)
    return _ramp(height, floor - FISSURE_DOUBT / 2, floor + FISSURE_DOUBT / 2)


def _size_term(diameter_mm: pd.Series) -> NDArray[np.float64]:
    size_mm = np.maximum(diameter_mm.to_numpy(dtype=float), SMALLEST_MM)
    term: NDArray[np.float64] = SIZE * ((size_mm / 10) ** -0.5 - SIZE_CENTRE)
    return term


def _kind_term(solid_share: pd.Series) -> NDArray[np.float64]:
    share = solid_share.to_numpy(dtype=float)
    return np.select([share < GROUND_GLASS_SHARE, share < SOLID_SHARE], [GROUND_GLASS, PART_SOLID], 0.0)


def _ramp(value: ArrayLike, low: ArrayLike, high: ArrayLike) -> NDArray[np.float64]:
    """0 below `low`, 1 above `high`, straight in between."""
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    return np.clip((np.asarray(value, dtype=float) - low) / (high - low), 0.0, 1.0)
