"""Hits, false positives and Dice of hand-made slices."""

from dataclasses import replace

import numpy as np
import pytest

from nodules.tutorial.evaluation.slice_detection import OperatingPoint, component_labels, score_slice
from support.scored_slices import ANY, image, squares


def test_dice_hit_and_false_positives_by_hand():
    truth = squares((1, 1, 3, 1), (8, 10, 2, 2))
    found = squares((2, 2, 3, 0.9), (7, 2, 2, 0.8), (1, 9, 2, 0.7))
    lungs = squares((0, 0, 8, 1)) > 0  # holds the answer on the nodule and half of one false positive
    result = score_slice(image(found, truth, lungs), ANY)
    assert result["dice"] == pytest.approx(2 * 4 / (9 + 4 + 4 + 9 + 4))
    assert result["hit"] == 1.0
    assert result["nodule_dice"] == pytest.approx(2 * 4 / (9 + 9))
    assert result["false_positives"] == 1.0


def test_another_nodule_of_the_slice_is_neither_hit_nor_false():
    truth = squares((1, 1, 3, 1), (8, 10, 2, 2))
    result = score_slice(image(squares((8, 10, 2, 0.9)), truth), ANY)
    assert (result["hit"], result["nodule_dice"], result["false_positives"]) == (0.0, 0.0, 0.0)
    assert result["dice"] == pytest.approx(2 * 4 / (4 + 9 + 4))


def test_the_dice_of_a_hit_is_that_of_the_parts_on_it():
    """Two parts touch the nodule, a third and another nodule's answer do not and leave its Dice alone."""
    truth = squares((1, 1, 4, 1), (8, 10, 2, 2))
    found = squares((0, 0, 2, 0.9), (4, 4, 2, 0.9), (8, 2, 2, 0.9), (8, 10, 2, 0.9))
    result = score_slice(image(found, truth), ANY)
    assert result["nodule_dice"] == pytest.approx(2 * (1 + 1) / (8 + 16))
    assert result["dice"] == pytest.approx(2 * (1 + 1 + 4) / (16 + 16 + 4))
    assert result["false_positives"] == 1.0


def test_a_slice_without_nodules_counts_in_false_positives_only():
    empty = image(squares((1, 1, 3, 0.9)), diameter_mm=np.nan)
    result = score_slice(empty, ANY)
    assert result["false_positives"] == 1.0
    assert np.isnan([result["dice"], result["hit"], result["nodule_dice"]]).all()


def test_a_slice_beside_its_nodule_is_neither_hit_nor_missed():
    """The nodule that the slice was chosen for ends short of it; another one is there."""
    result = score_slice(image(squares((8, 10, 2, 0.9)), squares((8, 10, 2, 2)), diameter_mm=np.nan), ANY)
    assert np.isnan([result["hit"], result["nodule_dice"]]).all()
    assert (result["dice"], result["false_positives"]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("point", "wanted"),
    [
        (OperatingPoint(0.5, 0.5, 0.0), 2),  # the part of 3 pixels is below the 4 that any needs
        (OperatingPoint(0.5, 0.85, 0.0), 1),
        (OperatingPoint(0.5, 0.5, 3.0), 1),  # 4 pixels of 0.5 mm2 are too few
        (OperatingPoint(0.95, 0.95, 0.0), 0),
    ],
)
def test_parts_that_count(point, wanted):
    probability = squares((1, 1, 3, 0.9), (8, 2, 2, 0.8))
    probability[11, 12:15] = 0.9
    labels = component_labels(probability.astype(np.float32), 0.5, point)
    assert len(np.unique(labels[labels > 0])) == wanted


def test_a_part_is_cut_at_a_share_of_its_own_peak():
    """A sure part loses its dim rim, a faint one of the same dimness stays whole; both stay parts."""
    sure, faint = squares((1, 1, 4, 0.3)), squares((7, 2, 2, 0.3))
    sure[2:4, 2:4] = 0.9
    labels = component_labels((sure + faint).astype(np.float32), 0.5, OperatingPoint(0.1, 0.2, 0.0, share=0.5))
    assert sorted(np.bincount(labels.ravel())[1:].tolist()) == [4, 4]
    assert (labels > 0)[2:4, 2:4].all()
    assert (labels > 0)[7:9, 2:4].all()


@pytest.mark.parametrize(("power", "sure_pixels", "faint_pixels"), [(1.0, 4, 4), (2.0, 16, 12)])
def test_a_faint_part_keeps_more_of_its_rim(power, sure_pixels, faint_pixels):
    """Levels at half a peak of 0.9 and of 0.4 are 0.45 and 0.2; with squared peaks 0.405 and 0.08."""
    sure, faint = squares((1, 1, 4, 0.43)), squares((1, 8, 4, 0.1))
    sure[2:4, 2:4], faint[2:4, 9:11] = 0.9, 0.4
    faint[1, [8, 11]] = faint[4, [8, 11]] = 0.07
    labels = component_labels((sure + faint).astype(np.float32), 0.5, OperatingPoint(0.05, 0.2, 0.0, 0.5, power))
    assert np.bincount(labels.ravel())[1:].tolist() == [sure_pixels, faint_pixels]


def test_a_part_cut_in_two_is_one():
    bridge = squares((1, 1, 2, 0.9), (1, 7, 2, 0.9))
    bridge[1:3, 3:7] = 0.2
    uncut, cut = (OperatingPoint(0.1, 0.2, 0.0, share=share) for share in (0.0, 0.5))
    assert np.bincount(component_labels(bridge.astype(np.float32), 0.5, uncut).ravel())[1:].tolist() == [16]
    assert np.bincount(component_labels(bridge.astype(np.float32), 0.5, cut).ravel())[1:].tolist() == [8]
    assert score_slice(image(bridge), cut)["false_positives"] == 1.0


def test_a_part_on_a_spared_finding_is_no_false_positive_and_no_hit():
    probability = squares((1, 1, 3, 0.9), (7, 7, 2, 0.6), (1, 10, 2, 0.6))
    truth, spared = squares((1, 1, 3, 1)), squares((8, 8, 4, 1)) > 0
    plain = score_slice(image(probability, truth), ANY)
    sparing = score_slice(replace(image(probability, truth), spared_yx=spared), ANY)
    assert (plain.pop("false_positives"), sparing.pop("false_positives")) == (2, 1)
    assert sparing == plain
