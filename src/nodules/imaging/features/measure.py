"""Candidates and features of one patient in one step: the pipeline and the served model measure alike."""

from __future__ import annotations

from collections.abc import Mapping

from nodules.imaging.candidates.outline import Candidates, SegmentationSettings, find_candidates
from nodules.imaging.candidates.probability_map import Segmentation
from nodules.imaging.candidates.proposals import CandidateParams, Scorer, unet_scorer
from nodules.imaging.features.row import Findings, find_regions, measure


def measure_patient(
    segmentation: Segmentation,
    lung_measures: Mapping[str, float],
    settings: SegmentationSettings,
    params: CandidateParams,
    scorer: Scorer = unet_scorer,
) -> tuple[Candidates, dict[str, float]]:
    """Nodules and features from a network's answer, fresh or from disk."""
    candidates = find_candidates(segmentation, settings, params, scorer)
    regions = find_regions(segmentation.scan, segmentation.lungs_zyx, candidates)
    findings = Findings(candidates.table, regions, segmentation.scan.shape_zyx[0], lung_measures)
    return candidates, measure(findings)
