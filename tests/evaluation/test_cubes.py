"""Scores of hand-made cubes, counted by hand, and their means and intervals."""

import numpy as np
import pandas as pd
import pytest

from nodules.evaluation.cubes import CubeScore, score_cube, summary

SHAPE_ZYX = (5, 8, 9)


def boxes(*parts, value=1.0):
    values = np.zeros(SHAPE_ZYX, np.float32)
    for part in parts:
        values[part] = value
    return values


NODULE = np.s_[1:4, 2:4, 2:4]  # 12 voxels, the middle slice is 2


def test_components_that_touch_the_mask_count_for_it_and_the_others_are_other_parts():
    mask = boxes(NODULE) > 0
    # 4 voxels on the nodule; 3 of which one is on it; one voxel that only touches the mask's corner; one far away
    probability = boxes(np.s_[1, 2:4, 2:4], np.s_[3, 3, 3:6], np.s_[4, 4, 1], np.s_[0, 7, 8])
    assert score_cube(mask, probability, 0.5) == CubeScore(True, pytest.approx(2 * 5 / (7 + 12)), 0.0, 2)


def test_dice_of_the_middle_slice():
    mask = boxes(NODULE) > 0
    probability = boxes(np.s_[2, 2:4, 2], np.s_[2, 2:4, 6])
    score = score_cube(mask, probability, 0.5)
    assert score == CubeScore(True, pytest.approx(2 * 2 / (2 + 12)), pytest.approx(2 * 2 / (2 + 4)), 1)


def test_neighbours_share_a_corner():
    probability = boxes(np.s_[3, 3, 3], np.s_[4, 4, 4])
    assert score_cube(boxes(NODULE) > 0, probability, 0.5) == CubeScore(True, pytest.approx(2 / (2 + 12)), 0.0, 0)


def test_missed_nodule_and_perfect_answer():
    mask = boxes(NODULE) > 0
    assert score_cube(mask, boxes(), 0.5) == CubeScore(False, 0.0, 0.0, 0)
    assert score_cube(mask, boxes(np.s_[0, 7, 8]), 0.5) == CubeScore(False, 0.0, 0.0, 1)
    assert score_cube(mask, boxes(NODULE), 0.5) == CubeScore(True, 1.0, 1.0, 0)
    assert score_cube(mask, boxes(np.s_[:, :, :]), 0.5).other_parts == 0


def test_threshold_and_least_size():
    mask, probability = boxes(NODULE) > 0, boxes(NODULE, value=0.3) + boxes(np.s_[0, 7, 7:9], value=0.5)
    assert score_cube(mask, probability, 0.3) == CubeScore(True, 1.0, 1.0, 1)
    assert score_cube(mask, probability, 0.31) == CubeScore(False, 0.0, 0.0, 1)
    assert score_cube(mask, probability, 0.2, min_voxels=2.5) == CubeScore(True, 1.0, 1.0, 0)
    assert score_cube(mask, probability, 0.2, min_voxels=12.5) == CubeScore(False, 0.0, 0.0, 0)


def test_parts_on_another_nodule_are_spared():
    probability = boxes(NODULE, np.s_[0, 7, 7:9], np.s_[0, 0, 0])
    score = score_cube(boxes(NODULE) > 0, probability, 0.5, spared_zyx=boxes(np.s_[0:2, 7, 8]) > 0)
    assert score == CubeScore(True, 1.0, 1.0, 1)


def test_mask_in_two_pieces_and_on_the_border():
    mask = boxes(np.s_[0, 0, 0], np.s_[4, 7, 8]) > 0
    assert score_cube(mask, boxes(np.s_[0, 0, 0]), 0.5) == CubeScore(True, pytest.approx(2 / 3), 0.0, 0)


def test_wrong_arrays_are_refused():
    with pytest.raises(ValueError, match="must not be empty"):
        score_cube(boxes() > 0, boxes(), 0.5)
    with pytest.raises(ValueError, match="shape"):
        score_cube(boxes(NODULE)[1:] > 0, boxes(), 0.5)


def rows() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "patient": ["a", "a", "b", "c"],
            "diameter_mm": [5.9, 6.0, 7.0, 30.0],
            "is_luna16": [True, False, True, True],
            "hit": [True, False, True, True],
            "dice": [0.5, 0.0, 0.8, 0.9],
            "middle_dice": [0.6, 0.0, 0.9, 0.9],
            "other_parts": [0, 3, 1, 0],
        }
    )


def test_means_by_size_of_all_and_of_luna16_nodules():
    found = summary(rows())
    assert list(found) == ["all_nodules", "luna16_nodules"]
    assert list(found["all_nodules"]) == ["all_sizes", "under_6mm", "6_to_10mm", "from_10mm"]
    everything = found["all_nodules"]["all_sizes"]
    assert {
        name: everything[name] for name in ("nodules", "patients", "hit", "dice", "middle_dice", "other_parts")
    } == {
        "nodules": 4,
        "patients": 3,
        "hit": 0.75,
        "dice": pytest.approx(0.55),
        "middle_dice": pytest.approx(0.6),
        "other_parts": 1.0,
    }
    assert found["all_nodules"]["6_to_10mm"]["dice"] == pytest.approx(0.4)
    assert found["luna16_nodules"]["6_to_10mm"]["dice"] == pytest.approx(0.8)
    assert found["luna16_nodules"]["all_sizes"]["nodules"] == 3
    assert everything["dice_low"] < 0.55 < everything["dice_high"]
    assert everything["dice_low"] == pytest.approx(0.25)  # patient a alone


def test_strata_without_nodules_are_left_out():
    found = summary(rows()[:1].assign(is_luna16=False))
    assert found["luna16_nodules"] == {}
    assert list(found["all_nodules"]) == ["all_sizes", "under_6mm"]
    assert found["all_nodules"]["all_sizes"]["dice_low"] == found["all_nodules"]["all_sizes"]["dice_high"] == 0.5
