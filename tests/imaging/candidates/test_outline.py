"""Candidates of hand-made probability maps, and of a bright ball followed through the whole chain."""

import numpy as np
import pytest
from scipy import ndimage

from nodules.imaging.candidates.outline import CANDIDATE_COLUMNS, Candidates, SegmentationSettings, find_candidates
from nodules.imaging.candidates.probability_map import Segmentation
from nodules.imaging.candidates.proposals import CandidateParams, propose, unet_scorer
from nodules.imaging.geometry.resample import to_scan_grid
from nodules.imaging.geometry.volume import Volume
from nodules.imaging.network_input.lung_roi import LungRoiParams, extract

SHAPE = (12, 16, 20)
SPACING = (2.0, 1.0, 1.5)
FLIPPED = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)


def segmentation(probability=None, lungs=None, hu=None) -> Segmentation:
    scan = Volume(np.full(SHAPE, -800, np.int16) if hu is None else hu, SPACING, (10.0, -20.0, 300.0), FLIPPED)
    lungs = np.ones(SHAPE, np.uint8) if lungs is None else lungs
    return Segmentation(scan, lungs, np.zeros(SHAPE, np.float32) if probability is None else probability)


def limits(min_diameter_mm: float) -> CandidateParams:
    return CandidateParams(min_diameter_mm, proposal_threshold=0.1, proposal_peak=0.3, split_dynamic=0.3)


def found(
    threshold=0.5, dilation_mm=0.0, min_probability=0.0, min_diameter_mm=0.0, scorer=unet_scorer, **parts
) -> Candidates:
    settings = SegmentationSettings(threshold, dilation_mm, min_probability)
    return find_candidates(segmentation(**parts), settings, limits(min_diameter_mm), scorer)


def blob(*boxes) -> np.ndarray:
    """Zero but for boxes, each (slice, slice, slice, probability)."""
    probability = np.zeros(SHAPE, np.float32)
    for z, y, x, value in boxes:
        probability[z, y, x] = value
    return probability


def test_box_by_hand():
    """Voxels z 2..4, y 5..8, x 10..14: centre 3, 6.5, 12; 60 voxels of 3 mm3; x and y run against the world's."""
    hu = np.full(SHAPE, -800, np.int16)
    hu[2:5, 5:9, 10:15] = 30
    hu[3, 5:9, 10:15] = 60
    lungs = np.zeros(SHAPE, np.uint8)
    lungs[1:11] = 2
    probability = blob((slice(2, 5), slice(5, 9), slice(10, 15), 0.75))
    candidates = found(probability=probability, lungs=lungs, hu=hu)
    assert candidates.table.columns.tolist() == CANDIDATE_COLUMNS
    assert len(candidates.table) == 1
    row = candidates.table.iloc[0]
    assert (row["x_mm"], row["y_mm"], row["z_mm"]) == pytest.approx((10 - 12 * 1.5, -20 - 6.5 * 1.0, 300 + 3 * 2.0))
    assert row["volume_mm3"] == pytest.approx(180.0)
    assert row["diameter_mm"] == pytest.approx((6 * 180 / np.pi) ** (1 / 3))
    assert (row["probability"], row["mean_probability"], row["max_probability"]) == (0.75, 0.75, 0.75)
    assert row["mean_hu"] == pytest.approx(40.0)
    assert row["sd_hu"] == pytest.approx(np.sqrt((2 * 10**2 + 20**2) / 3))
    assert row["solid_share"] == 1.0
    assert row["spiculation"] == 0.0
    assert row["lung"] == 2
    assert row["relative_height"] == pytest.approx(2 / 9)  # slice 3 between 1 and 10
    assert (row["relative_x"], row["relative_y"]) == pytest.approx((12.5 / 20, 7 / 16))
    assert row["pleura_mm"] == 2.0  # slice 1 is on the surface
    assert 0 < row["sphericity"] <= 1
    assert candidates.labels_zyx.dtype == np.int32
    np.testing.assert_array_equal(candidates.labels_zyx == row["label"], probability > 0)


