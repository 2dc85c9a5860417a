"""Segmentations held against spheres: perfect, half right, outside the region, and excerpts of scans."""

import numpy as np
import pandas as pd
import pytest

from nodules.evaluation.detection import ScanDetections
from nodules.evaluation.dice import NoduleScore
from nodules.evaluation.nodules import ScanResult, evaluate_scored, metrics, quality, tuning_score
from nodules.imaging.candidates.outline import SegmentationSettings
from nodules.imaging.candidates.probability_map import Segmentation
from nodules.imaging.candidates.proposals import CandidateParams, score_proposals
from nodules.imaging.geometry.volume import Volume
from nodules.scans.tables.luna import NoduleAnnotation
from support.evaluated_scans import evaluate_scan

SHAPE = (50, 30, 36)
SETTINGS, PARAMS = SegmentationSettings(0.5, 3.0), CandidateParams(3.0, 0.1, 0.3, 0.3)
FLIPPED = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)


def region(shape=SHAPE) -> Volume:
    return Volume(np.full(shape, -800, np.int16), (2.5, 1.0, 1.0), (21.0, 14.0, -233.0), FLIPPED)


def nodule(index_zyx, diameter_mm: float) -> NoduleAnnotation:
    x, y, z = region().voxel_to_world(index_zyx).tolist()
    return NoduleAnnotation("1.2.3", (x, y, z), diameter_mm)


LARGE, SMALL = nodule((12, 9, 10), 12.0), nodule((35, 20, 25), 5.0)
OUTSIDE = nodule((20, 45, 10), 8.0)


def sphere(found: NoduleAnnotation, volume: Volume | None = None) -> np.ndarray:
    volume = volume or region()
    places = volume.voxel_to_world(np.indices(volume.shape_zyx).transpose(1, 2, 3, 0))
    return np.linalg.norm(places - np.array(found.centre_world_xyz), axis=-1) <= found.diameter_mm / 2


def evaluate(answer, nodules, volume=None, params=PARAMS):
    volume = volume or region()
    lungs = np.ones(volume.shape_zyx, np.uint8)
    segmentation = Segmentation(volume, lungs, answer.astype(np.float32))
    return evaluate_scan("1.2.3", segmentation, nodules, SETTINGS, params)


def blank() -> np.ndarray:
    return np.zeros(SHAPE)


def box(z, y, x, value=1.0) -> np.ndarray:
    answer = blank()
    answer[z, y, x] = value
    return answer


def test_perfect_segmentation():
    answer = sphere(LARGE) | sphere(SMALL)
    result = evaluate(answer, [LARGE, SMALL])
    assert [score.dice for score in result.scores] == [1.0, 1.0]
    assert [score.reference_voxels for score in result.scores] == [sphere(LARGE).sum(), sphere(SMALL).sum()]
    assert result.predicted_voxels == answer.sum()
    assert result.false_positives == 0
    figures = metrics([result])
    for name in ("dice_mean", "dice_median", "dice_pooled", "hit_rate", "sensitivity", "panoptic_quality"):
        assert figures[name] == 1.0, name
    assert figures["false_positives_per_scan"] == 0.0
    assert (figures["scans"], figures["whole_scans"], figures["nodules"]) == (1, 1, 2)


def test_half_right_by_hand():
    """A false positive of 27 voxels and one of the two nodules, with a 2 x 5 x 7 box more than its sphere."""
    extra = box(slice(10, 12), slice(14, 19), slice(7, 14))
    false = box(slice(30, 33), slice(3, 6), slice(3, 6))
    result = evaluate(np.maximum.reduce([sphere(LARGE), extra, false]), [LARGE, SMALL])
    reference = int(sphere(LARGE).sum())
    predicted = reference + 70 - int((sphere(LARGE) & (extra > 0)).sum())
    dice = 2 * reference / (reference + predicted)
    assert [score.dice for score in result.scores] == pytest.approx([dice, 0.0])
    assert [score.hit for score in result.scores] == [True, False]
    assert result.predicted_voxels == predicted + 27
    assert result.false_positives == 1
    figures = metrics([result])
    assert figures["dice_mean"] == pytest.approx(dice / 2)
    both = reference + int(sphere(SMALL).sum())
    assert figures["dice_pooled"] == pytest.approx(2 * reference / (both + predicted + 27))
    assert figures["panoptic_quality"] == pytest.approx(dice / (1 + 0.5 + 0.5))
    assert figures["sensitivity"] == 0.5
    assert figures["false_positives_per_scan"] == 1.0


def test_nodule_outside_the_region_is_a_miss_of_its_full_size():
    result = evaluate(sphere(LARGE), [LARGE, OUTSIDE])
    missed = result.scores[1]
    assert not missed.hit
    assert missed.dice == 0.0
    assert missed.reference_voxels == round(np.pi / 6 * 8.0**3 / 2.5)
    figures = metrics([result])
    assert (figures["nodules"], figures["nodules_off_grid"]) == (2, 0)
    assert figures["dice_mean"] == 0.5
    assert figures["sensitivity"] == 0.5
    assert figures["hit_rate"] == 0.5
    assert figures["panoptic_quality"] == pytest.approx(1 / 1.5)


