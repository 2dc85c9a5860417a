"""Features of the patient as a whole: all nodules together, and the lungs."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from nodules.imaging.features.brock import noisy_or
from nodules.imaging.features.definition import PatientFindings, feature


@feature
def has_candidate(findings: PatientFindings) -> float:
    """1 if anything was found, 0 if not.

    Unit: 1
    Source: flag for the values that stand for no nodule
    """
    return float(len(findings.candidates) > 0)


@feature
def candidate_count(findings: PatientFindings) -> float:
    """Number of nodules found.

    Unit: 1
    Source: McWilliams 2013 (NEJM 369:910), there the nodule count
    """
    return len(findings.candidates)


@feature
def expected_count(findings: PatientFindings) -> float:
    """Sum of the nodules' probabilities: how many of them there are once false ones are discounted.

    Unit: 1
    Source: expectation of the nodule count
    """
    return float(findings.candidates["probability"].sum())


@feature
def largest_diameter_mm(findings: PatientFindings) -> float:
    """Volume-equivalent diameter of the largest nodule; 0 without any.

    Unit: mm
    Source: MacMahon 2017 (Radiology 284:228), Fleischner guidelines: size decides first
    """
    return _max(findings.candidates["diameter_mm"])


@feature
def second_diameter_mm(findings: PatientFindings) -> float:
    """Volume-equivalent diameter of the second largest nodule; 0 without one.

    Unit: mm
    Source: MacMahon 2017 (Radiology 284:228), Fleischner guidelines: multiple nodules
    """
    diameters = np.sort(findings.candidates["diameter_mm"].to_numpy(dtype=float))
    return float(diameters[-2]) if diameters.size > 1 else 0.0


@feature
def total_volume_mm3(findings: PatientFindings) -> float:
    """Volume of all nodules together; 0 without any.

    Unit: mm3
    Source: tumour burden, sum over `Candidates.table`
    """
    return float(findings.candidates["volume_mm3"].sum())


@feature
def max_probability(findings: PatientFindings) -> float:
    """Largest probability of being a nodule; 0 without any.

    Unit: 1
    Source: scorer of the candidates
    """
    return _max(findings.candidates["probability"])


@feature
def largest_mean_hu(findings: PatientFindings) -> float:
    """Mean HU of the largest nodule; -1000 without any.

    Unit: HU
    Source: mean over the outlined voxels
    """
    return _of_largest(findings.candidates, "mean_hu", absent=-1000.0)


@feature
def largest_sd_hu(findings: PatientFindings) -> float:
    """Standard deviation of the largest nodule's HU; 0 without any.

    Unit: HU
    Source: SD over the outlined voxels
    """
    return _of_largest(findings.candidates, "sd_hu", absent=0.0)


@feature
def largest_relative_height(findings: PatientFindings) -> float:
    """Height of the largest nodule between the lungs' lowest (0) and highest slice (1); 0.5 without any.

    Unit: 1
    Source: McWilliams 2013 (NEJM 369:910): cancers lie high
    """
    return _of_largest(findings.candidates, "relative_height", absent=0.5)


@feature
def largest_malignancy_risk(findings: PatientFindings) -> float:
    """Largest product, over the nodules, of the probability of being one and the risk by its look; 0 without any.

    Unit: 1
    Source: McWilliams 2013 (NEJM 369:910), as `malignancy` applies it
    """
    return _max(findings.ranked["cancer_probability"])


@feature
def noisy_or_risk(findings: PatientFindings) -> float:
    """Probability that at least one nodule is a cancer, with a leak of 0.01 for what was not found (leaky noisy-OR).

    Unit: 1
    Source: Liao 2019 (IEEE TNNLS 30:3484) for the noisy-OR; McWilliams 2013 (NEJM 369:910) for each nodule
    """
    return noisy_or(findings.ranked["cancer_probability"])


@feature
def noisy_or_log_odds(findings: PatientFindings) -> float:
    """Log odds of `noisy_or_risk`: the scale on which linear models add.

    Unit: 1
    Source: as `noisy_or_risk`
    """
    return _log_odds(noisy_or_risk(findings))


@feature
def lung_volume_l(findings: PatientFindings) -> float:
    """Volume of both lungs.

    Unit: l
    Source: lung mask
    """
    return findings.lungs["volume_right_l"] + findings.lungs["volume_left_l"]


@feature
def right_lung_volume_l(findings: PatientFindings) -> float:
    """Volume of the right lung.

    Unit: l
    Source: lung mask
    """
    return findings.lungs["volume_right_l"]


@feature
def left_lung_volume_l(findings: PatientFindings) -> float:
    """Volume of the left lung.

    Unit: l
    Source: lung mask
    """
    return findings.lungs["volume_left_l"]


@feature
def emphysema_share(findings: PatientFindings) -> float:
    """Share of lung voxels below -950 HU; 0 without lungs.

    Unit: 1
    Source: Gevenois 1995 (Am J Respir Crit Care Med 152:653) for the limit
    """
    return findings.emphysema_share


def _max(values: pd.Series) -> float:
    return float(values.max()) if len(values) else 0.0


def _of_largest(candidates: pd.DataFrame, column: str, absent: float) -> float:
    if candidates.empty:
        return absent
    return float(candidates[column].iloc[int(candidates["volume_mm3"].to_numpy().argmax())])


def _log_odds(probability: float) -> float:
    certain = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(certain / (1 - certain))
