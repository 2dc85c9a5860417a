"""Balanced, varied and repeatable batches of cubes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nodules.imaging.network_input.cube import CubeParams
from nodules.models.false_positive_reduction.sampling import CubeSampler, VariationParams, size_with_margin_px
from nodules.models.false_positive_reduction.training_cubes import CubeSet

CUBE = CubeParams(8.0, 8, (-1000.0, 400.0))
STILL = VariationParams(0.0, (1.0, 1.0), 0.0, 0.0)
VARIED = VariationParams(2.0, (0.9, 1.1), 20.0, 15.0)


def cube_set(values: list[int], is_nodule: list[bool], size: int = 12) -> CubeSet:
    hu = np.ones((len(values), size, size, size)) * np.array(values)[:, None, None, None]
    return CubeSet(hu.astype(np.int16), np.array(is_nodule, dtype=bool))


def batch(sets, variation=STILL, size=6, seed=3):
    return CubeSampler(sets, CUBE, variation).batch(np.random.default_rng(seed), size)


def test_half_of_a_batch_are_nodules_however_rare_they_are():
    sets = [cube_set([-1000] * 40, [False] * 40), cube_set([], []), cube_set([400, -1000], [True, False])]
    images, truth = batch(sets)
    assert images.shape == (6, 8, 8, 8, 1)
    assert truth.ravel().tolist() == [1, 1, 1, 0, 0, 0]
    assert images.reshape(6, -1).mean(axis=1).tolist() == [1, 1, 1, 0, 0, 0]
    assert batch(sets, size=5)[1].ravel().tolist() == [1, 1, 0, 0, 0]


def test_every_cube_of_a_kind_has_its_turn():
    sets = [cube_set([-1000, -300], [True, False]), cube_set([400, -860, -720], [True, True, False])]
    images, truth = batch(sets, size=400)
    seen = images[:, 0, 0, 0, 0].round(3)
    assert set(seen[truth.ravel() == 1].tolist()) == set(np.float32([0.0, 1.0, 0.1]).tolist())
    assert set(seen[truth.ravel() == 0].tolist()) == set(np.float32([0.5, 0.2]).tolist())


@pytest.mark.parametrize("truth", [[True, True], [False, False], []])
def test_one_kind_alone_teaches_nothing(truth):
    with pytest.raises(ValueError, match="with and without a nodule"):
        CubeSampler([cube_set([0] * len(truth), truth)], CUBE, STILL)
    with pytest.raises(ValueError, match="with and without a nodule"):
        CubeSampler([], CUBE, STILL)


def test_the_same_draw_gives_the_same_batch():
    random = np.random.default_rng(0)
    noisy = CubeSet(random.integers(-1000, 400, (4, 14, 14, 14), dtype=np.int16), np.array([True, False, True, False]))
    first, again, other = (batch([noisy], VARIED, seed=seed)[0] for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_margin_holds_the_farthest_look():
    # 4 px / 0.9 + 2 mm / 1 mm a px = 6.44 px from the middle: 3 px more than 4 on either side
    assert size_with_margin_px(CUBE, VARIED) == 8 + 2 * 3
    assert size_with_margin_px(CUBE, STILL) == 8
    assert size_with_margin_px(CUBE, VariationParams(0.0, (1.1, 1.2), 0.0, 0.0)) == 8


def brightness_centre(image: np.ndarray) -> np.ndarray:
    weights = image / image.sum()
    return np.array([(weights * axis).sum() for axis in np.indices(image.shape)]) - (np.array(image.shape) - 1) / 2


def test_jitter_moves_the_middle_by_no_more_than_it_says():
    size = size_with_margin_px(CUBE, VariationParams(2.0, (1.0, 1.0), 0.0, 0.0))
    z, y, x = np.indices((size,) * 3) - (size - 1) / 2
    ball = np.where(z**2 + y**2 + x**2 <= 1.5**2, 400, -1000).astype(np.int16)
    sets = [CubeSet(np.stack([ball, np.full_like(ball, -1000)]), np.array([True, False]))]
    images, _ = batch(sets, VariationParams(2.0, (1.0, 1.0), 0.0, 0.0), size=80)
    moved = np.array([np.linalg.norm(brightness_centre(image[..., 0])) for image in images[:40]])
    assert moved.max() <= 2.0 + 1e-4
    assert moved.max() > 1.5
    still = brightness_centre(batch(sets, STILL)[0][0, ..., 0])
    assert still == pytest.approx([0, 0, 0], abs=1e-6)


def test_magnification_is_that_of_the_range():
    size = size_with_margin_px(CUBE, VariationParams(0.0, (0.5, 2.0), 0.0, 0.0))
    x = np.indices((size,) * 3)[2] - (size - 1) / 2
    ramp = (100 * x).astype(np.int16)  # HU that rise by 100 a voxel
    sets = [CubeSet(np.stack([ramp, ramp]), np.array([True, False]))]
    sampler = CubeSampler(sets, CubeParams(8.0, 8, (-2000.0, 2000.0)), VariationParams(0.0, (0.5, 2.0), 0.0, 0.0))
    images, _ = sampler.batch(np.random.default_rng(1), 60)
    steps = np.array([max(np.abs(np.diff(image[..., 0], axis=axis)).mean() for axis in range(3)) for image in images])
    scales = 100 / (steps * 4000)
    assert scales.min() >= 0.5 - 1e-3
    assert scales.max() <= 2.0 + 1e-3
    assert scales.max() / scales.min() > 2


def test_mirrors_and_quarter_turns_keep_slices_slices():
    z, y, x = np.indices((8, 8, 8))
    marked = (100 * z + 10 * y + x).astype(np.int16)
    sets = [CubeSet(np.stack([marked, marked]), np.array([True, False]))]
    sampler = CubeSampler(sets, CubeParams(8.0, 8, (0.0, 1000.0)), STILL)
    images, _ = sampler.batch(np.random.default_rng(2), 200)
    shown = {np.rint(image[..., 0] * 1000).astype(int).tobytes() for image in images}
    assert len(shown) == 16  # 8 ways to lay a square, 2 to stack the slices
    for image in images:
        layers = np.rint(image[..., 0] * 1000).astype(int) // 100
        assert (layers == layers[:, :1, :1]).all()


@pytest.mark.parametrize("scale", [(1.1, 0.9), (0.0, 1.0), (-1.0, 1.0)])
def test_scale_must_ascend(scale):
    with pytest.raises(ValueError, match="ascending positive"):
        VariationParams(1.0, scale, 0.0, 0.0)


def test_cut_and_blur_are_off_by_default_and_draw_nothing():
    random = np.random.default_rng(0)
    noisy = CubeSet(random.integers(-1000, 400, (2, 14, 14, 14), dtype=np.int16), np.array([True, False]))
    off = VariationParams(2.0, (0.9, 1.1), 20.0, 15.0, blur_mm=0.0, match_cuts=False)
    np.testing.assert_array_equal(batch([noisy], VARIED)[0], batch([noisy], off)[0])


def test_cubes_of_a_pair_end_in_the_same_places():
    full, ended = np.full((12,) * 3, 400, np.int16), np.full((12,) * 3, 400, np.int16)
    ended[:4], ended[:, :, 9:] = -1000, -1000
    sets = [CubeSet(np.stack([full, ended]), np.array([True, False]))]
    images, truth = batch(sets, replace(STILL, match_cuts=True), 40)
    # the 8 voxels in the middle of 12 begin at voxel 2: two layers along z and one along x are air
    assert ((images > 0.5).sum(axis=(1, 2, 3, 4)) == 6 * 8 * 7).all()
    unmatched = batch(sets, STILL, 40)[0]
    assert (unmatched[truth.ravel() == 1] > 0.5).all()


def test_pair_that_shares_nothing_and_cube_of_nothing_but_air():
    left, right = np.full((12,) * 3, -1000, np.int16), np.full((12,) * 3, -1000, np.int16)
    left[:5], right[7:] = 400, 400
    for first, second in ((left, right), (left, np.full_like(left, -1000))):
        sets = [CubeSet(np.stack([first, second]), np.array([True, False]))]
        assert (batch(sets, replace(STILL, match_cuts=True), 5)[0] == 0).all()


def test_blur_smooths_and_keeps_the_mean():
    sharp = np.full((1, 16, 16, 16), -1000, np.int16)
    sharp[0, 8, 8, 8] = 400
    sets = [CubeSet(np.concatenate([sharp, sharp]), np.array([True, False]))]
    sampler = CubeSampler(sets, CubeParams(16.0, 16, (-1000.0, 400.0)), VariationParams(0.0, (1.0, 1.0), 0.0, 0.0, 1.0))
    images, _ = sampler.batch(np.random.default_rng(1), 20)
    assert images.max(axis=(1, 2, 3, 4)).min() < 0.5
    assert images.sum(axis=(1, 2, 3, 4)) == pytest.approx(1.0, rel=0.02)


def test_weights_say_which_sets_the_others_come_from():
    sets = [cube_set([-1000] * 9, [False] * 9), cube_set([400, -300], [True, False])]
    sampler = CubeSampler(sets, CUBE, STILL, weights=[0.25 / 9, 0.75])
    images, truth = sampler.batch(np.random.default_rng(0), 2000)
    seen = images[truth.ravel() == 0, 0, 0, 0, 0]
    assert (seen > 0.1).mean() == pytest.approx(0.75, abs=0.05)
    assert (images[truth.ravel() == 1] == 1).all()