def test_strands_around_a_nodule_are_its_own_but_not_another_nodule() -> None:
    """Bright lung beside a box is spiculation unless the network sees a nodule there."""
    hu = np.full(SHAPE, -800, np.int16)
    hu[:, :, 10:12] = -400  # 3 and 4.5 mm away
    hu[4:8, 5:9, 4:8] = 0
    box = (slice(4, 8), slice(5, 9), slice(4, 8), 0.9)
    strand = (slice(None), slice(None), slice(10, 12), 0.9)
    alone, apart = (found(probability=blob(*boxes), hu=hu).table for boxes in ([box], [box, strand]))
    assert alone["spiculation"].tolist() == [0.5]  # (-400 + 800) / 800
    of_box = apart.loc[apart["mean_hu"] == 0]
    assert of_box["spiculation"].tolist() == [0.0]


def test_centre_is_weighted_by_probability():
    candidates = found(probability=blob((2, 5, 10, 0.9), (2, 5, 11, 0.6)))
    row = candidates.table.iloc[0]
    assert row["x_mm"] == pytest.approx(10 - 1.5 * (10 + 0.6 / 1.5))
    assert row["probability"] == pytest.approx(0.75)
    assert row["max_probability"] == pytest.approx(0.9)


def test_most_probable_comes_first_and_labels_point_to_the_voxels():
    boxes = [(slice(1, 3), 3, 4, 0.6), (6, 3, 4, 0.9), (9, slice(9, 12), 4, 0.6), (6, 12, 15, 0.7)]
    candidates = found(probability=blob(*boxes))
    np.testing.assert_allclose(candidates.table["probability"], [0.9, 0.7, 0.6, 0.6], rtol=1e-6)
    assert candidates.table["volume_mm3"].tolist() == [3.0, 3.0, 9.0, 6.0]  # the larger one first where equal
    for row, place in zip(candidates.table.itertuples(), [(6, 3, 4), (6, 12, 15), (9, 10, 4), (1, 3, 4)], strict=True):
        assert candidates.labels_zyx[place] == row.label


def test_voxels_that_touch_at_a_corner_are_one_nodule():
    assert len(found(probability=blob((2, 5, 10, 0.9), (3, 6, 11, 0.9))).table) == 1
    assert len(found(probability=blob((2, 5, 10, 0.9), (4, 5, 10, 0.9))).table) == 2


def test_outline_is_a_share_of_the_peak():
    below = np.nextafter(np.float32(0.2), np.float32(0))
    probability = blob((2, 5, 10, 0.4), (2, 5, 11, 0.2), (2, 5, 12, below), (8, 5, 10, 0.8), (8, 5, 11, 0.2))
    table = found(probability=probability).table
    assert table["volume_mm3"].tolist() == [3.0, 6.0]
    np.testing.assert_allclose(table["max_probability"], [0.8, 0.4])
    np.testing.assert_allclose(table["mean_probability"], [0.8, 0.3])
    assert found(probability=probability, threshold=1.0).table["volume_mm3"].tolist() == [3.0, 3.0]


def test_the_part_with_most_evidence_is_the_nodule():
    """Above half the peak the map falls apart into one voxel of 0.9 and three of 0.6: 1.8 is more."""
    probability = blob((2, 5, slice(4, 12), 0.4), (2, 5, 4, 0.9), (2, 5, slice(8, 11), 0.6))
    candidates = found(probability=probability)
    assert np.argwhere(candidates.labels_zyx).tolist() == [[2, 5, 8], [2, 5, 9], [2, 5, 10]]
    assert candidates.table["max_probability"].tolist() == pytest.approx([0.6])


def test_smaller_than_the_smallest_diameter_is_removed_from_table_and_labels():
    """A sphere of 3 mm has 14.1 mm3: 4 voxels of 3 mm3 are too few, 5 are enough."""
    candidates = found(probability=blob((2, 5, slice(8, 12), 0.9), (7, 5, slice(8, 13), 0.6)), min_diameter_mm=3.0)
    assert candidates.table["volume_mm3"].tolist() == [15.0]
    assert not candidates.labels_zyx[2].any()
    assert np.count_nonzero(candidates.labels_zyx) == 5