def test_tiny_nodule_outside_the_region_counts_as_one_voxel():
    result = evaluate(blank(), [nodule((20, 45, 10), 1.0)])
    assert result.scores[0].reference_voxels == 1


def test_nodule_partly_outside_is_scored_on_what_lies_inside():
    partly = nodule((20, 31, 10), 12.0)
    result = evaluate(sphere(partly), [partly])
    assert result.scores[0].dice == 1.0
    assert 0 < result.scores[0].reference_voxels < np.pi / 6 * 12.0**3 / 2.5 / 2


def test_nothing_found():
    result = evaluate(blank(), [LARGE])
    assert result.predicted_voxels == 0
    assert result.candidates.empty
    figures = metrics([result])
    for name in ("dice_mean", "dice_pooled", "sensitivity", "panoptic_quality", "false_positives_per_scan"):
        assert figures[name] == 0.0, name


def test_no_nodules_and_nothing_found_is_perfect():
    result = evaluate(blank(), [])
    assert result.scores == []
    figures = metrics([result])
    assert figures["panoptic_quality"] == 1.0
    assert figures["false_positives_per_scan"] == 0.0
    assert "sensitivity" not in figures
    assert "dice_mean" not in figures


def test_no_nodules_but_something_found():
    figures = metrics([evaluate(sphere(LARGE), [])])
    assert figures["panoptic_quality"] == 0.0
    assert figures["dice_pooled"] == 0.0
    assert figures["false_positives_per_scan"] == 1.0


def test_no_scans():
    figures = metrics([])
    assert (figures["scans"], figures["whole_scans"]) == (0, 0)
    assert "false_positives_per_scan" not in figures


def test_component_too_small_to_be_a_candidate_is_not_predicted():
    result = evaluate(box(5, 5, slice(5, 8)), [LARGE])
    assert (result.predicted_voxels, result.false_positives) == (0, 0)
    result = evaluate(box(5, 5, slice(5, 8)), [LARGE], params=CandidateParams(0.0, 0.1, 0.3, 0.3))
    assert (result.predicted_voxels, result.false_positives) == (3, 1)


def test_component_that_touches_without_its_centre_in_the_nodule_is_a_hit_of_voxels_only():
    """LUNA16 asks for the centre; a component is a false positive only if it touches nothing."""
    result = evaluate(box(12, 9, slice(15, 36)), [LARGE])  # the sphere ends at x = 16
    assert result.scores[0].hit
    assert result.false_positives == 0
    assert result.detections.false_positive_probabilities.size == 1
    assert metrics([result])["sensitivity"] == 0.0


@pytest.mark.parametrize(("slices", "whole"), [(1, False), (39, False), (40, True), (50, True)])
def test_stack_of_excerpts_is_not_a_whole_scan(slices, whole):
    """40 slices of 2.5 mm are 100 mm."""
    volume = region((slices, *SHAPE[1:]))
    result = evaluate(np.zeros(volume.shape_zyx), [], volume)
    assert result.is_whole == whole
    assert ("false_positives_per_scan" in metrics([result])) == whole


def test_excerpts_count_for_dice_but_not_for_rates_per_scan():
    low = region((20, *SHAPE[1:]))
    excerpt = evaluate(sphere(LARGE, low), [LARGE], low)
    figures = metrics([excerpt])
    assert figures["dice_mean"] == 1.0
    assert (figures["scans"], figures["whole_scans"]) == (1, 0)
    assert not {"sensitivity", "false_positives_per_scan"} & set(figures)
    missed = evaluate(blank(), [SMALL])
    both = metrics([excerpt, missed])
    assert both["dice_mean"] == 0.5
    assert both["sensitivity"] == 0.0  # of the whole scan alone
    assert (both["scans"], both["whole_scans"]) == (2, 1)


def test_quality_over_several_scans_by_hand():
    hit, missed = evaluate(sphere(LARGE), [LARGE]), evaluate(sphere(LARGE), [SMALL])
    assert quality([hit]) == 1.0
    assert quality([missed]) == 0.0
    assert quality([hit, missed]) == pytest.approx(1 / (1 + 0.5 + 0.5))  # one miss, one false positive
    assert quality([]) == 1.0


def result_of(dices: list[float], false_positives: int) -> ScanResult:
    scores = [NoduleScore(n, 8.0, value, value > 0, 10, 10, 10) for n, value in enumerate(dices, start=1)]
    nothing = ScanDetections(np.full(len(dices), np.nan), np.empty(0))
    return ScanResult("1.2", scores, ["missed"] * len(dices), nothing, pd.DataFrame(), 0, false_positives, True)


