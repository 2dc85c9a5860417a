"""The lung mask: analytic chests, degenerate inputs, distances by brute force."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nodules.imaging.geometry.volume import Volume
from nodules.imaging.lungs.segment import dilate_mm, lung_measures, segment_lungs
from support import phantoms
from support.default_params import LUNG_MASK

GRIDS = [((40, 100, 120), (5.0, 2.7, 2.4)), ((60, 160, 150), (3.4, 1.7, 1.9)), ((130, 110, 115), (1.6, 2.5, 2.45))]


def dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return 2 * int((first & second).sum()) / int(first.sum() + second.sum())


class TestSegmentLungs:
    @pytest.mark.parametrize(("shape_zyx", "spacing_zyx_mm"), GRIDS)
    @pytest.mark.parametrize("noise_hu", [0.0, 60.0])
    def test_finds_each_lung(
        self, shape_zyx: tuple[int, int, int], spacing_zyx_mm: tuple[float, float, float], noise_hu: float
    ) -> None:
        chest, truth = phantoms.simple_chest(shape_zyx, spacing_zyx_mm, noise_hu=noise_hu)
        labels = segment_lungs(chest, LUNG_MASK)
        assert labels.dtype == np.uint8
        assert labels.shape == chest.shape_zyx
        for side in (1, 2):
            assert dice(labels == side, truth == side) >= 0.95

    def test_right_lung_has_the_smaller_x(self) -> None:
        chest, _ = phantoms.simple_chest()
        labels = segment_lungs(chest, LUNG_MASK)
        right_x, left_x = (np.nonzero(labels == side)[2].mean() for side in (1, 2))
        assert chest.voxel_to_world([0, 0, right_x])[0] < chest.voxel_to_world([0, 0, left_x])[0]

    def test_nodule_on_the_wall_and_vessels_are_lung(self) -> None:
        chest, _ = phantoms.simple_chest()
        lungs = segment_lungs(chest, LUNG_MASK) > 0
        grid = (chest.shape_zyx, chest.spacing_zyx_mm)
        assert chest.voxels_zyx[phantoms.nearest_index(phantoms.WALL_NODULE_MM, *grid)] == phantoms.NODULE_HU
        assert lungs[phantoms.nearest_index(phantoms.WALL_NODULE_MM, *grid)]
        for y_mm, x_mm in phantoms.VESSELS_YX_MM:
            assert lungs[phantoms.nearest_index((0.0, y_mm, x_mm), *grid)]

    def test_trachea_couch_and_room_are_not_lung(self) -> None:
        chest, _ = phantoms.simple_chest()
        lungs = segment_lungs(chest, LUNG_MASK) > 0
        assert not lungs[phantoms.trachea(chest.shape_zyx, chest.spacing_zyx_mm)].any()
        _, y_mm, _ = phantoms.places_mm(chest.shape_zyx, chest.spacing_zyx_mm)
        assert not lungs[:, y_mm[0, :, 0] > phantoms.COUCH_Y_MM[0]].any()
        assert not lungs[:, 0].any()

    def test_joined_lungs_are_parted(self) -> None:
        chest, truth = phantoms.simple_chest()
        z, y, x = phantoms.places_mm(chest.shape_zyx, chest.spacing_zyx_mm)
        bridge = (np.abs(x) < 25) & (np.abs(y + 30) < 5) & (np.abs(z) < 15)
        voxels = np.where(bridge, phantoms.LUNG_HU, chest.voxels_zyx).astype(np.int16)
        labels = segment_lungs(chest.with_voxels(voxels), LUNG_MASK)
        assert all(dice(labels == side, truth == side) >= 0.94 for side in (1, 2))

    @pytest.mark.parametrize(("missing", "kept"), [(1, 2), (2, 1)])
    def test_a_single_lung_keeps_its_side(self, missing: int, kept: int) -> None:
        chest, truth = phantoms.simple_chest()
        voxels = np.where(truth == missing, phantoms.TISSUE_HU, chest.voxels_zyx).astype(np.int16)
        labels = segment_lungs(chest.with_voxels(voxels), LUNG_MASK)
        assert not (labels == missing).any()
        assert dice(labels == kept, truth == kept) >= 0.95

    def test_bowel_gas_is_not_lung(self) -> None:
        chest, truth = phantoms.simple_chest()
        z, y, x = phantoms.places_mm(chest.shape_zyx, chest.spacing_zyx_mm)
        gas = ((z + 80) / 15) ** 2 + ((y + 75) / 25) ** 2 + ((x - 60) / 25) ** 2 <= 1
        assert not (gas & (truth > 0)).any()
        labels = segment_lungs(
            chest.with_voxels(np.where(gas, phantoms.AIR_HU, chest.voxels_zyx).astype(np.int16)), LUNG_MASK
        )
        assert not labels[gas].any()

    def test_a_lung_cut_by_the_edge_of_the_image_stays(self) -> None:
        chest, truth = phantoms.simple_chest()
        column = int(np.flatnonzero((truth == 1).any(axis=(0, 1)))[0]) + 3
        box = (slice(0, 40), slice(0, 100), slice(column, 120))
        labels = segment_lungs(chest.crop(box), LUNG_MASK)
        assert dice(labels == 1, truth[box] == 1) >= 0.93

    def test_a_few_slices_are_enough(self) -> None:
        chest, truth = phantoms.simple_chest()
        for count in (1, 3):
            box = (slice(18, 18 + count), slice(0, 100), slice(0, 120))
            labels = segment_lungs(chest.crop(box), LUNG_MASK)
            assert all(dice(labels == side, truth[box] == side) >= 0.95 for side in (1, 2))

    def test_slices_that_are_no_neighbours(self) -> None:
        chest, truth = phantoms.simple_chest()
        chosen = [30, 31, 32, 8, 9, 10, 20, 21, 22]
        stack = Volume(chest.voxels_zyx[chosen], chest.spacing_zyx_mm, chest.origin_xyz_mm)
        assert dice(segment_lungs(stack, LUNG_MASK) > 0, truth[chosen] > 0) >= 0.95

    @pytest.mark.parametrize("hu", [-1000, -850, -400, 0, 3071])
    @pytest.mark.parametrize("shape_zyx", [(1, 1, 1), (1, 3, 2), (3, 40, 50), (5, 2, 60)])
    def test_nothing_but_one_value_has_no_lungs(self, hu: int, shape_zyx: tuple[int, int, int]) -> None:
        volume = Volume(np.full(shape_zyx, hu, dtype=np.int16), (2.5, 0.7, 0.8), (3.0, -4.0, 5.0))
        labels = segment_lungs(volume, LUNG_MASK)
        assert labels.shape == shape_zyx
        assert not labels.any()

    def test_the_scan_is_not_changed(self) -> None:
        chest, _ = phantoms.simple_chest()
        before = chest.voxels_zyx.copy()
        segment_lungs(chest, LUNG_MASK)
        np.testing.assert_array_equal(chest.voxels_zyx, before)

    def test_without_closing_the_nodule_on_the_wall_is_lost(self) -> None:
        chest, _ = phantoms.simple_chest()
        bare = segment_lungs(chest, replace(LUNG_MASK, closing_mm=0.0, costal_closing_mm=0.0)) > 0
        centre = phantoms.nearest_index(phantoms.WALL_NODULE_MM, chest.shape_zyx, chest.spacing_zyx_mm)
        assert not bare[centre]


SPACINGS = st.tuples(*[st.floats(0.4, 5.0) for _ in range(3)])


class TestDilateMm:
    @settings(max_examples=60, deadline=None)
    @given(seed=st.integers(0, 2**32 - 1), spacing_zyx_mm=SPACINGS, distance_mm=st.floats(0.0, 9.0))
    def test_equals_the_distance_to_every_voxel(
        self, seed: int, spacing_zyx_mm: tuple[float, float, float], distance_mm: float
    ) -> None:
        mask = np.random.default_rng(seed).random((4, 6, 9)) < 0.04
        places = np.argwhere(np.ones_like(mask)) * np.array(spacing_zyx_mm)
        inside = places[mask.ravel()]
        wanted = np.zeros(mask.size, dtype=bool)
        if len(inside):
            nearest = np.sqrt(((places[:, None] - inside[None]) ** 2).sum(axis=2)).min(axis=1)
            wanted = nearest <= distance_mm * (1 + 1e-7)
        np.testing.assert_array_equal(dilate_mm(mask, spacing_zyx_mm, distance_mm), wanted.reshape(mask.shape))

    def test_counts_millimetres_not_voxels(self) -> None:
        mask = np.zeros((9, 11, 13), dtype=np.uint8)
        mask[4, 5, 6] = 2
        dilated = dilate_mm(mask, (3.0, 1.0, 0.5), 3.0)
        assert [np.ptp(places) + 1 for places in np.nonzero(dilated)] == [3, 7, 13]
        assert dilated[5, 5, 6]
        assert not dilated[5, 6, 6]

    def test_zero_returns_the_mask(self) -> None:
        mask = np.random.default_rng(1).integers(0, 3, (3, 4, 5))
        np.testing.assert_array_equal(dilate_mm(mask, (1.0, 2.0, 3.0), 0.0), mask > 0)

    def test_an_empty_mask_stays_empty(self) -> None:
        assert not dilate_mm(np.zeros((2, 3, 4)), (1.0, 1.0, 1.0), 5.0).any()

    def test_a_negative_distance_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"expected 0 or more, got -1\.0"):
            dilate_mm(np.ones((1, 1, 1)), (1.0, 1.0, 1.0), -1.0)


class TestLungMeasures:
    def test_counted_by_hand(self) -> None:
        voxels = np.array([[[-960, -860, 0, -760, -960]]], dtype=np.int16)
        labels = np.array([[[1, 1, 0, 2, 1]]], dtype=np.uint8)
        measures = lung_measures(Volume(voxels, (10.0, 20.0, 50.0)), labels)
        assert measures == pytest.approx(
            {
                "volume_right_l": 0.03,
                "volume_left_l": 0.01,
                "mean_hu": -885.0,
                "emphysema_share": 0.5,
                "lungs_found": 1.0,
            }
        )

    def test_no_lungs_are_a_result(self) -> None:
        measures = lung_measures(Volume(np.zeros((1, 2, 3), np.int16), (1.0, 1.0, 1.0)), np.zeros((1, 2, 3), np.uint8))
        assert measures["lungs_found"] == measures["volume_right_l"] == measures["volume_left_l"] == 0
        assert np.isnan(measures["mean_hu"])
        assert np.isnan(measures["emphysema_share"])