def test_dilation_takes_in_voxels_outside_the_lungs_up_to_a_distance_in_mm():
    lungs = np.zeros(SHAPE, np.uint8)
    lungs[4:8, :, :10] = 1
    line = blob((5, 6, slice(9, 20), 0.9))  # along x, 1.5 mm apart
    for dilation_mm, voxels in ((0.0, 1), (1.4, 1), (1.5, 2), (3.2, 3), (6.0, 5)):
        volume_mm3 = found(probability=line, lungs=lungs, dilation_mm=dilation_mm).table["volume_mm3"]
        assert volume_mm3.tolist() == [3.0 * voxels], dilation_mm
    column = blob((slice(0, 6), 6, 3, 0.9))  # along z, 2 mm apart
    assert found(probability=column, lungs=lungs, dilation_mm=4.5).table["volume_mm3"].tolist() == [3.0 * 4]


def test_lung_is_the_one_with_more_voxels():
    lungs = np.zeros(SHAPE, np.uint8)
    lungs[:, :, :8], lungs[:, :, 10:] = 1, 2
    boxes = [(2, 2, slice(6, 9), 0.9), (5, 2, slice(8, 12), 0.8), (8, 2, slice(8, 10), 0.7)]
    table = found(probability=blob(*boxes), lungs=lungs, dilation_mm=5.0).table
    assert table["lung"].tolist() == [1, 2, 0]


def test_height_outside_the_lungs_slices_is_cut_to_0_and_1():
    lungs = np.zeros(SHAPE, np.uint8)
    lungs[4:9] = 1
    boxes = [(2, 3, 3, 0.9), (4, 9, 9, 0.8), (5, 3, 16, 0.7), (10, 3, 3, 0.6)]
    table = found(probability=blob(*boxes), lungs=lungs, dilation_mm=4.0).table
    assert table["relative_height"].tolist() == [0.0, 0.0, 0.25, 1.0]


def test_lungs_in_one_slice_have_no_height():
    lungs = np.zeros(SHAPE, np.uint8)
    lungs[4] = 1
    assert found(probability=blob((4, 3, 3, 0.9)), lungs=lungs).table["relative_height"].tolist() == [0.5]


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"lungs": np.zeros(SHAPE, np.uint8), "probability": np.ones(SHAPE, np.float32), "dilation_mm": 8.0},
        {"probability": np.full(SHAPE, 0.29, np.float32)},
        {"probability": blob((5, 5, 5, 1.0)), "lungs": np.ones(SHAPE, np.uint8) * (np.indices(SHAPE)[0] > 5)},
    ],
    ids=["empty map", "no lungs", "no peak", "outside the lungs"],
)
def test_nothing_found(parts):
    candidates = found(**parts)
    assert candidates.table.empty
    assert candidates.table.columns.tolist() == CANDIDATE_COLUMNS
    assert candidates.labels_zyx.shape == SHAPE
    assert not candidates.labels_zyx.any()


def three_boxes() -> np.ndarray:
    boxes = [(slice(1, 3), slice(2, 6), slice(2, 6), 0.9), (slice(5, 7), slice(2, 6), slice(2, 6), 0.6)]
    return blob(*boxes, (slice(9, 11), slice(9, 12), slice(9, 14), 0.4))


def test_scorer_decides_probability_and_order():
    asked = []

    def against_the_map(scanned, table):
        asked.append(table)
        return 1 - table["max_probability"].to_numpy(dtype=float)

    candidates = found(probability=three_boxes(), scorer=against_the_map, min_probability=0.3)
    proposals = propose(segmentation(three_boxes()), limits(0.0))
    assert asked[0].equals(proposals.table)
    np.testing.assert_allclose(candidates.table["probability"], [0.6, 0.4], rtol=1e-6)
    np.testing.assert_allclose(candidates.table["mean_probability"], [0.4, 0.6], rtol=1e-6)
    for row, place in zip(candidates.table.itertuples(), [(10, 10, 10), (6, 3, 3)], strict=True):
        assert candidates.labels_zyx[place] == proposals.labels_zyx[place] == row.label


@pytest.mark.parametrize(
    "answer", [[0.5, 0.5], [0.5, 0.5, 1.5], [0.5, -0.1, 0.5], [np.nan, 0.5, 0.5], [[0.5], [0.5], [0.5]]]
)
def test_scorer_that_answers_no_probabilities_is_refused(answer):
    with pytest.raises(ValueError, match="scorer: expected 3 probabilities"):
        found(probability=three_boxes(), scorer=lambda *_: np.asarray(answer))


