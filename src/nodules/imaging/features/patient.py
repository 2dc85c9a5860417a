"""Features of the whole patient: all nodules together, and the lungs."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from nodules.imaging.features.brock import noisy_or
from nodules.imaging.features.definition import PatientFindings, feature


@feature
def has_candidate(findings: PatientFindings) -> float:
    """1 if at least one nodule was found, otherwise 0.

    Unit: 1
    Source: flag that marks the default values of a patient without nodules
    """
    return float(len(findings.candidates) > 0)


@feature
def candidate_count(findings: PatientFindings) -> float:
    """Number of nodules found.

    Unit: 1
    Source: McWilliams 2013 (NEJM 369:910), nodule count
    """
    return len(findings.candidates)


@feature
def expected_count(findings: PatientFindings) -> float:
    """Sum of the nodules' probabilities of being nodules, which is the expected number of true nodules.

    Unit: 1
    Source: expected value of the nodule count
    """
    return float(findings.candidates["probability"].sum())


@feature
def largest_diameter_mm(findings: PatientFindings) -> float:
    """Volume-equivalent diameter of the largest nodule; 0 without nodules.

    Unit: mm
    Source: MacMahon 2017 (Radiology 284:228), Fleischner guidelines: size is the first criterion
    """
    return _max(findings.candidates["diameter_mm"])


@feature
def second_diameter_mm(findings: PatientFindings) -> float:
    """Volume-equivalent diameter of the second largest nodule; 0 if there is none.

    Unit: mm
    Source: MacMahon 2017 (Radiology 284:228), Fleischner guidelines: multiple nodules
    """
    diameters = np.sort(findings.candidates["diameter_mm"].to_numpy(dtype=float))
    return float(diameters[-2]) if diameters.size > 1 else 0.0


@feature
def total_volume_mm3(findings: PatientFindings) -> float:
    """Total volume of all nodules; 0 without nodules.

    Unit: mm3
    Source: tumour burden: sum over `Candidates.table`
    """
    return float(findings.candidates["volume_mm3"].sum())


@feature
def max_probability(findings: PatientFindings) -> float:
    """Largest probability of being a nodule over all candidates; 0 without candidates.

    Unit: 1
    Source: candidate scorer
    """
    return _max(findings.candidates["probability"])


@feature
def largest_mean_hu(findings: PatientFindings) -> float:
    """Mean HU of the largest nodule; -1000 without nodules.

    Unit: HU
    Source: mean over the outlined voxels
    """
    return _of_largest(findings.candidates, "mean_hu", absent=-1000.0)


@feature
def largest_sd_hu(findings: PatientFindings) -> float:
    """Standard deviation of the HU of the largest nodule; 0 without nodules.

    Unit: HU
    Source: standard deviation over the outlined voxels
    """
    return _of_largest(findings.candidates, "sd_hu", absent=0.0)


@feature
def largest_relative_height(findings: PatientFindings) -> float:
    """Height of the largest nodule between the lowest (0) and highest (1) slice of the lungs; 0.5 without nodules.

    Unit: 1
    Source: McWilliams 2013 (NEJM 369:910): nodules in the upper lobes are more often cancers
    """
    return _of_largest(findings.candidates, "relative_height", absent=0.5)


@feature
def largest_malignancy_risk(findings: PatientFindings) -> float:
    """Largest probability of cancer over all candidates; 0 without candidates.

    It is the probability of being a nodule times the Brock model's probability of cancer.

    Unit: 1
    Source: McWilliams 2013 (NEJM 369:910), see `brock.add_cancer_probability`
    """
    return _max(findings.ranked["cancer_probability"])


@feature
def noisy_or_risk(findings: PatientFindings) -> float:
    """Probability that at least one nodule is a cancer (leaky noisy-OR; leak of 0.01 for undetected nodules).

    Unit: 1
    Source: Liao 2019 (IEEE TNNLS 30:3484) for the noisy-OR; McWilliams 2013 (NEJM 369:910) for each nodule
    """
    return noisy_or(findings.ranked["cancer_probability"])


@feature
def noisy_or_log_odds(findings: PatientFindings) -> float:
    """Log-odds of `noisy_or_risk`, the scale on which linear models are additive.

    Unit: 1
    Source: as `noisy_or_risk`
    """
    return _log_odds(noisy_or_risk(findings))


@feature
def largest_suspicion(findings: PatientFindings) -> float:
    """Largest suspicion of one candidate; 0 without candidates.

    It is the probability of being a nodule times the malignancy, which is the probability that the mean of the
    radiologists' ratings, from 1 to 5, is above 3.

    Unit: 1
    Source: Armato 2011 (Med Phys 38:915) for the ratings; network of the malignancy
    """
    return _max(_suspicions(findings.candidates))


@feature
def suspicion(findings: PatientFindings) -> float:
    """Probability that radiologists rate at least one nodule above 3 of 5, by a noisy-OR; 0 without candidates.

    It is 1 - (1 - s1)(1 - s2)..., where s is a candidate's probability of being a nodule times its malignancy.

    Unit: 1
    Source: Liao 2019 (IEEE TNNLS 30:3484) for the noisy-OR; Armato 2011 (Med Phys 38:915) for the ratings
    """
    return noisy_or(_suspicions(findings.candidates), leak=0.0)


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
    Source: Gevenois 1995 (Am J Respir Crit Care Med 152:653) for the threshold
    """
    return findings.emphysema_share


def _max(values: pd.Series) -> float:
    return float(values.max()) if len(values) else 0.0


def _suspicions(candidates: pd.DataFrame) -> pd.Series:
    return candidates["probability"] * candidates["malignancy"]


def _of_largest(candidates: pd.DataFrame, column: str, absent: float) -> float:
    if candidates.empty:
        return absent
    return float(candidates[column].iloc[int(candidates["volume_mm3"].to_numpy().argmax())])


def _log_odds(probability: float) -> float:
    certain = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(certain / (1 - certain))
