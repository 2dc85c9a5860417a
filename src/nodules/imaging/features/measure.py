"""Measurement of all features of a patient from the segmentation of one scan.

The pipeline and the served model both use these functions. Without candidates or regions, every feature still has a
defined value, and `has_candidate` is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nodules.imaging.candidates.outline import Candidates, SegmentationSettings, find_candidates
from nodules.imaging.candidates.probability_map import Segmentation
from nodules.imaging.candidates.proposals import CandidateParams, Scorer, unet_scorer
from nodules.imaging.features import cross_sections, nodule, patient
from nodules.imaging.features.definition import Feature, PatientFindings
from nodules.imaging.geometry.volume import Volume

Rater = Callable[[Volume, NDArray[np.float64]], NDArray[np.float64]]
"""Takes a scan in HU and centres (N, 3) in world mm (x, y, z); returns each nodule's malignancy (N,), in [0, 1].

The malignancy is the probability that the mean of the radiologists' ratings, from 1 to 5, is above 3.
"""

COLUMNS: tuple[Feature, ...] = (
    cross_sections.mean_area_mm2,
    cross_sections.max_area_mm2,
    cross_sections.mean_eccentricity,
    cross_sections.mean_equivalent_diameter_mm,
    cross_sections.sd_equivalent_diameter_mm,
    cross_sections.weighted_x,
    cross_sections.weighted_y,
    cross_sections.region_count,
    cross_sections.regions_per_slice,
    patient.has_candidate,
    patient.candidate_count,
    patient.expected_count,
    patient.largest_diameter_mm,
    patient.second_diameter_mm,
    patient.total_volume_mm3,
    patient.max_probability,
    patient.largest_mean_hu,
    patient.largest_sd_hu,
    patient.largest_relative_height,
    patient.largest_malignancy_risk,
    patient.noisy_or_risk,
    patient.noisy_or_log_odds,
    patient.lung_volume_l,
    patient.right_lung_volume_l,
    patient.left_lung_volume_l,
    patient.emphysema_share,
    *nodule.volume_mm3,
    *nodule.diameter_mm,
    *nodule.probability,
    *nodule.cancer_probability,
    *nodule.sphericity,
    *nodule.mean_hu,
    *nodule.sd_hu,
    *nodule.solid_share,
    *nodule.spiculation,
    *nodule.relative_height,
    *nodule.upper_lobe,
    *nodule.pleura_mm,
    *nodule.side,
)
"""Columns of the feature table, in order. The trained classifiers and their seeds depend on this order."""

MALIGNANCY_COLUMNS: tuple[Feature, ...] = (
    patient.largest_suspicion,
    patient.suspicion,
)
"""Columns that follow if a `Rater` has rated the nodules."""


def by_name(columns: Iterable[Feature]) -> dict[str, Feature]:
    """Index features by name, in their order.

    Raises
    ------
    ValueError
        If two features have the same name.
    """
    features: dict[str, Feature] = {}
    for column in columns:
        if column.name in features:
            raise ValueError(f"expected a unique name for each feature, got {column.name!r} twice")
        features[column.name] = column
    return features


FEATURES = by_name(COLUMNS)
MALIGNANCY_FEATURES = by_name(MALIGNANCY_COLUMNS)


def measure(findings: PatientFindings, features: Mapping[str, Feature] | None = None) -> dict[str, float]:
    """Measure features of one patient, by default all of `FEATURES`; values by name in the order of the features."""
    measured = FEATURES if features is None else features
    return {name: float(entry.measure(findings)) for name, entry in measured.items()}


def measure_patient(
    segmentation: Segmentation,
    lung_measures: Mapping[str, float],
    settings: SegmentationSettings,
    params: CandidateParams,
    scorer: Scorer = unet_scorer,
    rater: Rater | None = None,
) -> tuple[Candidates, dict[str, float]]:
    """Find the nodules in a segmentation, rate them, and measure the features of the patient.

    Returns
    -------
    candidates : Candidates
        Their table has one more column, `malignancy`, which is NaN without a rater.
    features : dict of str to float
        `FEATURES`; with a rater, `MALIGNANCY_FEATURES` follow.

    Raises
    ------
    ValueError
        If the scorer or the rater does not return one number in [0, 1] per proposal or nodule.
    """
    found = find_candidates(segmentation, settings, params, scorer)
    candidates = Candidates(found.labels_zyx, found.table.assign(malignancy=_rated(found.table, segmentation, rater)))
    regions = cross_sections.find_regions(segmentation.scan, segmentation.lungs_zyx, candidates)
    findings = PatientFindings(candidates.table, regions, segmentation.scan.shape_zyx[0], lung_measures)
    features = FEATURES if rater is None else FEATURES | MALIGNANCY_FEATURES
    return candidates, measure(findings, features)


def _rated(candidates: pd.DataFrame, segmentation: Segmentation, rater: Rater | None) -> NDArray[np.float64]:
    """Malignancy of each candidate; the rater is not called if there are none."""
    count = len(candidates)
    if rater is None or not count:
        return np.full(count, np.nan)
    centres = candidates[["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=float)
    malignancy = np.asarray(rater(segmentation.scan, centres), dtype=np.float64)
    if malignancy.shape != (count,) or not ((malignancy >= 0) & (malignancy <= 1)).all():
        raise ValueError(f"rater: expected {count} probabilities in [0, 1], one per nodule, got {malignancy}")
    return malignancy
