"""Which slices judge a recipe, what its defects change in them, and how they are stored."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from nodules.imaging.geometry.volume import Volume
from nodules.scans.result import ScanError
from nodules.tutorial.judging import judged_slices as judged_store
from nodules.tutorial.judging.judged_slices import JudgedSlices, judged_slices
from nodules.tutorial.steps.defects import TutorialDefects
from nodules.tutorial.steps.prepared_scan import prepare
from support.tutorial_slices import LUNG_CENTRES_YX, chest, chest_slice, tutorial_params

SPACING = (2.5, 0.75, 0.75)
RIGHT = tutorial_params()
PUBLISHED = replace(RIGHT, defects=TutorialDefects.as_published())
FIRST, SECOND = LUNG_CENTRES_YX


def world(z: int, place_yx: tuple[int, int]) -> tuple[float, float, float]:
    return place_yx[1] * SPACING[2], place_yx[0] * SPACING[1], z * SPACING[0]


@pytest.fixture(scope="module")
def scan() -> Volume:
    """Nine slices: the first has no lungs, all others have."""
    return chest(chest_slice(scale=0.0), *(chest_slice(seed=seed) for seed in range(1, 9)))


def judged(scan: Volume, params=RIGHT, nodule_free: int = 0, diameters_mm=(9.0, 6.0)) -> JudgedSlices:
    centres = [world(3, FIRST), world(3, SECOND)]
    return judged_slices(prepare(scan, params), centres, list(diameters_mm), nodule_free)


def test_the_truth_is_as_wide_as_annotated_and_has_all_nodules(scan: Volume) -> None:
    slices = judged(scan)
    assert slices.z.tolist() == [2, 3, 4]
    truth, diameter_mm = slices.truth(1)
    assert diameter_mm == 9.0
    y, x = np.ogrid[:256, :256]
    for number, (place, mm) in enumerate(((FIRST, 9.0), (SECOND, 6.0)), start=1):
        disc = (y - place[0]) ** 2 + (x - place[1]) ** 2 <= (mm / 2 / 0.75) ** 2
        np.testing.assert_array_equal(truth == number, disc)


def test_the_widest_nodule_of_a_slice_is_number_one(scan: Volume) -> None:
    truth, diameter_mm = judged(scan, diameters_mm=(6.0, 9.0)).truth(1)
    assert (truth[FIRST], truth[SECOND], diameter_mm) == (2, 1, 9.0)


def test_slices_beside_a_small_nodule_do_not_judge(scan: Volume) -> None:
    assert judged(scan, diameters_mm=(4.0, 3.0)).z.tolist() == [3]


def test_nodule_free_slices_have_lungs(scan: Volume) -> None:
    """Of 0, 1, 6, 7, 8, which no nodule reaches, the first has no lungs."""
    slices = judged(scan, nodule_free=5)
    assert slices.z.tolist() == [1, 2, 3, 4, 6, 7, 8]
    truth, diameter_mm = slices.truth(0)
    assert not truth.any()
    assert np.isnan(diameter_mm)
    assert judged(scan, nodule_free=1).z.tolist() == [2, 3, 4, 6]


def test_defects_change_images_and_nothing_that_judges(scan: Volume) -> None:
    right, wrong = judged(scan, RIGHT, 3), judged(scan, PUBLISHED, 3)
    for name in ("z", "hu", "nodules", "lungs", "diameters_mm", "pixel_yx_mm"):
        np.testing.assert_array_equal(getattr(right, name), getattr(wrong, name))
    assert np.abs(right.images - wrong.images).max() > 0.1


def test_answers_come_back_to_the_nodule(scan: Volume) -> None:
    prepared = prepare(scan, RIGHT)
    slices = judged(scan)
    truth, _ = slices.truth(1)
    answer = prepared.node_mask(3, truth > 0)
    restored = slices.restored(1, answer)
    assert restored.shape == truth.shape
    overlap = np.count_nonzero((restored >= 0.5) & (truth > 0))
    assert 2 * overlap / (np.count_nonzero(restored >= 0.5) + np.count_nonzero(truth)) > 0.8


def test_a_dropped_slice_is_judged_as_unanswered() -> None:
    """The nodule's slices have no lungs that the steps could find: published code leaves them out."""
    scan = chest(*(chest_slice(scale=0.0, seed=seed) for seed in range(5)))
    for params, seen in (
        (RIGHT, True),
        (replace(RIGHT, defects=TutorialDefects(slices_without_lungs_dropped=True)), False),
    ):
        slices = judged_slices(prepare(scan, params), [world(2, FIRST)], [9.0], 3)
        assert slices.z.tolist() == [1, 2, 3]
        assert slices.seen.tolist() == [seen] * 3
        assert slices.restored(0, np.ones((64, 64), np.float32)).any() == seen


def test_a_scan_without_nodules_or_anything_to_judge(scan: Volume) -> None:
    prepared = prepare(scan, RIGHT)
    free = judged_slices(prepared, [], [], 2)
    assert free.z.tolist() == [2, 6]
    assert not free.nodules.any()
    nothing = judged_slices(prepared, [], [], 0)
    assert nothing.images.shape == (0, 64, 64)
    assert nothing.lungs.shape == nothing.hu.shape == (0, 256, 256)


def test_bad_annotations_are_refused(scan: Volume) -> None:
    prepared = prepare(scan, RIGHT)
    with pytest.raises(ValueError, match="a diameter for each"):
        judged_slices(prepared, [world(3, FIRST)], [], 0)
    with pytest.raises(ValueError, match="finite"):
        judged_slices(prepared, [(np.nan, 0.0, 0.0)], [5.0], 0)


def some_slices(count: int) -> JudgedSlices:
    random = np.random.default_rng(0)
    return JudgedSlices(
        z=np.arange(count),
        images=random.random((count, 8, 8), dtype=np.float32),
        seen=np.ones(count, dtype=bool),
        boxes=np.tile([0, 1, 8, 9], (count, 1)),
        hu=random.integers(-1000, 400, (count, 10, 12)).astype(np.int16),
        nodules=random.integers(0, 3, (count, 10, 12)).astype(np.uint16),
        lungs=random.random((count, 10, 12)) > 0.5,
        diameters_mm=np.array([5.0, 7.0]),
        pixel_yx_mm=np.array([0.7, 0.7]),
    )


@pytest.mark.parametrize("count", [0, 3])
def test_what_is_saved_comes_back(tmp_path: Path, count: int) -> None:
    slices = some_slices(count)
    judged_store.save(slices, tmp_path / "1.2.3.npz")
    back = judged_store.load(tmp_path / "1.2.3.npz")
    for field in fields(JudgedSlices):
        before, after = getattr(slices, field.name), getattr(back, field.name)
        assert before.dtype == after.dtype
        np.testing.assert_array_equal(before, after)
    assert [path.name for path in tmp_path.iterdir()] == ["1.2.3.npz"]


def test_damaged_files_are_named(tmp_path: Path) -> None:
    file = tmp_path / "1.2.3.npz"
    with pytest.raises(ScanError, match=r"1\.2\.3\.npz: no readable slices"):
        judged_store.load(file)
    judged_store.save(some_slices(2), file)
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ScanError, match="run its stage again"):
        judged_store.load(file)
    np.savez(file, other=np.zeros(3))
    with pytest.raises(ScanError, match="no readable slices"):
        judged_store.load(file)