def test_tuning_score_by_hand() -> None:
    # nodules of Dice 0.8, 0 (missed) and 0.4; 3 + 1 false positives in 2 scans: 2 a scan
    results = [result_of([0.8, 0.0], 3), result_of([0.4], 1)]
    assert tuning_score(results, allowed_false_positives=2.0) == pytest.approx(0.4)
    assert tuning_score(results, allowed_false_positives=0.5) == pytest.approx(0.4 * 0.5 / 2)


def test_tuning_score_without_nodules_counts_false_positives_only() -> None:
    assert tuning_score([result_of([], 0)], 1.0) == 1.0
    assert tuning_score([result_of([], 4)], 1.0) == 0.25


BY_SIZE = 0.9, 0.2  # of the larger and the smaller nodule's proposal


def by_size(segmentation: Segmentation, table: pd.DataFrame) -> np.ndarray:
    return np.where(table["diameter_mm"] > 8.0, *BY_SIZE)


def fates(answer, nodules, settings=SETTINGS, scorer=by_size) -> list[str]:
    volume = region()
    segmentation = Segmentation(volume, np.ones(SHAPE, np.uint8), answer.astype(np.float32))
    result = evaluate_scan("1.2.3", segmentation, nodules, settings, PARAMS, scorer)
    figures = metrics([result])
    for fate in ("found", "filtered", "missed"):
        assert figures[f"nodules_{fate}"] == result.fates.count(fate)
    return result.fates


def test_fates_by_hand() -> None:
    both, nodules = np.where(sphere(LARGE) | sphere(SMALL), 0.6, 0.0), [LARGE, SMALL, OUTSIDE]
    assert fates(both, nodules) == ["found", "found", "missed"]
    # the scorer's 0.2 is too little; the map's 0.6 has no say
    assert fates(both, nodules, SegmentationSettings(0.5, 3.0, 0.5)) == ["found", "filtered", "missed"]
    assert fates(both, nodules, SegmentationSettings(0.5, 3.0, 0.95)) == ["filtered", "filtered", "missed"]
    assert fates(blank(), nodules) == ["missed", "missed", "missed"]
    assert fates(both, []) == []


def test_too_faint_for_a_proposal_is_missed() -> None:
    assert fates(np.where(sphere(LARGE), 0.29, 0.0), [LARGE]) == ["missed"]


def test_an_outline_that_loses_the_nodule_filters_it() -> None:
    """The proposal's tail of 0.2 covers the nodule, its body of 1.0 and thus its outline lies beside it."""
    tail = np.where(sphere(SMALL), 0.2, 0.0)
    body = box(slice(33, 38), slice(18, 23), slice(28, 34))
    assert fates(np.maximum(tail, body), [SMALL]) == ["filtered"]
    assert fates(np.maximum(tail, body), [SMALL], SegmentationSettings(0.2, 3.0)) == ["found"]


def test_a_shell_around_a_nodule_finds_it_by_its_centre() -> None:
    far = nodule((25, 15, 18), 4.0)
    places = region().voxel_to_world(np.indices(SHAPE).transpose(1, 2, 3, 0))
    distance = np.linalg.norm(places - np.array(far.centre_world_xyz), axis=-1)
    assert fates((distance > 5) & (distance <= 8), [far]) == ["found"]


def test_several_settings_ask_the_scorer_once() -> None:
    asked = []

    def scorer(segmentation, table):
        asked.append(len(table))
        return by_size(segmentation, table)

    answer = (sphere(LARGE) | sphere(SMALL)).astype(np.float32)
    segmentation = Segmentation(region(), np.ones(SHAPE, np.uint8), answer)
    settings = [SegmentationSettings(0.5, 3.0, lowest) for lowest in (0.0, 0.5, 1.0)]
    judged = score_proposals(segmentation, PARAMS, scorer)
    results = evaluate_scored("1.2.3", segmentation, [LARGE, SMALL], settings, judged)
    assert asked == [2]
    assert [len(result.candidates) for result in results] == [2, 1, 0]
    assert results[0].candidates["probability"].tolist() == list(BY_SIZE)
    assert results[0].detections.hit_probabilities.tolist() == list(BY_SIZE)
    for chosen, result in zip(settings, results, strict=True):
        alone = evaluate_scan("1.2.3", segmentation, [LARGE, SMALL], chosen, PARAMS, by_size)
        assert alone.scores == result.scores
        assert alone.candidates.equals(result.candidates)


def test_touching_nodules_are_scored_apart() -> None:
    """Two saturated balls, radii 6 and 5 mm, 10.5 mm apart: joined they would both be the union."""
    one, other = nodule((20, 15, 11.5), 12.0), nodule((20, 15, 22), 10.0)
    result = evaluate(sphere(one) | sphere(other), [one, other])
    assert len(result.candidates) == 2
    assert all(score.dice > 0.95 for score in result.scores)
    assert result.fates == ["found", "found"]
    assert metrics([result])["sensitivity"] == 1.0
