"""LUNA16's hit rule and FROC points on scans small enough to count."""

import numpy as np
import pytest

from nodules.evaluation.detection import detection_summary, froc_points, match_candidates


def test_candidate_hits_inside_the_radius_only():
    centre = [-70.0, 20.0, 150.0]
    candidates = [[-70.0, 20.0, 152.9], [-70.0, 20.0, 153.0], [-66.0, 20.0, 150.0]]
    matches = match_candidates(candidates, [0.9, 0.8, 0.7], [centre], [6.0])
    assert matches.nodule_of_candidate.tolist() == [0, -1, -1]  # at exactly the radius is outside, as in LUNA16
    assert matches.false_positive_probabilities.tolist() == [0.8, 0.7]


def test_second_candidate_in_a_nodule_is_neither_hit_nor_false_positive():
    matches = match_candidates([[0, 0, 1], [0, 1, 0]], [0.3, 0.6], [[0, 0, 0]], [10.0])
    assert matches.hit_probabilities.tolist() == [0.6]
    assert matches.false_positive_probabilities.size == 0


def test_candidate_in_two_nodules_goes_to_the_nearest():
    matches = match_candidates([[0, 0, 4]], [0.5], [[0, 0, 0], [0, 0, 6]], [20.0, 20.0])
    assert matches.hit_nodules.tolist() == [1]


def test_nearer_nodule_that_is_too_small_does_not_take_the_candidate():
    matches = match_candidates([[0, 0, 4]], [0.5], [[0, 0, 0], [0, 0, 6]], [10.0, 2.0])
    assert matches.hit_nodules.tolist() == [0]


@pytest.mark.parametrize(
    ("candidates", "nodules", "false_positives"), [([], [[0, 0, 0]], 0), ([[0, 0, 0]], [], 1), ([], [], 0)]
)
def test_scan_without_candidates_or_nodules(candidates, nodules, false_positives):
    matches = match_candidates(candidates, [0.5] * len(candidates), nodules, [5.0] * len(nodules))
    assert matches.nodules == len(nodules)
    assert matches.hit_probabilities.size == 0
    assert matches.false_positive_probabilities.size == false_positives


def test_refuses_lengths_that_differ_and_missing_values():
    with pytest.raises(ValueError, match="probabilities must have 1"):
        match_candidates([[0, 0, 0]], [], [], [])
    with pytest.raises(ValueError, match="shape"):
        match_candidates([[0, 0]], [0.5], [], [])
    with pytest.raises(ValueError, match="finite"):
        match_candidates([[0, 0, np.nan]], [0.5], [], [])


def three_scans():
    """4 nodules, 3 found at .9 .6 .2; false positives at .8 .5 .5; the last scan has nothing at all."""
    nodules = [[0, 0, 0], [50, 0, 0]]
    first = match_candidates([[0, 0, 0], [50, 0, 0], [99, 0, 0]], [0.9, 0.2, 0.8], nodules, [5, 5])
    second = match_candidates([[0, 0, 0], [99, 0, 0], [0, 99, 0]], [0.6, 0.5, 0.5], nodules, [5, 5])
    return [first, second, match_candidates([], [], [], [])]


def test_summary_by_hand():
    assert detection_summary(three_scans()) == {
        "scans": 3,
        "nodules": 4,
        "hits": 3,
        "false_positives": 3,
        "sensitivity": 0.75,
        "false_positives_per_scan": 1.0,
    }


def test_summary_leaves_out_what_is_undefined():
    assert detection_summary([]) == {"scans": 0, "nodules": 0, "hits": 0, "false_positives": 0}


def test_froc_by_hand():
    # Thresholds: .9 -> 1/4 at 0; .8 -> 1/4 at 1/3; .6 -> 2/4 at 1/3; .5 -> 2/4 at 1; .2 -> 3/4 at 1.
    points = froc_points(three_scans(), rates=(0.0, 0.3, 0.34, 0.9, 1.0, 8.0))
    assert points["sensitivity"].tolist() == [0.25, 0.25, 0.5, 0.5, 0.75, 0.75]


def test_froc_with_candidates_tied_takes_all_or_none():
    tied = match_candidates([[0, 0, 0], [99, 0, 0]], [0.5, 0.5], [[0, 0, 0]], [5])
    assert froc_points([tied], rates=(0.5, 1.0))["sensitivity"].tolist() == [0.0, 1.0]


def test_froc_without_nodules_or_scans_has_no_rows():
    assert froc_points([]).empty
    assert froc_points([match_candidates([[0, 0, 0]], [0.5], [], [])]).empty
