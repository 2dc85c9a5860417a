"""Dice, nodule scores and panoptic quality against numbers counted by hand."""

import numpy as np
import pytest

from nodules.evaluation.dice import (
    NoduleScore,
    false_positive_components,
    panoptic_quality,
    pooled_dice,
    score_nodules,
    summary,
)

SHAPE_ZYX = (3, 4, 5)


def labels(**boxes):
    """Array with each label (`_1=...`) written into its box of (z, y, x) slices."""
    array = np.zeros(SHAPE_ZYX, dtype=np.int32)
    for name, box in boxes.items():
        array[box] = int(name.removeprefix("_"))
    return array


def score(number, diameter_mm, reference, predicted, overlap):
    value = 2 * overlap / (reference + predicted)
    return NoduleScore(number, diameter_mm, value, overlap > 0, reference, predicted, overlap)


class TestScoreNodules:
    def test_union_of_touching_components_is_the_prediction(self):
        reference = labels(_1=np.s_[0, 0, 0:4])
        # Component 7 overlaps 2 of its 3 voxels, component 9 its only one, component 3 lies elsewhere.
        predicted = labels(_7=np.s_[0, 0:1, 0:2], _9=np.s_[0, 0, 3], _3=np.s_[2, :, :])
        predicted[0, 1, 0] = 7
        (nodule,) = score_nodules(reference, [5.5], predicted)
        assert nodule == NoduleScore(1, 5.5, pytest.approx(2 * 3 / (4 + 4)), True, 4, 4, 3)

    def test_missed_nodule(self):
        (nodule,) = score_nodules(labels(_1=np.s_[0, 0, 0]), [4.0], labels(_1=np.s_[2, 3, 4]))
        assert nodule == NoduleScore(1, 4.0, 0.0, False, 1, 0, 0)

    def test_empty_prediction(self):
        (nodule,) = score_nodules(labels(_1=np.s_[0, 0, 0]), [4.0], labels())
        assert (nodule.dice, nodule.hit) == (0.0, False)

    def test_component_over_two_nodules_counts_for_both(self):
        reference = labels(_1=np.s_[0, 0, 0], _2=np.s_[0, 0, 4])
        scores = score_nodules(reference, [4.0, 5.0], labels(_1=np.s_[0, 0, :]))
        assert [nodule.dice for nodule in scores] == [pytest.approx(2 / 6)] * 2

    def test_neighbour_that_crosses_the_border_is_no_part_of_the_nodule(self):
        """Component 5 covers nodule 1 but for a voxel, which component 6 takes beside its own nodule 2."""
        reference = labels(_1=np.s_[0, 0:2, 0:3], _2=np.s_[0, 0:2, 3:5])
        predicted = labels(_5=np.s_[0, 0:2, 0:3], _6=np.s_[0, 0:2, 3:5])
        predicted[0, 0, 2] = 6
        scores = score_nodules(reference, [4.0, 5.0], predicted)
        assert scores[0] == NoduleScore(1, 4.0, pytest.approx(2 * 5 / (6 + 5)), True, 6, 5, 5)
        assert scores[1] == NoduleScore(2, 5.0, pytest.approx(2 * 4 / (4 + 5)), True, 4, 5, 4)

    def test_nodule_touched_only_by_its_neighbours_component_has_it_whole(self):
        reference = labels(_1=np.s_[0, 0, 0:4], _2=np.s_[0, 0, 4])
        scores = score_nodules(reference, [4.0, 5.0], labels(_3=np.s_[0, 0, :]))
        assert [score.dice for score in scores] == pytest.approx([8 / 9, 2 / 6])
        assert [score.overlap_voxels for score in scores] == [4, 1]

    def test_nodule_off_the_grid_is_named_in_any_position(self):
        reference = labels(_2=np.s_[0, 0, 0])
        scores = score_nodules(reference, [4.0, 5.0, 6.0], reference)
        assert [(nodule.number, nodule.reference_voxels) for nodule in scores] == [(1, 0), (2, 1), (3, 0)]

    def test_no_nodules(self):
        assert score_nodules(labels(), [], labels(_1=np.s_[0])) == []

    def test_refuses_label_without_diameter_and_wrong_arrays(self):
        with pytest.raises(ValueError, match="expected a diameter for every reference label, got label 2"):
            score_nodules(labels(_2=np.s_[0]), [4.0], labels())
        with pytest.raises(ValueError, match="expected integer labels"):
            score_nodules(labels(), [], labels() * 0.5)
        with pytest.raises(ValueError, match="negative"):
            score_nodules(labels() - 1, [], labels())


def test_false_positive_components_are_those_that_touch_no_nodule():
    reference = labels(_1=np.s_[0, 0, 0])
    predicted = labels(_4=np.s_[0, 0, 0:2], _5=np.s_[1, 0, 0], _9=np.s_[2, 3, 4])
    assert false_positive_components(reference, predicted) == 2
    assert false_positive_components(reference, labels()) == 0


class TestSummary:
    SCORES = (score(1, 5.0, 10, 10, 5), score(2, 6.0, 10, 20, 10), score(1, 12.0, 30, 30, 30), score(3, 9.9, 5, 0, 0))

    def test_pooled_dice_counts_false_positives(self):
        # 45 of 55 reference voxels overlap; 100 predicted in all, 40 of them away from every nodule.
        assert pooled_dice(self.SCORES, 100) == pytest.approx(90 / 155)

    def test_pooled_dice_refuses_less_than_the_overlap(self):
        with pytest.raises(ValueError, match="at least the 45"):
            pooled_dice(self.SCORES, 44)

    def test_by_hand(self):
        figures = summary(self.SCORES, 100)
        assert figures["nodules"] == 4
        assert figures["hit_rate"] == 0.75
        assert figures["dice_mean"] == pytest.approx((0.5 + 2 / 3 + 1 + 0) / 4)
        assert figures["dice_median"] == pytest.approx((0.5 + 2 / 3) / 2)
        assert figures["nodules_under_6mm"] == 1
        assert figures["dice_mean_6_to_10mm"] == pytest.approx(1 / 3)  # 6.0 belongs here, 10 would not
        assert figures["hit_rate_from_10mm"] == 1.0

    def test_off_grid_nodule_counts_neither_way_and_empty_strata_are_left_out(self):
        figures = summary([NoduleScore(1, 4.0, 0.0, False, 0, 0, 0), self.SCORES[2]], 30)
        assert figures == {
            "nodules": 1,
            "nodules_off_grid": 1,
            "dice_pooled": 1.0,
            "dice_mean": 1.0,
            "dice_median": 1.0,
            "hit_rate": 1.0,
            "nodules_from_10mm": 1,
            "dice_mean_from_10mm": 1.0,
            "dice_median_from_10mm": 1.0,
            "hit_rate_from_10mm": 1.0,
        }

    def test_no_nodules_at_all(self):
        assert summary([], 0) == {"nodules": 0, "nodules_off_grid": 0, "dice_pooled": 1.0}
        assert summary([], 12)["dice_pooled"] == 0.0


class TestPanopticQuality:
    def test_by_hand(self):
        assert panoptic_quality([0.8, 0.6], misses=1, false_positives=3) == pytest.approx(1.4 / 4)

    def test_nothing_to_find_and_nothing_found_is_perfect(self):
        assert panoptic_quality([], 0, 0) == 1.0

    def test_only_errors_is_zero(self):
        assert panoptic_quality([], 2, 0) == 0.0
        assert panoptic_quality([], 0, 1) == 0.0

    def test_refuses_negative_counts(self):
        with pytest.raises(ValueError, match="negative"):
            panoptic_quality([], -1, 0)
