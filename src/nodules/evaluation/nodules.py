"""Evaluation of the segmentation of scans against annotated nodules: Dice, detection and fate of each nodule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nodules.evaluation.detection import ScanDetections, centres_and_diameters, detection_summary, match_candidates
from nodules.evaluation.dice import NoduleScore, false_positive_components, panoptic_quality, score_nodules, summary
from nodules.imaging.candidates.outline import Candidates, SegmentationSettings, outline
from nodules.imaging.candidates.probability_map import Segmentation
from nodules.imaging.candidates.proposals import ScoredProposals
from nodules.imaging.geometry.spheres import ball_mm3, draw_nodules
from nodules.scans.tables.luna import NoduleAnnotation

WHOLE_SCAN_MM = 100.0  # a lower region is a selection of slices, not a whole chest; a newborn's lungs are this high

Fate = Literal["found", "filtered", "missed"]
"""Result for one nodule. Found: a candidate shares a voxel with it or has its centre in it. Filtered: only a proposal
does, and the scorer, the outline or the limits rejected it. Missed: not even a proposal does."""


@dataclass(frozen=True)
class ScanResult:
    """Evaluation of one scan.

    Attributes
    ----------
    seriesuid : str
        Series UID of the scan.
    scores : list of NoduleScore
        One score per nodule.
    fates : list of Fate
        Fate of each nodule, in the same order.
    detections : ScanDetections
        Candidates matched with nodules by LUNA16's rule.
    candidates : DataFrame
        `Candidates.table`.
    predicted_voxels, false_positives : int
        Number of voxels of all components, and number of components that overlap neither a nodule nor an excluded
        finding.
    is_whole : bool
        Whether the region covers a whole chest, so that rates per scan are meaningful.
    """

    seriesuid: str
    scores: list[NoduleScore]
    fates: list[Fate]
    detections: ScanDetections
    candidates: pd.DataFrame
    predicted_voxels: int
    false_positives: int
    is_whole: bool


@dataclass(frozen=True)
class _Reference:
    """Annotated nodules and excluded findings, with label maps of their spheres on the region's grid."""

    labels_zyx: NDArray[np.uint16]
    excluded_zyx: NDArray[np.uint16]
    nodules: Sequence[NoduleAnnotation]
    excluded: Sequence[NoduleAnnotation]

    @property
    def diameters_mm(self) -> list[float]:
        """Diameters of the nodules."""
        return centres_and_diameters(self.nodules)[1]

    def detections(self, table: pd.DataFrame, probability: str) -> ScanDetections:
        """Match a table of positions with the nodules by LUNA16's rule."""
        positions = table[["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=float)
        probabilities = table[probability].to_numpy(dtype=float)
        return match_candidates(
            positions, probabilities, *centres_and_diameters(self.nodules), *centres_and_diameters(self.excluded)
        )

    def touched(self, labels_zyx: NDArray[np.int32], detections: ScanDetections) -> NDArray[np.bool_]:
        """Tell for each nodule whether it shares a voxel with a label or contains the centre of a detection."""
        overlapped = np.unique(self.labels_zyx[labels_zyx > 0])
        numbers = np.arange(1, len(self.nodules) + 1)
        touched: NDArray[np.bool_] = np.isin(numbers, overlapped) | np.isfinite(detections.hit_probabilities)
        return touched


def evaluate_scored(
    seriesuid: str,
    segmentation: Segmentation,
    nodules: Sequence[NoduleAnnotation],
    settings: Sequence[SegmentationSettings],
    scored: ScoredProposals,
    excluded: Sequence[NoduleAnnotation] = (),
) -> list[ScanResult]:
    """Outline a scan's proposals with each of the settings, and evaluate them against the annotated spheres.

    Parameters
    ----------
    settings : sequence of SegmentationSettings
        Settings of the outline; each gives one result.
    scored : ScoredProposals
        Proposals of the scan with the scorer's probabilities.
    excluded : sequence of NoduleAnnotation
        Findings that count neither as nodules nor as false positives.
    """
    proposals = scored.proposals()
    drawn, excluded_drawn = (
        draw_nodules(segmentation.scan, *centres_and_diameters(findings)) for findings in (nodules, excluded)
    )
    reference = _Reference(drawn, excluded_drawn, nodules, excluded)
    proposed = reference.touched(proposals.labels_zyx, reference.detections(proposals.table, "mean_probability"))
    found = [outline(segmentation, proposals, scored.probabilities, chosen, scored.params) for chosen in settings]
    return [_compare(seriesuid, segmentation, reference, proposed, candidates) for candidates in found]


def tuning_score(results: Sequence[ScanResult], allowed_false_positives: float) -> float:
    """Mean Dice of all nodules, reduced if there are too many false positives; missed nodules count 0.

    Up to `allowed_false_positives` per scan are free, because a radiologist dismisses them quickly. Above that, the
    score is multiplied by the ratio of allowed to actual false positives. Without nodules only this factor counts.
    """
    dices = [score.dice for score in _all_scores(results)]
    rate = sum(result.false_positives for result in results) / len(results)
    factor = allowed_false_positives / rate if rate > allowed_false_positives else 1.0
    return factor * (float(np.mean(dices)) if dices else 1.0)


def quality(results: Sequence[ScanResult]) -> float:
    """Panoptic quality over the nodules and false positives of all scans."""
    scores = _all_scores(results)
    hits = [score.dice for score in scores if score.hit]
    return panoptic_quality(hits, len(scores) - len(hits), sum(result.false_positives for result in results))


def metrics(results: Sequence[ScanResult]) -> dict[str, float]:
    """Dice and fates over all scans; sensitivity and false positives per scan over the whole scans, if any."""
    scores = _all_scores(results)
    figures = summary(scores, sum(result.predicted_voxels for result in results))
    fates = [fate for result in results for fate in result.fates]
    figures |= {f"nodules_{fate}": fates.count(fate) for fate in get_args(Fate)}
    figures["panoptic_quality"] = quality(results)
    figures["scans"] = len(results)
    whole = [result.detections for result in results if result.is_whole]
    figures["whole_scans"] = len(whole)
    if whole:
        found = detection_summary(whole)
        figures |= {name: found[name] for name in ("sensitivity", "false_positives_per_scan") if name in found}
    return figures


def _compare(
    seriesuid: str,
    segmentation: Segmentation,
    reference: _Reference,
    proposed: NDArray[np.bool_],
    candidates: Candidates,
) -> ScanResult:
    grid, labels = segmentation.scan, candidates.labels_zyx
    detections = reference.detections(candidates.table, "probability")
    scores = score_nodules(reference.labels_zyx, reference.diameters_mm, labels)
    return ScanResult(
        seriesuid=seriesuid,
        scores=[_missed_outside(one, grid.voxel_mm3) for one in scores],
        fates=[_fate(*pair) for pair in zip(proposed, reference.touched(labels, detections), strict=True)],
        detections=detections,
        candidates=candidates.table,
        predicted_voxels=int(np.count_nonzero(labels)),
        false_positives=false_positive_components(np.maximum(reference.labels_zyx, reference.excluded_zyx), labels),
        is_whole=grid.extent_zyx_mm[0] >= WHOLE_SCAN_MM,
    )


def _fate(proposed: bool, found: bool) -> Fate:
    if found:
        return "found"
    return "filtered" if proposed else "missed"


def _all_scores(results: Sequence[ScanResult]) -> list[NoduleScore]:
    return [score for result in results for score in result.scores]


def _missed_outside(score: NoduleScore, voxel_mm3: float) -> NoduleScore:
    """Count a nodule outside the lung region as a miss of its full size, instead of ignoring it."""
    if score.reference_voxels:
        return score
    return replace(score, reference_voxels=max(1, round(ball_mm3(score.diameter_mm) / voxel_mm3)))