def test_without_proposals_the_scorer_is_not_asked():
    assert found(scorer=lambda *_: pytest.fail("asked")).table.empty


def test_two_nodules_that_touch_are_two():
    """The map falls from 0.9 to 0.3 and rises to 0.8 again; the lower peak's side of the valley is its own."""
    line = np.array([0.9, 0.9, 0.9, 0.6, 0.3, 0.5, 0.8, 0.8], np.float32)
    candidates = found(probability=blob((slice(4, 6), slice(5, 8), slice(6, 14), line)))
    np.testing.assert_allclose(candidates.table["max_probability"], [0.9, 0.8])
    assert candidates.table["volume_mm3"].tolist() == [4 * 6 * 3.0, 3 * 6 * 3.0]
    assert sorted(candidates.table["label"]) == [1, 2]


@pytest.mark.parametrize("centre_zyx", [(14.0, 30.0, 33.0), (14.4, 29.3, 41.8), (11.7, 34.6, 27.2)])
def test_ball_at_a_known_place_is_found_there_and_comes_back(centre_zyx):
    scan = Volume(np.full((28, 60, 70), -850, np.int16), (1.25, 0.72, 0.64), (-133.37, 41.113, -77.7), FLIPPED)
    truth_xyz, diameter_mm = scan.voxel_to_world(centre_zyx), 13.0
    places = scan.voxel_to_world(np.indices(scan.shape_zyx).transpose(1, 2, 3, 0))
    inside = np.linalg.norm(places - truth_xyz, axis=-1) <= diameter_mm / 2
    scan.voxels_zyx[inside] = 50
    lungs = np.zeros(scan.shape_zyx, np.uint8)
    lungs[2:26, 8:52, 8:62] = 1
    region = extract(scan, lungs, LungRoiParams(1.0, 3.0, True, (-1000.0, 400.0)))
    answer = (region.scan.voxels_zyx > -400).astype(np.float32)  # half way: a network that is right everywhere
    segmented = Segmentation(region.scan, region.lungs_zyx, answer)
    candidates = find_candidates(segmented, SegmentationSettings(0.5, 0.0), limits(3.0))
    assert len(candidates.table) == 1
    row = candidates.table.iloc[0]
    np.testing.assert_allclose([row["x_mm"], row["y_mm"], row["z_mm"]], truth_xyz, atol=0.25)
    assert row["volume_mm3"] == pytest.approx(np.pi / 6 * diameter_mm**3, rel=0.04)
    assert row["diameter_mm"] == pytest.approx(diameter_mm, rel=0.015)
    back = to_scan_grid(region.scan.with_voxels(candidates.labels_zyx), scan)
    assert set(np.unique(back.voxels_zyx)) == {0, row["label"]}
    returned_xyz = scan.voxel_to_world(ndimage.center_of_mass(back.voxels_zyx > 0))
    assert (np.abs(returned_xyz - truth_xyz) <= np.array([0.32, 0.36, 0.625])).all()  # half a pixel
    overlap = np.count_nonzero((back.voxels_zyx > 0) & inside)
    assert 2 * overlap / (np.count_nonzero(back.voxels_zyx) + np.count_nonzero(inside)) > 0.93


def test_a_candidate_doubtful_throughout_is_dropped_and_one_with_a_sure_middle_stays() -> None:
    probability = np.zeros((5, 20, 30), dtype=np.float32)
    probability[1:4, 3:9, 3:9] = 0.6  # mean 0.6
    probability[1:4, 3:9, 18:24] = 0.6
    probability[2, 4:8, 19:23] = 1.0  # 16 of 108 voxels: mean 0.6 + 0.4 * 16 / 108 = 0.659
    scan = Volume(np.zeros(probability.shape, dtype=np.int16), (2.0, 1.0, 1.0))
    segmented = Segmentation(scan, np.ones(probability.shape, dtype=np.uint8), probability)
    both, one = (
        find_candidates(segmented, SegmentationSettings(0.5, 0.0, lowest), limits(3.0)) for lowest in (0.59, 0.65)
    )
    assert len(both.table) == 2
    assert one.table["probability"].tolist() == pytest.approx([0.6 + 0.4 * 16 / 108])
    assert np.array_equal(np.flatnonzero(one.labels_zyx.any(axis=(0, 1))), np.arange(18, 24))
