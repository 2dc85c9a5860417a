"""Lungs in chests drawn to mislead: airways, gas, clothes, couches, junctions, and every cut of a scan."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from nodules.imaging.geometry.volume import Volume
from nodules.imaging.lungs.segment import LungSegmentation, find_lungs
from support import phantoms
from support.default_params import LUNG_MASK

Mask = NDArray[np.bool_]
Places = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
FINE = ((100, 100, 120), (2.0, 2.7, 2.4))
LONG = ((150, 100, 120), (4.0, 2.7, 2.4))  # 600 mm from neck to pelvis


def dice(first: Mask, second: Mask) -> float:
    return 2 * int((first & second).sum()) / int(first.sum() + second.sum())


def drawn(chest: Volume, *shapes: tuple[Callable[[Places], Mask], float]) -> tuple[Volume, list[Mask]]:
    """Paint shapes, given in mm from the middle of the grid, over a chest."""
    places = phantoms.places_mm(chest.shape_zyx, chest.spacing_zyx_mm)
    voxels, masks = chest.voxels_zyx.copy(), []
    for shape, hu in shapes:
        mask = np.broadcast_to(shape(places), voxels.shape)
        voxels[mask] = hu
        masks.append(mask)
    return chest.with_voxels(voxels), masks


def tube(start_zyx_mm: tuple[float, ...], end_zyx_mm: tuple[float, ...], radius_mm: float) -> Callable[[Places], Mask]:
    start, axis = np.array(start_zyx_mm), np.array(end_zyx_mm) - np.array(start_zyx_mm)

    def inside(places: Places) -> Mask:
        offset = [place - zero for place, zero in zip(places, start, strict=True)]
        along = np.clip(sum(o * a for o, a in zip(offset, axis, strict=True)) / (axis @ axis), 0, 1)
        return np.asarray(sum((o - along * a) ** 2 for o, a in zip(offset, axis, strict=True)) <= radius_mm**2)

    return inside


def ball(centre_zyx_mm: tuple[float, ...], radii_zyx_mm: tuple[float, ...]) -> Callable[[Places], Mask]:
    def inside(places: Places) -> Mask:
        shape = zip(places, centre_zyx_mm, radii_zyx_mm, strict=True)
        return np.asarray(sum(((p - c) / r) ** 2 for p, c, r in shape) <= 1)

    return inside


def noisy(chest: Volume, sd_hu: float) -> Volume:
    noise = np.random.default_rng(7).normal(0, sd_hu, chest.shape_zyx)
    return chest.with_voxels(np.clip(chest.voxels_zyx + noise, -1000, 3071).astype(np.int16))


def check_sides(found: LungSegmentation, truth: NDArray[np.uint8], least: float = 0.95) -> None:
    for side in (1, 2):
        assert dice(found.labels_zyx == side, truth == side) >= least, side


class TestAirways:
    @pytest.mark.parametrize("sd_hu", [0.0, 25.0])
    def test_trachea_and_main_bronchi_are_out(self, sd_hu: float) -> None:
        chest, truth = phantoms.simple_chest(*FINE)
        carina = (30.0, -30.0, 2.0)
        ends = [(5.0, -30.0, -30.0), (0.0, -30.0, 30.0)]
        shapes = [(tube(carina, end, 8.5), phantoms.TISSUE_HU) for end in ends]
        shapes += [(tube(carina, end, 6.5), phantoms.AIR_HU) for end in ends]
        volume, masks = drawn(chest, *shapes, (tube((100, -30, 2), carina, 9.0), phantoms.AIR_HU))
        found = find_lungs(noisy(volume, sd_hu), LUNG_MASK)
        x = phantoms.places_mm(*FINE)[2]
        for bronchus in masks[2:4]:
            mediastinal = bronchus & (truth == 0) & (np.abs(x) < 10)
            assert mediastinal.sum() > 150
            assert (found.labels_zyx[mediastinal] > 0).mean() <= 0.02
        assert not found.labels_zyx[masks[4]].any()
        assert found.quality.verdict == "ok"
        check_sides(found, truth)

    @pytest.mark.parametrize("radius_mm", [3.0, 5.0, 8.0])
    def test_air_in_the_oesophagus_is_out(self, radius_mm: float) -> None:
        chest, truth = phantoms.simple_chest(*FINE)
        volume, (gas,) = drawn(chest, (tube((-100, 15, 4), (100, 15, 4), radius_mm), phantoms.AIR_HU))
        found = find_lungs(noisy(volume, 20.0), LUNG_MASK)
        assert not found.labels_zyx[gas & (truth == 0)].any()
        check_sides(found, truth)

    def test_a_tongue_of_dark_lung_that_one_slice_walls_off_is_no_airway(self) -> None:
        chest, _ = phantoms.simple_chest(*FINE)
        volume, (tongue, wall) = drawn(
            chest,
            (lambda p: (abs(p[0]) < 20) & (abs(p[1] + 75) < 6) & (p[2] > -45) & (p[2] < 2), -935),
            (lambda p: (abs(p[0] - 1) < 0.5) & (abs(p[1] + 75) < 8) & (abs(p[2] + 23) < 3), phantoms.TISSUE_HU),
        )
        walled_off = tongue & ~wall & wall.any(axis=(1, 2), keepdims=True)
        walled_off &= phantoms.places_mm(*FINE)[2] > -20
        assert walled_off.sum() > 30
        assert (find_lungs(volume, LUNG_MASK).labels_zyx[walled_off] == 1).mean() >= 0.9


class TestGasOfStomachAndBowel:
    @pytest.mark.parametrize("sd_hu", [0.0, 25.0])
    def test_from_neck_to_pelvis(self, sd_hu: float) -> None:
        chest, truth = phantoms.simple_chest(*LONG)
        volume, gas = drawn(
            chest,
            (ball((-105, -60, 45), (22, 28, 38)), -990),  # stomach, under the left lung
            (tube((-130, -55, -95), (-130, -65, 90), 20.0), -985),  # transverse colon
            (tube((-250, -20, 95), (-140, -20, 95), 16.0), -985),  # descending colon
            (tube((-250, -20, -95), (-140, -20, -95), 24.0), -985),  # ascending colon, caecum
            (tube((-290, 20, 0), (-250, 30, 5), 14.0), -980),  # rectum
            (tube((90, -30, 2), (300, -40, 2), 9.0), -1000),  # trachea up to the pharynx
        )
        found = find_lungs(noisy(volume, sd_hu), LUNG_MASK)
        assert not any(found.labels_zyx[mask & (truth == 0)].any() for mask in gas)
        assert found.quality.verdict == "ok"
        assert found.quality.whole
        check_sides(found, truth)

    @pytest.mark.parametrize("sd_hu", [0.0, 25.0])
    def test_no_lungs_in_an_abdomen(self, sd_hu: float) -> None:
        chest, _ = phantoms.simple_chest(*LONG)
        volume, _ = drawn(
            chest,
            (tube((-250, -20, 95), (-140, -20, 95), 16.0), -990),
            (tube((-250, -20, -95), (-140, -20, -95), 24.0), -990),
        )
        below = noisy(volume.crop((slice(0, 45), slice(0, 100), slice(0, 120))), sd_hu)
        found = find_lungs(below, LUNG_MASK)
        assert found.quality.verdict == "no_lungs"
        assert not found.labels_zyx.any()

    def test_emphysema_is_not_gas(self) -> None:
        chest, truth = phantoms.simple_chest(*FINE)
        voxels = np.where((truth == 2) & (chest.voxels_zyx < -800), -962, chest.voxels_zyx).astype(np.int16)
        check_sides(find_lungs(noisy(chest.with_voxels(voxels), 15.0), LUNG_MASK), truth)


class TestAroundTheBody:
    def test_clothes_blanket_and_the_air_under_them(self) -> None:
        chest, truth = phantoms.simple_chest(*FINE)
        volume, (blanket, pocket, fold, _) = drawn(
            chest,
            (lambda p: np.broadcast_to((p[1] > -124) & (p[1] < -118) & (abs(p[2]) < 130), chest.shape_zyx), 20),
            (lambda p: (p[1] > -118) & (p[1] < -112) & (abs(p[2]) < 60) & (p[0] > -90), -1000),
            (ball((0, -121, 90), (60, 3, 25)), -940),  # down feathers
            (lambda p: (abs(abs(p[2]) - 62) < 3) & (p[1] > -118) & (p[1] < -95) & (p[0] > -90), 20),
        )
        found = find_lungs(volume, LUNG_MASK)
        assert not found.labels_zyx[blanket | pocket | fold].any()
        check_sides(found, truth)

    def test_arms_beside_the_chest(self) -> None:
        chest, truth = phantoms.simple_chest((50, 100, 160), (4.0, 2.7, 2.4))
        volume, arms = drawn(
            chest, *[(tube((-100, 0, side * 165), (100, 0, side * 165), 25.0), phantoms.TISSUE_HU) for side in (-1, 1)]
        )
        found = find_lungs(volume, LUNG_MASK)
        assert not any(found.labels_zyx[arm].any() for arm in arms)
        check_sides(found, truth)

    def test_foam_of_the_couch_is_out(self) -> None:
        chest, _ = phantoms.simple_chest(*FINE)
        y = phantoms.places_mm(*FINE)[1]
        found = find_lungs(noisy(chest, 30.0), LUNG_MASK)
        assert not found.labels_zyx[:, y[0, :, 0] >= phantoms.COUCH_Y_MM[0]].any()


class TestSides:
    @pytest.mark.parametrize("width_mm", [3.0, 6.0, 10.0])
    @pytest.mark.parametrize("height_mm", [10.0, 60.0])
    def test_lungs_that_touch_in_front(self, width_mm: float, height_mm: float) -> None:
        chest, truth = phantoms.simple_chest(*FINE)
        volume, _ = drawn(
            chest,
            (lambda p: (abs(p[2]) < 26) & (abs(p[1] + 55) < width_mm / 2) & (abs(p[0]) < height_mm / 2), -850),
        )
        found = find_lungs(volume, LUNG_MASK)
        check_sides(found, truth, 0.94)
        assert found.quality.verdict == "ok"

    def test_a_mirrored_chest_has_mirrored_lungs(self) -> None:
        chest, _ = phantoms.simple_chest()
        labels = find_lungs(chest, LUNG_MASK).labels_zyx
        mirrored = find_lungs(chest.with_voxels(chest.voxels_zyx[:, :, ::-1].copy()), LUNG_MASK).labels_zyx[:, :, ::-1]
        assert dice(labels == 1, mirrored == 2) >= 0.99
        assert dice(labels == 2, mirrored == 1) >= 0.99

    def test_recesses_beside_the_diaphragm_keep_their_sides(self) -> None:
        """At the base the right lung lies behind and the left one in front; the left recess is nearer to the right."""
        shape, spacing = (6, 100, 120), (2.0, 2.7, 2.4)
        chest, truth = phantoms.simple_chest(shape, spacing)
        base = chest.with_voxels(np.where(truth > 0, phantoms.TISSUE_HU, chest.voxels_zyx).astype(np.int16))
        volume, (behind_right, in_front_left, behind_left) = drawn(
            base,
            (ball((0, 45, -50), (99, 14, 36)), -850),
            (ball((0, -70, 70), (99, 12, 28)), -850),
            (ball((0, 45, 40), (99, 10, 25)), -850),
        )
        labels = find_lungs(volume, LUNG_MASK).labels_zyx
        assert (labels[behind_right] == 1).mean() >= 0.97
        assert (labels[in_front_left] == 2).mean() >= 0.97
        assert (labels[behind_left] == 2).mean() >= 0.97


class TestPartsOfAScan:
    @pytest.mark.parametrize(
        ("low_mm", "high_mm"),
        [(-100, 0), (0, 100), (-40, 40), (50, 78), (-78, -50), (-3, 3), (10, 12), (74, 100), (-100, -74)],
    )
    def test_any_cut_of_the_thorax(self, low_mm: float, high_mm: float) -> None:
        chest, truth = phantoms.simple_chest(*FINE)
        z = phantoms.places_mm(*FINE)[0][:, 0, 0]
        inside = np.flatnonzero((z >= low_mm) & (z <= high_mm))
        box = (slice(int(inside[0]), int(inside[-1]) + 1), slice(0, 100), slice(0, 120))
        found = find_lungs(chest.crop(box), LUNG_MASK)
        assert found.quality.verdict == "ok", found.quality
        assert not found.quality.whole
        check_sides(found, truth[box], 0.9 if abs(low_mm + high_mm) > 150 else 0.95)

    def test_litres_of_the_whole_chest(self) -> None:
        chest, _ = phantoms.simple_chest(*FINE)
        quality = find_lungs(chest, LUNG_MASK).quality
        assert quality.whole
        # Two ellipsoids of 4/3 pi 80 x 68 x 48 mm = 1.094 l each.
        assert (quality.right_l, quality.left_l) == pytest.approx((1.094, 1.094), abs=0.03)
        assert quality.symmetry >= 0.95

    def test_the_apex_up_to_its_last_slice(self) -> None:
        chest, truth = phantoms.simple_chest(*FINE)
        labels = find_lungs(chest, LUNG_MASK).labels_zyx
        for side in (1, 2):
            drawn_slices, found_slices = (np.flatnonzero((m == side).any(axis=(1, 2))) for m in (truth, labels))
            assert abs(drawn_slices[-1] - found_slices[-1]) <= 1
            assert abs(drawn_slices[0] - found_slices[0]) <= 1
