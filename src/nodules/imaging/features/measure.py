"""Measurement of all features of a patient from the segmentation of one scan.

The pipeline and the served model both use these functions. Without candidates or regions, every feature still has a
defined value, and `has_candidate` is 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nodules.imaging.candidates.outline import Candidates, SegmentationSettings, find_candidates
from nodules.imaging.candidates.probability_map import Segmentation
from nodules.imaging.candidates.proposals import CandidateParams, Scorer, unet_scorer
from nodules.imaging.features import cross_sections, nodule, patient
from nodules.imaging.features.definition import Feature, PatientFindings

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


def measure(findings: PatientFindings) -> dict[str, float]:
    """Measure all features of one patient; values by name in the order of `FEATURES`."""
    return {name: float(entry.measure(findings)) for name, entry in FEATURES.items()}


def measure_patient(
    segmentation: Segmentation,
    lung_measures: Mapping[str, float],
    settings: SegmentationSettings,
    params: CandidateParams,
    scorer: Scorer = unet_scorer,
) -> tuple[Candidates, dict[str, float]]:
    """Find the nodules in a segmentation and measure the features of the patient."""
    candidates = find_candidates(segmentation, settings, params, scorer)
    regions = cross_sections.find_regions(segmentation.scan, segmentation.lungs_zyx, candidates)
    findings = PatientFindings(candidates.table, regions, segmentation.scan.shape_zyx[0], lung_measures)
    return candidates, measure(findings)
