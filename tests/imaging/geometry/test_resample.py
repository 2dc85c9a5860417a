"""In-plane resampling, and the coarse grid and the way back: numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodules.imaging.geometry.resample import WorkingGrid, nearest_voxels, resample_slices
from nodules.imaging.geometry.volume import Volume


def test_blocks_come_near_the_wanted_spacing() -> None:
    grid = WorkingGrid.of(Volume(np.zeros((70, 20, 30), np.int16), (0.8, 0.7, 0.5)), 2.0)
    assert grid.block_zyx == (2, 3, 4)
    assert grid.spacing_zyx_mm == pytest.approx((1.6, 2.1, 2.0))


def test_short_stacks_keep_their_slices() -> None:
    grid = WorkingGrid.of(Volume(np.zeros((9, 20, 30), np.int16), (0.5, 4.0, 0.9)), 2.0)
    assert grid.block_zyx == (1, 1, 2)


def test_blocks_are_never_larger_than_the_volume() -> None:
    assert WorkingGrid.of(Volume(np.zeros((1, 2, 1), np.int16), (0.5, 0.5, 0.5)), 2.0).block_zyx == (1, 2, 1)


def test_mean_of_blocks_leaves_out_an_incomplete_one() -> None:
    voxels = np.array([[[-1000, -998, 3071, 3069, 7], [-1000, -998, 3071, 3069, 7]]], dtype=np.int16)
    grid = WorkingGrid((1, 2, 5), (1, 2, 2), (1.0, 2.0, 2.0))
    np.testing.assert_array_equal(grid.mean(voxels), [[[-999.0, 3070.0]]])


def test_upsampling_is_linear_between_voxel_centres() -> None:
    grid = WorkingGrid((1, 1, 7), (1, 1, 3), (1.0, 1.0, 3.0))
    full = grid.upsample(np.array([[[0.0, 3.0]]]))
    np.testing.assert_allclose(full, [[[0, 0, 1, 2, 3, 3, 3]]], atol=1e-6)


def test_repeat_gives_the_block_of_each_voxel() -> None:
    grid = WorkingGrid((1, 3, 5), (1, 2, 2), (1.0, 1.0, 1.0))
    np.testing.assert_array_equal(grid.repeat(np.array([[[1, 2]]])), [[[1, 1, 2, 2, 2]] * 3])


@given(
    shape_zyx=st.tuples(*[st.integers(1, 9)] * 3),
    block_zyx=st.tuples(*[st.integers(1, 4)] * 3),
    offset=st.floats(-1000, 1000),
)
def test_a_constant_stays_constant(
    shape_zyx: tuple[int, int, int], block_zyx: tuple[int, int, int], offset: float
) -> None:
    z, y, x = (min(block, size) for block, size in zip(block_zyx, shape_zyx, strict=True))
    grid = WorkingGrid(shape_zyx, (z, y, x), (1.0, 1.0, 1.0))
    full = grid.upsample(grid.mean(np.full(shape_zyx, offset, dtype=np.float64)))
    assert full.shape == shape_zyx
    np.testing.assert_allclose(full, offset, rtol=1e-5, atol=1e-3)


def test_a_part_fits_into_the_whole() -> None:
    grid = WorkingGrid((4, 9, 11), (1, 2, 3), (1.0, 1.0, 1.0))
    coarse = np.random.default_rng(0).random((4, 4, 3))
    part, box = grid.part((slice(1, 3), slice(2, 4), slice(0, 3)))
    assert box == (slice(1, 3), slice(4, 9), slice(0, 11))
    np.testing.assert_array_equal(part.repeat(coarse[1:3, 2:4]), grid.repeat(coarse)[box])


def test_smoothing_is_a_gaussian_of_half_the_pixels_in_one_pixel() -> None:
    """0.5 to 1 mm: sigma is 0.5 * sqrt(2**2 - 1) pixels, so 2 pixels away the response is exp(-2**2 / 1.5)."""
    source = Volume(np.zeros((1, 41, 41), np.float32), (2.0, 0.5, 0.5))
    source.voxels_zyx[0, 20, 20] = 1000.0
    target = Volume(np.zeros((1, 21, 21), np.uint8), (2.0, 1.0, 1.0))
    response = resample_slices(source.voxels_zyx, source, target)[0]
    assert response[10, 11] / response[10, 10] == pytest.approx(np.exp(-4 / 1.5), rel=1e-4)
    assert response[9, 10] / response[10, 10] == pytest.approx(np.exp(-4 / 1.5), rel=1e-4)


def test_pattern_finer_than_the_grid_disappears() -> None:
    source = Volume(np.zeros((1, 60, 66), np.float32), (2.0, 0.5, 0.5))
    source.voxels_zyx[0] = 1000.0 * (np.indices((60, 66)).sum(axis=0) % 2)
    target = Volume(np.zeros((1, 18, 20), np.uint8), (2.0, 1.5, 1.5), (1.5, 1.5, 0.0))
    np.testing.assert_allclose(resample_slices(source.voxels_zyx, source, target), 500.0, atol=5.0)


def test_nearest_voxels_of_another_grid() -> None:
    """1.5 mm is 2.5 voxels of 0.6 mm along x, which rounds to the even 2; 3.0 mm, and 2.5 mm along z, lie beyond."""
    source = Volume(np.zeros((1, 1, 3), np.uint8), (2.0, 1.0, 0.6))
    target = Volume(np.zeros((2, 1, 3), np.uint8), (2.5, 1.0, 1.5))
    inside, voxels = nearest_voxels(source, target)
    assert inside.tolist() == [[[True, True, False]], [[False, False, False]]]
    assert voxels.tolist() == [[0, 0, 0], [0, 0, 2]]


def test_nearest_voxels_where_axes_are_reversed() -> None:
    reversed_x = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    source = Volume(np.zeros((1, 1, 3), np.uint8), (1.0, 1.0, 1.0), (2.0, 0.0, 0.0), reversed_x)
    inside, voxels = nearest_voxels(source, Volume(np.zeros((1, 1, 3), np.uint8), (1.0, 1.0, 1.0)))
    assert inside.all()
    assert voxels[:, 2].tolist() == [2, 1, 0]
