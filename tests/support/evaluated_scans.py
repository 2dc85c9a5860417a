"""Proposals, candidates and their evaluation in one step, as the stages take them one after another."""

from nodules.evaluation.nodules import ScanResult, evaluate_scored
from nodules.imaging.candidates.proposals import score_proposals, unet_scorer


def evaluate_scan(seriesuid, segmentation, nodules, settings, params, scorer=unet_scorer) -> ScanResult:
    (result,) = evaluate_scored(
        seriesuid, segmentation, nodules, [settings], score_proposals(segmentation, params, scorer)
    )
    return result
