"""Tables, chosen operating points and intervals of hand-made slices."""

import numpy as np
import pandas as pd
import pytest

from nodules.tutorial.evaluation.slice_detection import OperatingPoint
from slice_scores import choose_operating_point, dice_interval, score_operating_points, score_slices, scores_by_diameter
from support.scored_slices import ANY, image, squares


def chosen(images, points, allowed_false_positives, **how) -> OperatingPoint:
    return choose_operating_point(points, score_operating_points(images, points), allowed_false_positives, **how)


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


def test_a_slice_without_nodules_counts_in_false_positives_only():
    empty = image(squares((1, 1, 3, 0.9)), diameter_mm=np.nan)
    found = image(squares((1, 1, 3, 0.9)), squares((1, 1, 3, 1)))
    means = scores_by_diameter(score_slices([empty, found], ANY))
    assert means.loc["all"].tolist() == [2, 1.0, 1.0, 1.0, 1.0, 0.5]
    assert means.loc["6-10 mm"].tolist() == [1, 1.0, 1.0, 1.0, 1.0, 0.0]
    assert chosen([empty, found], [ANY, OperatingPoint(0.95, 0.95, 0.0)], allowed_false_positives=0.5) == ANY


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
