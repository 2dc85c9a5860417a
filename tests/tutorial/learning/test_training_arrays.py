"""The slices that the tutorial's network learns from, and how they are divided."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nodules.imaging.geometry.volume import Volume
from nodules.scans.result import ScanError
from nodules.tutorial.learning.settings import TutorialUnetDefects, TutorialUnetParams
from nodules.tutorial.learning.training_arrays import ScanArrays, scan_arrays, split_slices
from nodules.tutorial.steps.prepared_scan import prepare
from support.tutorial_slices import chest, chest_slice, tutorial_params

STEPS = tutorial_params(size_px=32)
UNET = TutorialUnetParams(
    filters=2,
    depth=1,
    normalisation="none",
    learning_rate=0.01,
    batch_size=2,
    epochs=1,
    nodule_free_slices=2,
    test_share=0.2,
)
Z_MM, NODULE_Z, LUNGLESS_Z = 2.5, 4, (0, 9)


@pytest.fixture(scope="module")
def scan() -> Volume:
    """Ten slices, the first and the last without lungs."""
    return chest(*(chest_slice(scale=0.0 if z in LUNGLESS_Z else 1.0, seed=z) for z in range(10)))


def arrays(scan: Volume, diameter_mm: float = 12.0, unet: TutorialUnetParams = UNET, **changes) -> ScanArrays:
    uid, seed = changes.pop("uid", "1.2.3"), changes.pop("seed", 5)
    return scan_arrays(uid, prepare(scan, replace(STEPS, **changes)), [nodule(scan)], [diameter_mm], unet, seed)


def nodule(scan: Volume, z: int = NODULE_Z) -> tuple[float, ...]:
    return tuple(scan.voxel_to_world([z, 120, 83]))


def test_slices_of_the_nodule_come_first_then_some_without_any(scan) -> None:
    """12 mm about slice 4 reach 6 mm: slices 2 to 6 show it, 3 to 5 are chosen, 0 and 9 have no lungs."""
    made = arrays(scan)
    assert made.seriesuid == "1.2.3"
    assert made.z[:3].tolist() == [3, 4, 5]
    assert set(made.z[3:].tolist()) < {1, 7, 8}
    assert len(set(made.z.tolist())) == 5
    assert made.positive.tolist() == [True, True, True, False, False]
    assert made.masks.any(axis=(1, 2)).tolist() == [True, True, True, False, False]
    assert (made.images.dtype, made.masks.dtype, made.images.shape) == (np.float32, np.float32, (5, 32, 32))


def test_images_and_masks_are_those_of_the_prepared_scan(scan) -> None:
    made, prepared = arrays(scan), prepare(scan, STEPS)
    disc = np.zeros(scan.shape_zyx[1:], dtype=bool)
    y, x = np.ogrid[: disc.shape[0], : disc.shape[1]]
    disc[(y - 120) ** 2 + (x - 83) ** 2 <= (6 / 0.75) ** 2] = True
    np.testing.assert_array_equal(made.masks[1], prepared.node_mask(NODULE_Z, disc))
    for z, image in zip(made.z, made.images, strict=True):
        np.testing.assert_array_equal(image, prepared.image(int(z)))


def test_a_slice_beside_its_nodule_is_positive_with_an_empty_mask(scan) -> None:
    made = arrays(scan, diameter_mm=4.0)
    assert made.positive.tolist() == [True, True, True, False, False]
    assert made.masks.any(axis=(1, 2)).tolist() == [False, True, False, False, False]


def test_positive_slices_only(scan) -> None:
    wrong, right = (
        arrays(scan, unet=replace(UNET, defects=TutorialUnetDefects(positive_slices_only=switch)))
        for switch in (True, False)
    )
    assert ((~wrong.positive).sum(), (~right.positive).sum()) == (0, 2)
    assert wrong.z.tolist() == [3, 4, 5]


def test_no_more_nodule_free_slices_than_there_are(scan) -> None:
    made = arrays(scan, unet=replace(UNET, nodule_free_slices=50))
    assert sorted(made.z[3:].tolist()) == [1, 7, 8]


def test_which_are_drawn_depends_on_seed_and_scan_alone(scan) -> None:
    drawn = {
        (uid, seed): tuple(arrays(scan, uid=uid, seed=seed, diameter_mm=4.0).z[3:])
        for uid in ("1.2.3", "1.2.4", "1.2.5")
        for seed in (5, 6)
    }
    assert len(set(drawn.values())) > 1
    assert tuple(arrays(scan, diameter_mm=4.0).z[3:]) == drawn["1.2.3", 5]


def test_a_scan_without_nodules_gives_nodule_free_slices_or_nothing(scan) -> None:
    made = scan_arrays("1", prepare(scan, STEPS), [], [], UNET, 5)
    assert made.positive.tolist() == [False, False]
    assert set(made.z.tolist()) <= set(range(1, 9))
    only = replace(UNET, defects=TutorialUnetDefects(positive_slices_only=True))
    assert scan_arrays("1", prepare(scan, STEPS), [], [], only, 5).images.shape == (0, 32, 32)


def test_slices_without_lungs_are_dropped_with_that_defect(scan) -> None:
    """The nodule is drawn about slice 1: its neighbour 0 shows no lungs."""
    for dropped, wanted in ((True, [1, 2]), (False, [0, 1, 2])):
        steps = replace(STEPS, defects=replace(STEPS.defects, slices_without_lungs_dropped=dropped))
        made = scan_arrays("1", prepare(scan, steps), [nodule(scan, 1)], [12.0], UNET, 5)
        assert made.z[made.positive].tolist() == wanted


def test_read_back_they_are_the_same(scan, tmp_path) -> None:
    made = arrays(scan)
    made.save(tmp_path / "one.npz")
    read = ScanArrays.load(tmp_path / "one.npz")
    assert read.seriesuid == made.seriesuid
    for name in ("z", "images", "masks", "positive"):
        np.testing.assert_array_equal(getattr(read, name), getattr(made, name))
        assert getattr(read, name).dtype == getattr(made, name).dtype
    assert [file.name for file in tmp_path.iterdir()] == ["one.npz"]


@pytest.mark.parametrize("damage", ["cut", "other", "missing"])
def test_damaged_files_are_named(scan, tmp_path, damage) -> None:
    file = tmp_path / "one.npz"
    if damage == "cut":
        arrays(scan).save(file)
        file.write_bytes(file.read_bytes()[:-200])
    elif damage == "other":
        np.savez(file, seriesuid="1.2.3")
    with pytest.raises(ScanError, match=r"one\.npz: no readable training slices of the tutorial"):
        ScanArrays.load(file)


def test_arrays_of_different_lengths_are_refused() -> None:
    made = empty_slices("1", 3)
    with pytest.raises(ValueError, match=r"1: masks must have shape \(3, 4, 4\), got \(2, 4, 4\)"):
        replace(made, masks=made.masks[:2])


def test_by_patient_all_slices_of_a_scan_stay_together() -> None:
    scans = [empty_slices("a", 3), empty_slices("b", 2), empty_slices("c", 0), empty_slices("d", 1)]
    divided = split_slices(scans, {"a": "train", "b": "test", "c": "test", "d": "train", "e": "validation"}, UNET, 5)
    assert {name: rows.tolist() for name, rows in divided.items()} == {
        "train": [0, 1, 2, 5],
        "validation": [],
        "test": [3, 4],
    }


def test_split_by_slice() -> None:
    """Ten scans of three slices: dealt by slice, most tested scans have been trained on; by patient none."""
    scans = [empty_slices(str(number), 3) for number in range(10)]
    part_of = {str(number): "test" if number < 2 else "validation" if number < 4 else "train" for number in range(10)}
    dealt = replace(UNET, defects=TutorialUnetDefects(split_by_slice=True))
    wrong, right = (split_slices(scans, part_of, params, seed=5) for params in (dealt, UNET))
    scan_of = np.repeat(np.arange(10), 3)
    leaked = [set(scan_of[rows["test"]]) & set(scan_of[rows["train"]]) for rows in (wrong, right)]
    assert (len(leaked[0]), len(leaked[1])) == (len(set(scan_of[wrong["test"]])), 0)
    assert len(leaked[0]) >= 4
    for rows in (wrong, right):
        assert [len(rows[name]) for name in ("train", "validation", "test")] == [18, 6, 6]
        assert sorted(np.concatenate(list(rows.values()))) == list(range(30))
    again, other = (split_slices(scans, {}, dealt, seed) for seed in (5, 6))
    np.testing.assert_array_equal(again["test"], wrong["test"])
    assert again["test"].tolist() != other["test"].tolist()


def test_too_few_slices_cannot_be_dealt() -> None:
    dealt = replace(UNET, defects=TutorialUnetDefects(split_by_slice=True))
    with pytest.raises(ValueError, match="4 slices are too few"):
        split_slices([empty_slices("a", 4)], {}, dealt, 5)


@pytest.mark.parametrize("part_of", [{}, {"a": "training"}])
def test_a_scan_without_a_part_is_named(part_of) -> None:
    with pytest.raises(ValueError, match="one of the parts train, validation, test, got none for \\['a'\\]"):
        split_slices([empty_slices("a", 2)], part_of, UNET, 5)


def empty_slices(uid: str, count: int) -> ScanArrays:
    plane = np.zeros((count, 4, 4), np.float32)
    return ScanArrays(uid, np.arange(count), plane, plane, np.ones(count, bool))
