"""One scan's segmentation held against its annotated nodules: voxels, components and candidates at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from nodules.evaluation.froc import ScanDetections, detection_summary, match_candidates
from nodules.evaluation.segmentation import (
    NoduleScore,
    false_positive_components,
    panoptic_quality,
    score_nodules,
    summary,
)
from nodules.imaging.candidates import CandidateParams, Segmentation, SegmentationSettings, find_candidates
from nodules.imaging.nodule_mask import draw_nodules
from nodules.scans.luna import NoduleAnnotation

WHOLE_SCAN_MM = 100.0  # a region lower than this is a stack of excerpts, not a chest: a newborn's lungs are as high


@dataclass(frozen=True)
class ScanResult:
    """How one scan went.

    Attributes
    ----------
    seriesuid : str
        The scan.
    scores : list of NoduleScore
        One a nodule.
    detections : ScanDetections
        Candidates against nodules by LUNA16's rule.
    candidates : DataFrame
        `Candidates.table`.
    predicted_voxels, false_positives : int
        All voxels of all components, and the components that touch no nodule.
    is_whole : bool
        Whether rates per scan mean anything.
    """

    seriesuid: str
    scores: list[NoduleScore]
    detections: ScanDetections
    candidates: pd.DataFrame
    predicted_voxels: int
    false_positives: int
    is_whole: bool


def evaluate_scan(
    seriesuid: str,
    segmentation: Segmentation,
    nodules: Sequence[NoduleAnnotation],
    settings: SegmentationSettings,
    params: CandidateParams,
) -> ScanResult:
    """Find candidates with the given settings and compare them with spheres of the annotated diameters."""
    grid = segmentation.scan
    candidates = find_candidates(segmentation, settings, params)
    centres = [nodule.centre_world_xyz for nodule in nodules]
    diameters = [nodule.diameter_mm for nodule in nodules]
    reference = draw_nodules(grid, centres, diameters)
    scores = [
        _missed_outside(score, grid.voxel_mm3) for score in score_nodules(reference, diameters, candidates.labels_zyx)
    ]
    table = candidates.table
    positions = table[["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=float)
    return ScanResult(
        seriesuid=seriesuid,
        scores=scores,
        detections=match_candidates(positions, table["probability"].to_numpy(dtype=float), centres, diameters),
        candidates=table,
        predicted_voxels=int(np.count_nonzero(candidates.labels_zyx)),
        false_positives=false_positive_components(reference, candidates.labels_zyx),
        is_whole=grid.extent_zyx_mm[0] >= WHOLE_SCAN_MM,
    )


def tuning_score(results: Sequence[ScanResult], allowed_false_positives: float) -> float:
    """Mean Dice of all nodules, a missed one counting 0, scaled down where too much else is found.

    Up to `allowed_false_positives` per scan cost nothing, for a radiologist dismisses them at a glance; above that the
    score falls in proportion. Without any nodule only the false positives count.
    """
    dices = [score.dice for score in _all_scores(results)]
    rate = sum(result.false_positives for result in results) / len(results)
    price = allowed_false_positives / rate if rate > allowed_false_positives else 1.0
    return price * (float(np.mean(dices)) if dices else 1.0)


def quality(results: Sequence[ScanResult]) -> float:
    """Panoptic quality over all nodules and false positives of several scans."""
    scores = _all_scores(results)
    hits = [score.dice for score in scores if score.hit]
    return panoptic_quality(hits, len(scores) - len(hits), sum(result.false_positives for result in results))


def metrics(results: Sequence[ScanResult]) -> dict[str, float]:
    """Dice over all scans; sensitivity and false positives per scan over the whole ones, absent if there are none."""
    scores = _all_scores(results)
    figures = summary(scores, sum(result.predicted_voxels for result in results))
    figures["panoptic_quality"] = quality(results)
    figures["scans"] = len(results)
    whole = [result.detections for result in results if result.is_whole]
    figures["whole_scans"] = len(whole)
    if whole:
        found = detection_summary(whole)
        figures |= {name: found[name] for name in ("sensitivity", "false_positives_per_scan") if name in found}
    return figures


def _all_scores(results: Sequence[ScanResult]) -> list[NoduleScore]:
    return [score for result in results for score in result.scores]


def _missed_outside(score: NoduleScore, voxel_mm3: float) -> NoduleScore:
    """A nodule that the lungs' region does not even contain is a miss of its full size, not a nodule less."""
    if score.reference_voxels:
        return score
    sphere_mm3 = np.pi / 6 * score.diameter_mm**3
    return replace(score, reference_voxels=max(1, round(sphere_mm3 / voxel_mm3)))
