"""What is stored measures exactly as what the network answered."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nodules.imaging.candidates.outline import CandidateParams, Segmentation, SegmentationSettings, find_candidates
from nodules.imaging.features.measure import measure_patient
from nodules.imaging.geometry.volume import Volume
from nodules.scans.result import ScanError
from nodules.scans.stores.segmentations import load, save

SHAPE = (9, 14, 17)
LUNGS = {"volume_right_l": 1.9, "volume_left_l": 1.7, "emphysema_share": 0.031}
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
TILTED = tuple(Rotation.from_euler("xyz", (4.0, -7.0, 12.0), degrees=True).as_matrix().ravel().tolist())


def segmentation(direction=IDENTITY, steps_zyx: np.ndarray | None = None) -> Segmentation:
    """Blobs of every probability in steps of 1 / 255, geometry with no round number."""
    random = np.random.default_rng(4)
    scan = Volume(
        random.integers(-1000, 3071, SHAPE, dtype=np.int16),
        (2.4999999, 0.7345678901234, 0.7345678901234),
        (-133.3712345678, 41.11300001, -300.0 / 7),
        direction,
    )
    if steps_zyx is None:
        steps_zyx = random.integers(0, 256, SHAPE) * (random.random(SHAPE) < 0.3)
        steps_zyx[0].flat[:256] = np.arange(238)
    lungs = np.zeros(SHAPE, np.uint8)
    lungs[1:8, 2:12, 2:8], lungs[1:8, 2:12, 9:15] = 1, 2
    return Segmentation(scan, lungs, steps_zyx.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("direction", [IDENTITY, TILTED])
def test_round_trip_is_exact(tmp_path, direction):
    wanted = segmentation(direction)
    save(wanted, tmp_path / "1.2.3")
    found = load(tmp_path / "1.2.3")
    np.testing.assert_array_equal(found.probability_zyx, wanted.probability_zyx)
    np.testing.assert_array_equal(found.lungs_zyx, wanted.lungs_zyx)
    np.testing.assert_array_equal(found.scan.voxels_zyx, wanted.scan.voxels_zyx)  # 20 mm reach over all of it
    assert (found.probability_zyx.dtype, found.lungs_zyx.dtype) == (np.float32, np.uint8)
    assert found.scan.voxels_zyx.dtype == np.int16
    for name in ("spacing_zyx_mm", "origin_xyz_mm", "direction_xyz"):
        np.testing.assert_allclose(getattr(found.scan, name), getattr(wanted.scan, name), rtol=0, atol=1e-12)


def test_hu_are_kept_around_answers_alone(tmp_path):
    """One voxel of 0.1 on a grid of 8 x 5 x 4 mm: its cube of 20 mm to either side, in whole voxels, and no more."""
    shape, here = (9, 14, 17), (4, 6, 11)
    probability = np.zeros(shape, np.float32)
    probability[here], probability[0, 0, 0] = 26 / 255, 25 / 255
    scan = Volume(np.full(shape, 70, np.int16), (8.0, 5.0, 4.0), (5.0, -3.0, 90.0))
    save(Segmentation(scan, np.zeros(shape, np.uint8), probability), tmp_path / "a")
    kept = load(tmp_path / "a").scan.voxels_zyx
    wanted = np.full(shape, -1000)
    wanted[1:8, 2:11, 6:17] = 70
    np.testing.assert_array_equal(kept, wanted)


def test_every_step_survives(tmp_path):
    steps = np.zeros(SHAPE, int)
    steps.flat[:256] = np.arange(256)
    save(segmentation(steps_zyx=steps), tmp_path / "a")
    np.testing.assert_allclose(load(tmp_path / "a").probability_zyx.ravel()[:256], np.arange(256) / 255, atol=1e-7)
    again = load(tmp_path / "a")
    save(again, tmp_path / "b")
    np.testing.assert_array_equal(load(tmp_path / "b").probability_zyx, again.probability_zyx)


def test_probabilities_between_two_steps_go_to_the_nearest(tmp_path):
    wanted = segmentation()
    between = Segmentation(wanted.scan, wanted.lungs_zyx, np.full(SHAPE, 0.5, np.float32) + np.float32(0.0011))
    save(between, tmp_path / "a")
    np.testing.assert_allclose(load(tmp_path / "a").probability_zyx, 128 / 255, rtol=1e-6)


@pytest.mark.parametrize("direction", [IDENTITY, TILTED])
@pytest.mark.parametrize("threshold", [0.02, 0.3, 128 / 255, 0.9])  # share of the peak
def test_features_are_the_same_before_and_after(tmp_path, direction, threshold):
    settings, params = SegmentationSettings(threshold, 2.1), CandidateParams(1.3, 0.1, 0.3, 0.3)
    fresh = segmentation(direction)
    save(fresh, tmp_path / "a")
    stored = load(tmp_path / "a")
    candidates, measured = measure_patient(fresh, LUNGS, settings, params)
    stored_candidates, stored_measured = measure_patient(stored, LUNGS, settings, params)
    assert measured["candidate_count"] > 0
    assert list(stored_measured) == list(measured)
    assert stored_measured == pytest.approx(measured, rel=1e-9, abs=1e-9)
    np.testing.assert_array_equal(stored_candidates.labels_zyx, candidates.labels_zyx)
    np.testing.assert_allclose(stored_candidates.table, candidates.table, rtol=1e-9, atol=1e-9)


def test_nothing_found_and_no_lungs(tmp_path):
    blank = segmentation(steps_zyx=np.zeros(SHAPE, int))
    save(Segmentation(blank.scan, np.zeros(SHAPE, np.uint8), blank.probability_zyx), tmp_path / "a")
    found = load(tmp_path / "a")
    assert not found.probability_zyx.any()
    assert not found.lungs_zyx.any()
    assert (found.scan.voxels_zyx == -1000).all()
    assert find_candidates(found, SegmentationSettings(0.5, 3.0), CandidateParams(3.0, 0.1, 0.3, 0.3)).table.empty


def test_one_slice(tmp_path):
    scan = Volume(np.full((1, 3, 4), 25, np.int16), (2.5, 0.8, 0.8), (1.0, 2.0, 3.0))
    save(Segmentation(scan, np.ones((1, 3, 4), np.uint8), np.ones((1, 3, 4), np.float32)), tmp_path / "a")
    found = load(tmp_path / "a")
    assert found.scan.shape_zyx == (1, 3, 4)
    assert (found.probability_zyx == 1).all()
    assert (found.scan.voxels_zyx == 25).all()


def test_folder_is_made_and_holds_three_files(tmp_path):
    folder = tmp_path / "deep" / "1.2.3"
    save(segmentation(), folder)
    save(segmentation(), folder)
    assert sorted(file.name for file in folder.iterdir()) == ["hu.mha", "lungs.mha", "probability.mha"]


def test_saving_changes_nothing_in_memory(tmp_path):
    fresh = segmentation()
    save(fresh, tmp_path / "a")
    np.testing.assert_array_equal(fresh.scan.voxels_zyx, segmentation().scan.voxels_zyx)
    np.testing.assert_array_equal(fresh.probability_zyx, segmentation().probability_zyx)


@pytest.mark.parametrize("name", ["hu.mha", "lungs.mha", "probability.mha"])
def test_missing_or_damaged_file_is_named(tmp_path, name):
    save(segmentation(), tmp_path / "a")
    whole = (tmp_path / "a" / name).read_bytes()
    (tmp_path / "a" / name).write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(ScanError, match=name):
        load(tmp_path / "a")
    (tmp_path / "a" / name).unlink()
    with pytest.raises(ScanError, match=name):
        load(tmp_path / "a")
