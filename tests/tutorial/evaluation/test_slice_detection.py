"""Hits, false positives and Dice of hand-made slices."""

import numpy as np
import pandas as pd
import pytest

from nodules.tutorial.evaluation.slice_detection import (
    OperatingPoint,
    PredictedSlice,
    choose_operating_point,
    component_labels,
    dice_interval,
    score_operating_points,
    score_slice,
    score_slices,
    scores_by_diameter,
)

ANY = OperatingPoint(threshold=0.5, peak=0.5, min_mm2=0.0)


def image(probability, truth=None, lungs=None, pixel_mm2=0.5, diameter_mm=7.0) -> PredictedSlice:
    shape = probability.shape
    return PredictedSlice(
        hu_yx=np.zeros(shape, np.int16),
        probability_yx=probability.astype(np.float32),
        truth_yx=np.zeros(shape, np.uint16) if truth is None else truth.astype(np.uint16),
        lungs_yx=np.ones(shape, bool) if lungs is None else lungs,
        pixel_mm2=pixel_mm2,
        diameter_mm=diameter_mm,
    )


def chosen(images, points, allowed_false_positives, **how) -> OperatingPoint:
    return choose_operating_point(points, score_operating_points(images, points), allowed_false_positives, **how)


def squares(*boxes) -> np.ndarray:
    """Slice of 12 x 15 pixels with (top, left, side, value) squares."""
    values = np.zeros((12, 15))
    for top, left, side, value in boxes:
        values[top : top + side, left : left + side] = value
    return values


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
    found = image(squares((1, 1, 3, 0.9)), squares((1, 1, 3, 1)))
    means = scores_by_diameter(score_slices([empty, found], ANY))
    assert means.loc["all"].tolist() == [2, 1.0, 1.0, 1.0, 1.0, 0.5]
    assert means.loc["6-10 mm"].tolist() == [1, 1.0, 1.0, 1.0, 1.0, 0.0]
    assert chosen([empty, found], [ANY, OperatingPoint(0.95, 0.95, 0.0)], allowed_false_positives=0.5) == ANY


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


def test_judged_like_scored():
    truth = squares((1, 1, 3, 1))
    images = [image(squares((1, 1, 3, 0.9), (7, 7, 2, 0.6)), truth), image(squares((2, 2, 4, 0.3)), truth)]
    points = [
        ANY,
        OperatingPoint(0.1, 0.2, 3.0, share=0.5),
        OperatingPoint(0.1, 0.2, 0.0, 0.5, 2.0),
        OperatingPoint(0.1, 0.2, 0.0),
    ]
    figures = score_operating_points(images, points)
    for point, of_point in zip(points, figures, strict=True):
        np.testing.assert_array_equal(of_point, score_slices(images, point)[["hit", "dice", "false_positives"]])


def test_means_by_diameter():
    rows = pd.DataFrame(
        {
            "dice": [0.0, 0.5, 1.0, 0.9],
            "hit": [0.0, 1.0, 1.0, 1.0],
            "nodule_dice": [0.0, 0.6, 1.0, 0.95],
            "false_positives": [1.0, 0.0, 0.0, 1.0],
            "diameter_mm": [5.0, 5.9, 6.0, 10.0],
        }
    )
    means = scores_by_diameter(rows)
    assert means.loc["all"].tolist() == pytest.approx([4, 0.6, 0.7, 0.75, (0.6 + 1.0 + 0.95) / 3, 0.5])
    assert means.loc["< 6 mm", ["slices", "dice", "hit", "dice_of_hits"]].tolist() == [2, 0.25, 0.5, 0.6]
    assert means.loc["6-10 mm", "dice"] == 1.0
    assert means.loc[">= 10 mm", "slices"] == 1


def test_chosen_point_keeps_false_positives_down():
    """The doubtful answer is right once and wrong three times."""
    truth = squares((1, 1, 3, 1))
    images = [
        image(squares((1, 1, 3, 0.9)), truth),
        image(squares((1, 1, 3, 0.6), (7, 7, 2, 0.6), (7, 2, 2, 0.6), (1, 10, 2, 0.6)), truth),
    ]
    careful, bold = OperatingPoint(0.5, 0.8, 0.0), OperatingPoint(0.5, 0.5, 0.0)
    assert chosen(images, [bold, careful], allowed_false_positives=1.0) == careful
    assert chosen(images, [bold, careful], allowed_false_positives=2.0) == bold


def test_chosen_point_has_the_best_dice_or_hits_most():
    """A faint nodule is hit at the price of a false positive in each slice, which costs more Dice than it gains."""
    large, faint = squares((1, 1, 5, 1)), squares((1, 1, 2, 1))
    images = [image(squares((1, 1, 5, 0.9), (9, 9, 4, 0.6)), large)] * 3
    images.append(image(squares((1, 1, 2, 0.6), (9, 9, 4, 0.6)), faint))
    careful, bold = (OperatingPoint(threshold, threshold, 0.0) for threshold in (0.8, 0.5))
    means = [scores_by_diameter(score_slices(images, point)).loc["all"] for point in (careful, bold)]
    assert means[0]["dice"] > means[1]["dice"]
    assert means[0]["hit"] < means[1]["hit"]
    assert chosen(images, [bold, careful], allowed_false_positives=1.0) == careful
    assert chosen(images, [careful, bold], allowed_false_positives=1.0, hits_first=True) == bold
    assert chosen(images, [bold, careful], allowed_false_positives=0.5, hits_first=True) == careful


def test_of_points_with_equally_many_hits_the_one_with_the_best_dice_is_chosen():
    images = [image(squares((1, 1, 5, 0.9)) + np.float32(0.1), squares((1, 1, 5, 1)))]
    everything, fitting = OperatingPoint(0.05, 0.05, 0.0), OperatingPoint(0.5, 0.5, 0.0)
    assert chosen(images, [everything, fitting], allowed_false_positives=1.0, hits_first=True) == fitting


def test_interval_holds_the_mean_and_has_no_width_for_one_patient():
    rows = score_slices([image(squares((1, 1, 3, 0.9)), squares((1, 1, side, 1))) for side in (1, 2, 3)], ANY)
    low, high = dice_interval(rows, ["a", "b", "c"])
    assert low < rows["dice"].mean() < high
    assert dice_interval(rows, ["a", "a", "a"]) == pytest.approx((rows["dice"].mean(),) * 2)
    with_empty = pd.concat([rows, rows.assign(dice=np.nan)], ignore_index=True)
    assert dice_interval(with_empty, ["a", "b", "c", "a", "d", "d"]) == (low, high)
