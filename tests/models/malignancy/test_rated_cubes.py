from dataclasses import replace

import numpy as np
import pytest

from nodules.imaging.network_input.cube import CubeParams
from nodules.models.malignancy.network import TARGETS
from nodules.models.malignancy.rated_cubes import RatedCubes, RatedSampler, RatingVariationParams, targets
from support.rated_cubes import PARAMS, rated_balls

SCORES = dict.fromkeys(TARGETS[1:-1], 3.0)


def column(scores, name: str, diameters_mm=(10.0,)):
    return targets(scores, diameters_mm)[:, TARGETS.index(name)]


@pytest.mark.parametrize(
    ("mean", "malignant", "share"), [(1.0, 0, 0.0), (2.75, 0, 0.4375), (3.25, 1, 0.5625), (5.0, 1, 1.0)]
)
def test_rating_and_whether_it_is_above_the_middle(mean, malignant, share):
    scores = [SCORES | {"malignancy": mean}]
    assert column(scores, "malignant") == malignant
    assert column(scores, "malignancy") == pytest.approx(share)


def test_nodules_in_the_middle_or_without_a_rating_do_not_count_but_teach_the_rest():
    found = targets([SCORES | {"malignancy": 3.0}, SCORES | {"malignancy": np.nan}], [5.0, 5.0])
    assert np.isnan(found[:, TARGETS.index("malignant")]).all()
    assert found[0, TARGETS.index("malignancy")] == 0.5
    assert np.isnan(found[1, TARGETS.index("malignancy")])
    assert np.isfinite(found[:, 2:]).all()


def test_calcification_has_six_values():
    found = column([SCORES | {"calcification": 6.0}, SCORES | {"calcification": 1.0}], "calcification", [5.0, 5.0])
    assert list(found) == [1, 0]


def test_diameter_is_logarithmic_and_clipped():
    found = column([SCORES] * 5, "diameter", [1.0, 3.0, np.sqrt(90.0), 30.0, 60.0])
    assert found == pytest.approx([0, 0, 0.5, 1, 1])


def test_same_generator_same_batch():
    sampler = RatedSampler(rated_balls(8), PARAMS.cube, PARAMS.variation)
    one, two, other = (sampler.batch(np.random.default_rng(seed), 4) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1]["mask"], two[1]["mask"])
    assert not np.array_equal(one[0], other[0])


def test_mask_is_moved_with_its_cube():
    """The balls are brighter than everything else, so their mask is known from the input."""
    still = replace(PARAMS.variation, hu_noise=0.0, hu_shift=0.0)
    inputs, wanted = RatedSampler(rated_balls(12), PARAMS.cube, still).batch(np.random.default_rng(3), 12)
    half = PARAMS.cube.size_px // 2
    bright = (inputs > 0.5).reshape(12, half, 2, half, 2, half, 2).mean(axis=(2, 4, 6))
    np.testing.assert_allclose(wanted["mask"][..., 0], bright, atol=1e-6)
    assert bright.sum(axis=(1, 2, 3)).min() > 0
    centres = np.array([np.argwhere(one > 0).mean(axis=0) for one in bright])
    assert np.ptp(centres, axis=0).min() >= 1, "the centre is shifted along every axis"


def test_noise_and_shift_change_the_hu_only():
    loud = replace(PARAMS.variation, jitter_mm=0.0, hu_noise=50.0, hu_shift=30.0)
    cubes = rated_balls(6, margin_px=0)
    inputs, wanted = RatedSampler(cubes, PARAMS.cube, loud).batch(np.random.default_rng(3), 6)
    silent = RatedSampler(cubes, PARAMS.cube, replace(loud, hu_noise=0.0, hu_shift=0.0))
    assert wanted["mask"].sum() == pytest.approx(cubes.mask_percent.sum() / 100 / 8, rel=1e-5)
    assert len(np.unique(inputs)) > 10 * len(np.unique(silent.batch(np.random.default_rng(3), 6)[0]))


@pytest.mark.parametrize(("side_mm", "jitter_mm", "margin"), [(32.0, 2.7, 2), (24.0, 2.0, 2), (24.0, 0.9, 0)])
def test_margin_is_the_largest_shift_in_whole_voxels(side_mm, jitter_mm, margin):
    cube = CubeParams(side_mm, 24, (-1000.0, 300.0))
    assert RatingVariationParams(jitter_mm, 0.0, 0.0).margin_px(cube) == margin


@pytest.mark.parametrize("label", [0.0, 1.0, np.nan])
def test_only_one_kind_of_nodule_is_refused(label):
    cubes = rated_balls(4)
    cubes.targets[:, 0] = label
    with pytest.raises(ValueError, match="above and below 3"):
        RatedSampler(cubes, PARAMS.cube, PARAMS.variation)


def test_rows_are_left_out():
    cubes = rated_balls(5)
    rest = cubes.without(np.array([True, False, False, True, False]))
    assert isinstance(rest, RatedCubes)
    np.testing.assert_array_equal(rest.hu, cubes.hu[[1, 2, 4]])
    np.testing.assert_array_equal(rest.mask_percent, cubes.mask_percent[[1, 2, 4]])
    np.testing.assert_array_equal(rest.malignant, cubes.malignant[[1, 2, 4]])
