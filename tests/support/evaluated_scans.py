"""Proposals, candidates and their evaluation in one step, as the stages take them one after another."""

from nodules.evaluation.nodules import ScanResult, evaluate_judged
from nodules.imaging.candidates.proposals import judge, unet_scorer


def evaluate_scan(seriesuid, segmentation, nodules, settings, params, scorer=unet_scorer) -> ScanResult:
    (result,) = evaluate_judged(seriesuid, segmentation, nodules, [settings], judge(segmentation, params, scorer))
    return result
