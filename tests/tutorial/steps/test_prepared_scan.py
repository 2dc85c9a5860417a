"""Whole scans and single slices through all steps of the tutorial, hostile input included."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from nodules import params
from nodules.imaging.geometry.volume import Volume
from nodules.tutorial.steps.defects import TutorialDefects
from nodules.tutorial.steps.grey_values import standardise
from nodules.tutorial.steps.lung_normalisation import GreyScale, pooled, scale_of
from nodules.tutorial.steps.lung_steps import find_lung_steps
from nodules.tutorial.steps.nine_features import NINE_FEATURES, nine_features
from nodules.tutorial.steps.node_mask import node_mask
from nodules.tutorial.steps.nodule_slices import NoduleSlice, nodule_slices
from nodules.tutorial.steps.prepared_scan import find_lungs, prepare
from nodules.tutorial.steps.roi_box import RoiBox, lung_square, square_at
from nodules.tutorial.steps.settings import TutorialParams
from support.tutorial_slices import chest, chest_slice, true_lungs, tutorial_params

RIGHT = tutorial_params()
AS_PUBLISHED = replace(RIGHT, defects=TutorialDefects.as_published())


class TestSlice:
    @pytest.mark.parametrize("settings", [RIGHT, AS_PUBLISHED])
    @pytest.mark.parametrize("value", [-1000, 0, 40])
    def test_a_slice_of_one_value_has_no_lungs(self, settings: TutorialParams, value: int) -> None:
        steps = find_lung_steps(np.full((64, 64), value, np.int16), settings)
        assert not steps.lungs_yx.any()
        assert not steps.standardised_yx.any()
        assert np.isnan(steps.threshold)

    @pytest.mark.parametrize(
        "plane",
        [np.zeros((3, 64, 64)), np.zeros((64, 15)), np.zeros(64), np.full((64, 64), np.nan), np.full((64, 64), np.inf)],
    )
    def test_what_is_no_slice_is_refused(self, plane: np.ndarray) -> None:
        with pytest.raises(ValueError, match=r"slice must have .* got"):
            find_lung_steps(plane, RIGHT)

    def test_the_steps_follow_each_other(self) -> None:
        steps = find_lung_steps(chest_slice(), RIGHT)
        assert (steps.standardised_yx.mean(), steps.standardised_yx.std()) == (pytest.approx(0), pytest.approx(1))
        assert steps.centres[0] < steps.threshold < steps.centres[1]
        assert steps.threshold == sum(steps.centres) / 2
        assert not (steps.eroded_yx & ~steps.thresholded_yx).any()
        assert not (steps.eroded_yx & ~steps.dilated_yx).any()
        assert len(steps.kept) == 2
        assert not (np.isin(steps.regions_yx, steps.kept) & ~steps.lungs_yx).any()

    def test_the_input_is_left_alone(self) -> None:
        plane = chest_slice()
        before = plane.copy()
        find_lung_steps(plane, AS_PUBLISHED)
        np.testing.assert_array_equal(plane, before)

    def test_the_cuts_grow_with_the_slice(self) -> None:
        """The same slice with pixels half as wide: the lungs are cut by the same share of it."""
        fine = np.kron(chest_slice(noise_hu=0), np.ones((2, 2), np.int16))
        assert fine.shape == (512, 512)
        fine[0, 0], fine[0, 1] = -1500, 1500
        lungs = find_lung_steps(fine, RIGHT).lungs_yx
        assert lungs[np.kron(true_lungs(), np.ones((2, 2), bool))].all()

    def test_standardising_by_hand(self) -> None:
        np.testing.assert_allclose(standardise(np.array([[1.0, 3.0], [1.0, 3.0]])), [[-1, 1], [-1, 1]])


class TestBox:
    def test_a_square_in_a_slice_too_narrow_for_it_reaches_beyond(self) -> None:
        lungs = np.zeros((20, 10), dtype=bool)
        lungs[2:16, 3:7] = True
        box = lung_square(lungs)
        assert box == RoiBox(2, -2, 16, 12)
        cut = box.crop(lungs.astype(float), outside=-1.2)
        assert cut.shape == (14, 14)
        assert (cut[:, :2] == -1.2).all()
        assert (cut[:, 12:] == -1.2).all()
        assert cut[:, 5:9].all()

    @pytest.mark.parametrize("pixels", [0, 1, 4])
    def test_no_square_around_too_little(self, pixels: int) -> None:
        lungs = np.zeros((20, 20), dtype=bool)
        lungs[5 : 5 + pixels, 5] = True
        assert lung_square(lungs) is None
        assert lung_square(lungs, down_right=True) is None

    @pytest.mark.parametrize("box", [RoiBox(2, -2, 16, 12), RoiBox(0, 0, 20, 10), RoiBox(-3, 5, 25, 33)])
    def test_what_was_cut_out_can_be_put_back(self, box: RoiBox) -> None:
        plane = np.random.default_rng(0).random((20, 10)).astype(np.float32)
        restored = box.restore(box.crop(plane, outside=0.0), (20, 10))
        seen = np.zeros_like(plane)
        seen[max(box.top, 0) : box.bottom, max(box.left, 0) : box.right] = 1
        np.testing.assert_allclose(restored, plane * seen, atol=1e-6)

    def test_side_of_a_pixel(self) -> None:
        assert RoiBox(0, 0, 400, 400).pixel_mm((0.7, 0.7), 512) == pytest.approx(400 * 0.7 / 512)
        assert RoiBox(0, 0, 332, 400).pixel_mm((0.7, 0.7), 512) == pytest.approx(np.sqrt(332 * 400) * 0.7 / 512)

    def test_a_close_up_is_centred(self) -> None:
        assert square_at((10.0, 20.0), 5) == RoiBox(8, 18, 13, 23)
        assert square_at((10.5, 0.5), 4) == RoiBox(9, -1, 13, 3)


def test_scales_of_parts_pool_to_the_scale_of_the_whole() -> None:
    random = np.random.default_rng(0)
    parts = [random.normal(mean, 5, size) for mean, size in ((1000.0, 10), (-800.0, 1000), (30.0, 1))]
    whole, found = np.concatenate(parts), pooled([scale_of(part) for part in parts])
    assert found == GreyScale(pytest.approx(whole.mean()), pytest.approx(whole.std()), 1011)


class TestScan:
    @pytest.mark.parametrize("settings", [RIGHT, AS_PUBLISHED])
    def test_a_scan_without_lungs_is_all_background(self, settings: TutorialParams) -> None:
        prepared = prepare(Volume(np.full((2, 64, 64), 40, np.int16), (2.5, 0.7, 0.7)), settings)
        assert prepared.found == (False, False)
        assert np.ptp(prepared.image(0)) == 0
        assert np.isfinite(prepared.image(0)).all()
        assert prepared.restore(1, np.ones((64, 64), np.float32)).shape == (64, 64)
        assert prepared.pixel_mm(0) == pytest.approx(0.7)

    def test_a_slice_without_lungs_is_background(self) -> None:
        prepared = prepare(chest(chest_slice(scale=0), chest_slice()), RIGHT)
        assert prepared.found == (False, True)
        np.testing.assert_allclose(prepared.image(0), -1.2, atol=1e-6)
        assert prepared.image(1).max() > 0

    @pytest.mark.parametrize(("slices", "widened"), [(20, True), (21, False)])
    def test_what_one_slice_in_more_than_twenty_shows_does_not_widen_the_square(
        self, slices: int, widened: bool
    ) -> None:
        first, second = chest_slice(scale=0.6), chest_slice()
        prepared = prepare(chest(*[first] * (slices - 1), second), RIGHT)
        assert all(prepared.found)
        assert prepared.boxes[0] == lung_square(prepared.lungs_zyx[-1 if widened else 0])
        assert prepared.boxes[0].shape_yx != lung_square(prepared.lungs_zyx[0 if widened else -1]).shape_yx

    def test_bone_and_metal_do_not_change_the_scale(self) -> None:
        plane, metal = chest_slice(), chest_slice()
        plane[118:122, 80:84], metal[118:122, 80:84] = 400, 3071
        first, second = (prepare(chest(other), RIGHT) for other in (plane, metal))
        np.testing.assert_array_equal(first.lungs_zyx, second.lungs_zyx)
        np.testing.assert_allclose(first.image(0), second.image(0))

    def test_lungs_that_were_found_before_are_taken_as_they_are(self) -> None:
        scan = chest(chest_slice(), chest_slice(seed=1))
        lungs = find_lungs(scan, RIGHT)
        lungs[0] = False

        prepared = prepare(scan, RIGHT, lungs)

        assert prepared.found == (False, True)
        np.testing.assert_array_equal(prepared.image(1), prepare(chest(chest_slice(seed=1)), RIGHT).image(0))
        with pytest.raises(ValueError, match="of the scan's shape"):
            prepare(scan, RIGHT, lungs[1:])
        with pytest.raises(ValueError, match="must be bool"):
            prepare(scan, RIGHT, lungs.astype(np.uint8))

    def test_image_and_mask_show_the_nodule_at_the_same_place_and_back_again(self) -> None:
        scan = chest(*(chest_slice(seed=seed) for seed in range(3)))
        centre = tuple(scan.voxel_to_world([1, 110, 85]))
        mask = node_mask(scan, NoduleSlice(1, (0,)), [centre], [12.0], TutorialDefects())
        voxels = scan.voxels_zyx.copy()
        voxels[1][mask] = 20
        settings = tutorial_params(size_px=256)
        prepared = prepare(scan.with_voxels(voxels), settings)
        image, target = prepared.image(1), prepared.node_mask(1, mask)
        assert image.shape == target.shape == (256, 256)
        assert image[target > 0].mean() > image[target == 0].max() - 1
        back = prepared.restore(1, target) > 0.5
        assert 2 * (back & mask).sum() / (back.sum() + mask.sum()) > 0.95
        features = nine_features(target[None], prepared.pixel_mm(1), settings)
        assert features["avgArea"] == pytest.approx(mask.sum() * 0.75**2, rel=0.03)

    def test_all_steps_of_a_slice_for_pictures(self) -> None:
        scan = chest(*(chest_slice(seed=seed) for seed in range(3)))
        centre = tuple(scan.voxel_to_world([1, 110, 85]))
        (first, middle, last) = nodule_slices(scan, [centre], [12.0], RIGHT)
        assert (first.z, middle.z, last.z) == (0, 1, 2)
        mask = node_mask(scan, middle, [centre], [12.0], RIGHT.defects)
        prepared = prepare(scan, RIGHT)
        np.testing.assert_array_equal(find_lung_steps(scan.voxels_zyx[1], RIGHT).lungs_yx, prepared.lungs_zyx[1])
        assert prepared.node_mask(1, mask).any()

    @pytest.mark.parametrize("name", [field.name for field in fields(TutorialDefects)])
    def test_each_defect_runs_alone(self, name: str) -> None:
        settings = tutorial_params(**{name: True})
        prepared = prepare(chest(chest_slice(scale=0), chest_slice()), settings)
        images = np.stack([prepared.image(z) for z in prepared.kept])
        assert np.isfinite(images).all()
        assert images.shape[1:] == (64, 64)


class TestNoduleSlices:
    SCAN = Volume(np.zeros((8, 64, 64), np.int16), (2.5, 0.7, 0.7))

    def test_largest_or_all(self) -> None:
        centres = [self.SCAN.voxel_to_world([z, 30, 30]) for z in (1, 6, 5)]
        assert [s.z for s in nodule_slices(self.SCAN, centres, [5.0, 9.0, 6.0], RIGHT)] == [5, 6, 7]
        every = nodule_slices(self.SCAN, centres, [5.0, 9.0, 6.0], tutorial_params(nodules="all"))
        assert [s.z for s in every] == [0, 1, 2, 4, 5, 6, 7]
        assert all(s.nodules == (0, 1, 2) for s in every)
        assert [s.z for s in nodule_slices(self.SCAN, centres, [9.0, 5.0, 9.0], RIGHT)] == [4, 5, 6]

    def test_no_nodule_or_one_outside_the_scan_is_no_slice(self) -> None:
        assert nodule_slices(self.SCAN, [], [], RIGHT) == []
        assert nodule_slices(self.SCAN, [self.SCAN.voxel_to_world([20, 30, 30])], [5.0], RIGHT) == []

    def test_the_slice_beside_a_small_nodule_has_no_mask(self) -> None:
        centre = self.SCAN.voxel_to_world([4, 30, 30])
        areas = [
            int(node_mask(self.SCAN, chosen, [centre], [4.0], TutorialDefects()).sum())
            for chosen in nodule_slices(self.SCAN, [centre], [4.0], RIGHT)
        ]
        assert areas[0] == areas[2] == 0 < areas[1]

    @pytest.mark.parametrize(
        ("centres", "diameters"),
        [([(0, 0, 0)], []), ([(0, 0, float("nan"))], [5.0]), ([(0, 0, 0)], [float("inf")])],
    )
    def test_broken_annotations_are_refused(self, centres: list, diameters: list) -> None:
        with pytest.raises(ValueError, match="got"):
            nodule_slices(self.SCAN, centres, diameters, RIGHT)


class TestNineFeatures:
    @pytest.mark.parametrize("settings", [RIGHT, AS_PUBLISHED])
    @pytest.mark.parametrize("slices", [0, 3])
    def test_no_region_is_nine_zeros(self, settings: TutorialParams, slices: int) -> None:
        features = nine_features(np.zeros((slices, 32, 32)), 0.7, settings)
        assert list(features.index) == list(NINE_FEATURES)
        assert (features == 0).all()

    def test_names_and_order_of_the_page(self) -> None:
        page = "avgArea maxArea avgEcc avgEquivlentDiameter stdEquivlentDiameter weightedX weightedY numNodes"
        assert (*page.split(), "numNodesperSlice") == NINE_FEATURES

    def test_a_region_above_a_tenth_of_the_slice_is_background(self) -> None:
        answer = np.zeros((1, 40, 40))
        answer[0, :10, :16], answer[0, 20:22, 20:22] = 1, 1  # 160 of 1,600
        assert nine_features(answer, 1.0, RIGHT)["maxArea"] == 160
        answer[0, 10, 0] = 1
        assert nine_features(answer, 1.0, RIGHT)["maxArea"] == 4

    @pytest.mark.parametrize(
        ("answer", "pixel_mm"),
        [
            (np.zeros((2, 1, 8, 8)), 1.0),
            (np.zeros((8, 8)), 1.0),
            (np.full((1, 8, 8), np.nan), 1.0),
            (np.zeros((1, 8, 8)), 0.0),
            (np.zeros((1, 8, 8)), np.nan),
        ],
    )
    def test_hostile_input_is_refused(self, answer: np.ndarray, pixel_mm: float) -> None:
        with pytest.raises(ValueError, match="got"):
            nine_features(answer, pixel_mm, RIGHT)


class TestSettings:
    def test_read_from_a_section_with_switches_left_out_or_named(self, tmp_path) -> None:
        file = tmp_path / "params.yaml"
        lines = ["nodules: all", "size_px: 512", "window_hu: [-1000.0, 400.0]", "max_lung_hu: -400.0"]
        lines += ["min_probability: 0.5", "defects:", *(f"  {field.name}: true" for field in fields(TutorialDefects))]
        file.write_text("\n".join(["tutorial:", *(f"  {line}" for line in lines)]))
        assert params.load("tutorial", TutorialParams, file).defects == TutorialDefects.as_published()
        assert RIGHT.defects == TutorialDefects()

    def test_a_window_upside_down_is_refused(self) -> None:
        with pytest.raises(ValueError, match="ascending"):
            replace(RIGHT, window_hu=(400.0, -1000.0))
