"""Proposals kept small are the proposals."""

from __future__ import annotations

import numpy as np
import pytest

from nodules.imaging.candidates.probability_map import Segmentation
from nodules.imaging.candidates.proposals import CandidateParams, judge, propose
from nodules.imaging.geometry.volume import Volume

PARAMS = CandidateParams(3.0, 0.1, 0.3, 0.3)


def segmentation_of(*boxes: tuple[slice, slice, slice]) -> Segmentation:
    probability = np.zeros((20, 24, 30), np.float32)
    for box in boxes:
        probability[box] = 0.8
    scan = Volume(np.full(probability.shape, -850, np.int16), (2.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    return Segmentation(scan, np.ones(probability.shape, np.uint8), probability)


def test_what_was_proposed_comes_back_with_what_the_scorer_said() -> None:
    large, small = np.s_[2:6, 3:9, 4:10], np.s_[12:15, 10:14, 20:24]
    segmentation = segmentation_of(small, large)
    judged = judge(segmentation, PARAMS, lambda _, table: 1 / table["label"].to_numpy())
    assert judged.probabilities.tolist() == [1.0, 0.5]
    assert judged.params == PARAMS
    assert len(judged.places) == 4 * 6 * 6 + 3 * 4 * 4  # and not the 14,400 voxels of the scan
    wanted = np.zeros((20, 24, 30), np.int32)
    wanted[large], wanted[small] = 1, 2
    again = judged.proposals()
    np.testing.assert_array_equal(again.labels_zyx, wanted)
    assert again.labels_zyx.dtype == np.int32
    assert again.table.equals(propose(segmentation, PARAMS).table)


def test_nothing_proposed() -> None:
    judged = judge(segmentation_of(), PARAMS, lambda *_: pytest.fail("nothing to score"))
    assert len(judged.probabilities) == len(judged.table) == 0
    assert not judged.proposals().labels_zyx.any()
