"""Proposals of hand-made maps, of random ones against a flood fill, and their compact form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodules.imaging.candidates.probability_map import Segmentation
from nodules.imaging.candidates.proposals import (
    PROPOSAL_COLUMNS,
    CandidateParams,
    Proposals,
    propose,
    score,
    score_proposals,
    unet_scorer,
)
from nodules.imaging.geometry.volume import Volume

SHAPE = (12, 16, 20)
SPACING = (2.0, 1.0, 1.5)
FLIPPED = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)


def segmentation(probability) -> Segmentation:
    scan = Volume(np.zeros(probability.shape, np.int16), SPACING, (10.0, -20.0, 300.0), FLIPPED)
    return Segmentation(scan, np.ones(probability.shape, np.uint8), probability.astype(np.float32))


def limits(min_diameter_mm=0.0, threshold=0.1, peak=0.3, dynamic=0.3) -> CandidateParams:
    return CandidateParams(min_diameter_mm, threshold, peak, dynamic)


def blob(*boxes) -> np.ndarray:
    probability = np.zeros(SHAPE, np.float32)
    for z, y, x, value in boxes:
        probability[z, y, x] = value
    return probability


def proposed(probability, **wanted) -> Proposals:
    return propose(segmentation(probability), limits(**wanted))


def test_numbers_are_those_of_the_core():
    """Peak 0.8: the core is what has at least 0.4, two voxels of 3 mm3 at x = 5 and 6; the tail does not pull."""
    proposals = proposed(blob((4, 7, slice(5, 12), np.array([0.8, 0.4, 0.39, 0.3, 0.2, 0.15, 0.1], np.float32))))
    assert proposals.table.columns.tolist() == PROPOSAL_COLUMNS
    row = proposals.table.iloc[0]
    assert (row["x_mm"], row["y_mm"], row["z_mm"]) == pytest.approx((10 - 1.5 * (5 + 0.4 / 1.2), -27.0, 308.0))
    assert row["diameter_mm"] == pytest.approx((6 * 6 / np.pi) ** (1 / 3))
    assert (row["mean_probability"], row["max_probability"]) == pytest.approx((0.6, 0.8))
    assert np.flatnonzero(proposals.labels_zyx[4, 7]).tolist() == list(range(5, 12))
    assert proposals.labels_zyx.dtype == np.int32


def test_faint_voxels_belong_only_to_what_has_a_peak():
    proposals = proposed(blob((2, 3, slice(2, 6), 0.29), (6, 3, slice(2, 6), 0.1), (6, 3, 2, 0.3), (9, 3, 3, 0.31)))
    assert len(proposals.table) == 2
    assert np.count_nonzero(proposals.labels_zyx) == 5


def test_voxels_that_touch_at_a_corner_are_one():
    assert len(proposed(blob((2, 5, 10, 0.9), (3, 6, 11, 0.9))).table) == 1
    assert len(proposed(blob((2, 5, 10, 0.9), (4, 5, 10, 0.9))).table) == 2


def test_the_most_evidence_comes_first_and_equals_in_the_order_of_the_grid():
    proposals = proposed(blob((8, 3, 4, 0.6), (2, 3, 4, 0.6), (5, slice(9, 12), 4, 0.5), (5, 3, 15, 1.0)))
    assert proposals.table["label"].tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(proposals.table["z_mm"], [310.0, 310.0, 304.0, 316.0])
    assert proposals.labels_zyx[5, 10, 4] == 1
    assert proposals.labels_zyx[2, 3, 4] == 3


def test_what_cannot_become_large_enough_is_left_out():
    """A sphere of 3 mm has 14.1 mm3: 4 voxels of 3 mm3 are too few, 5 are enough."""
    proposals = proposed(blob((2, 5, slice(8, 12), 0.9), (7, 5, slice(8, 13), 0.6)), min_diameter_mm=3.0)
    assert np.flatnonzero(proposals.labels_zyx.any(axis=(1, 2))).tolist() == [7]


def test_touching_ones_are_two_proposals():
    line = np.array([0.9, 0.9, 0.6, 0.3, 0.8, 0.8, 0.8], np.float32)
    proposals = proposed(blob((slice(3, 6), slice(5, 8), slice(4, 11), line)), min_diameter_mm=3.0)
    assert len(proposals.table) == 2
    assert np.count_nonzero(proposals.labels_zyx) == 63
    np.testing.assert_allclose(sorted(proposals.table["max_probability"]), [0.8, 0.9])


def test_empty_map_has_no_proposals():
    for probability in (np.zeros(SHAPE), np.full(SHAPE, 0.09)):
        proposals = proposed(probability)
        assert proposals.table.empty
        assert proposals.table.columns.tolist() == PROPOSAL_COLUMNS
        assert not proposals.labels_zyx.any()


def test_full_map_is_one_proposal():
    proposals = proposed(np.ones(SHAPE))
    assert len(proposals.table) == 1
    assert (proposals.labels_zyx == 1).all()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"threshold": 0.09}, r"proposal_threshold: expected at least 0\.1, got 0\.09"),
        ({"threshold": 0.4}, r"proposal_peak: expected at least the proposal_threshold 0\.4, got 0\.3"),
    ],
)
def test_thresholds_that_contradict_are_refused(wanted, message):
    with pytest.raises(ValueError, match=message):
        limits(**wanted)


def test_scorers():
    scanned = segmentation(blob((2, 5, 10, 0.9), (7, 5, slice(8, 13), 0.6)))
    proposals = propose(scanned, limits())
    np.testing.assert_allclose(score(scanned, proposals, unet_scorer), [0.6, 0.9], rtol=1e-6)
    assert score(scanned, proposals, lambda _, table: table["label"] / 4).tolist() == [0.25, 0.5]
    nothing = propose(segmentation(np.zeros(SHAPE)), limits())
    assert score(scanned, nothing, lambda *_: pytest.fail("asked")).shape == (0,)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.2, 0.4]), st.sampled_from([0.0, 2.0, 3.0]))
def test_random_maps_against_flood_fill(seed, threshold, min_diameter_mm):
    """All voxels of the parts that hold a peak and are large enough, however they are cut apart, and no others."""
    probability = np.random.default_rng(seed).random(SHAPE, dtype=np.float32) ** 6
    wanted = limits(min_diameter_mm, threshold, 0.7)
    proposals = propose(segmentation(probability), wanted)
    left, kept = set(map(tuple, np.argwhere(probability >= threshold))), {}
    while left:
        front = [left.pop()]
        part = set(front)
        while front:
            z, y, x = front.pop()
            near = {(z + i, y + j, x + k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)} & left
            left -= near
            part |= near
            front.extend(near)
        if max(probability[voxel] for voxel in part) >= 0.7 and 3.0 * len(part) >= np.pi / 6 * min_diameter_mm**3:
            kept |= dict.fromkeys(part, len(kept))
    labelled = list(map(tuple, np.argwhere(proposals.labels_zyx)))
    assert set(labelled) <= set(kept)
    lost = set(kept) - set(labelled)
    assert not lost  # a cut never makes a part without a peak: both sides of a dip of 0.3 are above 0.7 or one
    of_label = {}
    for voxel in labelled:
        of_label.setdefault(int(proposals.labels_zyx[voxel]), set()).add(kept[voxel])
    assert all(len(components) == 1 for components in of_label.values())
    assert sorted(of_label) == proposals.table["label"].tolist()
    assert set().union(*of_label.values()) == set(kept.values())
    sizes = np.bincount(proposals.labels_zyx.ravel())[1:]
    assert (sizes * 3.0 >= np.pi / 6 * min_diameter_mm**3).all()


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
    judged = score_proposals(segmentation, PARAMS, lambda _, table: 1 / table["label"].to_numpy())
    assert judged.probabilities.tolist() == [1.0, 0.5]
    assert judged.params == PARAMS
    assert len(judged.flat_indices) == 4 * 6 * 6 + 3 * 4 * 4  # and not the 14,400 voxels of the scan
    wanted = np.zeros((20, 24, 30), np.int32)
    wanted[large], wanted[small] = 1, 2
    again = judged.proposals()
    np.testing.assert_array_equal(again.labels_zyx, wanted)
    assert again.labels_zyx.dtype == np.int32
    assert again.table.equals(propose(segmentation, PARAMS).table)


def test_nothing_proposed() -> None:
    judged = score_proposals(segmentation_of(), PARAMS, lambda *_: pytest.fail("nothing to score"))
    assert len(judged.probabilities) == len(judged.table) == 0
    assert not judged.proposals().labels_zyx.any()
