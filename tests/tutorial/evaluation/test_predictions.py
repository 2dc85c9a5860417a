"""Predictions of the tutorial's network on evaluation slices: which slices are scored, and their mean scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from nodules.tutorial.evaluation.evaluation_slices import EvaluationSlices
from nodules.tutorial.evaluation.predictions import (
    COLUMNS,
    draw_predictions,
    mean_scores,
    predict_slices,
    score_predictions,
)
from nodules.tutorial.evaluation.slice_detection import OperatingPoint, mean_soft_dice

SIDE = 40
POINT = OperatingPoint(0.5, peak=0.5, min_mm2=0.0)


def square(top: int, left: int, side: int, value: float = 1.0) -> NDArray[np.float32]:
    plane = np.zeros((SIDE, SIDE), dtype=np.float32)
    plane[top : top + side, left : left + side] = value
    return plane


def store(folder: Path, uid: str, answers: list[NDArray[np.float32]], truths: list[NDArray[np.float32]]) -> None:
    """A scan whose images are the answers that `same` gives to them, on a grid of the same size."""
    count = len(answers)
    folder.mkdir(exist_ok=True)
    slices = EvaluationSlices(
        z=np.arange(count) + 10,
        images=np.asarray(answers, dtype=np.float32).reshape(-1, SIDE, SIDE),
        seen=np.ones(count, dtype=bool),
        boxes=np.tile([0, 0, SIDE, SIDE], (count, 1)),
        hu=np.full((count, SIDE, SIDE), -800, dtype=np.int16),
        nodules=np.asarray(truths).reshape(-1, SIDE, SIDE).astype(np.uint16),
        lungs=np.ones((count, SIDE, SIDE), dtype=bool),
        diameters_mm=np.array([8.0]),
        pixel_yx_mm=np.array([1.0, 1.0]),
    )
    slices.save(folder / f"{uid}.npz")


def same(images: NDArray[np.float32]) -> NDArray[np.float32]:
    return images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Scan 1.1: a hit of half the nodule, a miss with a false positive, a blank; 1.2: a nodule-free slice with two."""
    truth, nothing = square(4, 4, 8), square(0, 0, 0)
    store(tmp_path / "judged", "1.1", [square(4, 4, 4, 0.9), square(30, 30, 5, 0.6), square(4, 4, 8, 0.4)], [truth] * 3)
    store(tmp_path / "judged", "1.2", [square(2, 2, 4) + square(20, 20, 6)], [nothing])
    store(tmp_path / "judged", "1.3", [], [])
    return tmp_path / "judged"


def test_scores_worked_out_by_hand(folder: Path) -> None:
    rows, shown = score_predictions(predict_slices(folder, same, {}), POINT)
    assert rows["seriesuid"].tolist() == ["1.1", "1.1", "1.1", "1.2"]
    assert rows["z"].tolist() == [10, 11, 12, 10]
    assert rows["dice"].tolist()[:3] == [2 * 16 / (16 + 64), 0.0, 0.0]
    assert np.isnan(rows["dice"][3])
    numbers = mean_scores(rows, 0.5)
    assert numbers == {
        "nodule_slices": 3.0,
        "nodule_free_slices": 1.0,
        "dice": pytest.approx(0.4 / 3),
        "hit": pytest.approx(1 / 3),
        "dice_of_hits": pytest.approx(0.4),
        "false_positives": pytest.approx(1 / 3),
        "false_positives_nodule_free": 2.0,
        "blank": pytest.approx(1 / 3),
    }
    assert [(one.seriesuid, one.z) for one in shown] == [("1.1", 10)]


def test_slices_that_trained_do_not_judge(folder: Path) -> None:
    rows, _ = score_predictions(predict_slices(folder, same, {"1.1": {10, 12}, "1.2": {11}}), POINT)
    assert list(zip(rows["seriesuid"], rows["z"], strict=True)) == [("1.1", 11), ("1.2", 10)]


def test_nothing_to_judge_gives_no_means_and_an_empty_picture(tmp_path: Path) -> None:
    rows, shown = score_predictions(predict_slices(tmp_path, same, {}), POINT)
    assert list(rows.columns) == COLUMNS
    assert mean_scores(rows, 0.5) == {"nodule_slices": 0.0, "nodule_free_slices": 0.0}
    assert not draw_predictions(shown, POINT).axes


def test_the_picture_has_a_panel_for_each_scan_with_a_nodule(folder: Path) -> None:
    _, shown = score_predictions(predict_slices(folder, same, {}), POINT)
    (panel,) = draw_predictions(shown, POINT).axes
    assert "8 mm nodule" in panel.get_title()


def test_the_pages_dice_is_soft_and_smoothed() -> None:
    """Overlap 2 of 4 and 8 in the first slice; nothing of nothing is 1 in the second."""
    masks, answers = np.zeros((2, 4, 4), np.float32), np.zeros((2, 4, 4), np.float32)
    masks[0, 0], answers[0, :2] = 1.0, 0.5
    answers[0, 2:] = 0.5
    assert mean_soft_dice(masks, answers) == pytest.approx(((2 * 2 + 1) / (4 + 8 + 1) + 1) / 2)
    assert np.isnan(mean_soft_dice(masks[:0], answers[:0]))


def test_a_blank_answer_to_masks_of_1_of_255_beats_a_perfect_one() -> None:
    """600 pixels: the blank gets 1 / (600 / 255 + 1), the perfect outline 2 * 600 / 255 + 1 of 600 * 256 / 255 + 1."""
    mask = np.zeros((1, 64, 64), np.float32)
    mask[0, :24, :25] = 1.0
    blank, perfect = (mean_soft_dice(mask / 255, answer) for answer in (np.zeros_like(mask), mask))
    assert blank == pytest.approx(0.298, abs=1e-3)
    assert perfect == pytest.approx(0.0095, abs=1e-4)


def test_test_slices_table_is_readable_csv(folder: Path, tmp_path: Path) -> None:
    rows, _ = score_predictions(predict_slices(folder, same, {}), POINT)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "rows.csv", dtype={"seriesuid": str}), rows, check_dtype=False)
