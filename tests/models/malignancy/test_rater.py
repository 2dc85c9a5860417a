import json
from dataclasses import replace

import keras
import numpy as np
import pytest

from nodules.imaging.geometry.volume import Volume
from nodules.imaging.network_input.cube import CubeParams
from nodules.models.malignancy.fusion import Fusion, Fusions
from nodules.models.malignancy.network import TARGETS, RatingNetworkParams, build
from nodules.models.malignancy.rater import BATCH, MalignancyRater, RaterSettings, mean_log_odds

SETTINGS = RaterSettings(RatingNetworkParams(2, 0.1), CubeParams(32.0, 16, (-1000.0, 300.0)), flips=8)
WEIGHTS = (1.5, -0.5, *(0.0 for _ in TARGETS[2:]))
FUSIONS = Fusions(Fusion(WEIGHTS, 0.0, -0.25), Fusion(WEIGHTS, 2.0, -4.0))
CENTRES = np.array([[4.0, 3.0, -12.0], [10.0, -2.0, -20.0], [0.0, 0.0, 0.0]])


@pytest.fixture(scope="module")
def rater() -> MalignancyRater:
    """Two networks whose random weights give different answers at different places."""
    keras.utils.set_random_seed(3)
    networks = [build(SETTINGS.network, SETTINGS.cube.size_px) for _ in range(2)]
    return MalignancyRater(networks, SETTINGS, FUSIONS)


def scan() -> Volume:
    hu = np.random.default_rng(1).integers(-1000, 300, (30, 40, 44)).astype(np.int16)
    return Volume(hu, (1.5, 1.1, 0.9), (-15.0, -20.0, -40.0))


def test_one_calibrated_probability_per_centre(rater):
    found = rater(scan(), CENTRES)
    assert found.shape == (3,)
    assert found.dtype == np.float64
    assert ((found > 0) & (found < 1)).all()
    assert len(set(found)) == 3


def test_diameters_are_used_where_they_are_given(rater):
    small, large = (rater(scan(), CENTRES, [diameter_mm] * 3) for diameter_mm in (5.0, 10.0))
    odds_ratio = large / (1 - large) / (small / (1 - small))
    assert odds_ratio == pytest.approx(np.full(3, 4.0)), "2 x log 2"


@pytest.mark.parametrize("diameters_mm", [[5.0], [5.0, 6.0, 0.0], [5.0, 6.0, np.nan], [5.0, -6.0, 7.0], 5.0])
def test_diameters_that_do_not_fit_are_refused(rater, diameters_mm):
    with pytest.raises(ValueError, match="expected 3 positive numbers"):
        rater(scan(), CENTRES, diameters_mm)


@pytest.mark.parametrize("axis", [0, 1, 2], ids="zyx")
def test_order_in_which_slices_are_stored_does_not_matter(rater, axis):
    there = scan()
    direction, origin = np.eye(3), np.array(there.origin_xyz_mm)
    world = 2 - axis
    direction[world, world] = -1
    origin[world] += there.spacing_zyx_mm[axis] * (there.shape_zyx[axis] - 1)
    back = Volume(
        np.flip(there.voxels_zyx, axis), there.spacing_zyx_mm, tuple(origin), tuple(float(x) for x in direction.ravel())
    )
    np.testing.assert_allclose(rater(back, CENTRES), rater(there, CENTRES), atol=1e-6)


def test_mirror_image_has_the_same_rating(rater):
    cubes = np.random.default_rng(2).integers(-1000, 300, (3, 16, 16, 16)).astype(np.int16)
    for axes in [(1,), (2, 3), (1, 2, 3)]:
        np.testing.assert_allclose(rater.rate(np.flip(cubes, axes)), rater.rate(cubes), atol=1e-5)
    one = MalignancyRater(rater.networks, replace(SETTINGS, flips=1), FUSIONS)
    assert np.abs(one.rate(np.flip(cubes, 3)) - one.rate(cubes)).max() > 1e-5, "without flips it differs"


@pytest.mark.parametrize("count", [1, BATCH, BATCH + 1])
def test_a_rating_does_not_depend_on_its_company(rater, count):
    cubes = np.random.default_rng(4).integers(-1000, 300, (2 * BATCH, 16, 16, 16)).astype(np.int16)
    chosen = np.random.default_rng(count).permutation(len(cubes))[:count]
    np.testing.assert_allclose(rater.rate(cubes[chosen]), rater.rate(cubes)[chosen], rtol=0, atol=1e-6)
    assert mean_log_odds(rater.networks, SETTINGS, cubes[chosen]).shape == (count, len(TARGETS))


def test_margin_of_a_cube_is_not_seen(rater):
    wide = np.random.default_rng(5).integers(-1000, 300, (2, 20, 20, 20)).astype(np.int16)
    np.testing.assert_array_equal(rater.rate(wide), rater.rate(wide[:, 2:-2, 2:-2, 2:-2]))


@pytest.mark.parametrize("none", [[], np.empty((0, 3))])
def test_no_candidates_no_ratings(rater, none):
    found = rater(scan(), none)
    assert (found.shape, found.dtype) == ((0,), np.float64)
    assert rater(scan(), none, []).shape == (0,)


def test_place_outside_the_scan_is_air(rater):
    far, further = rater(scan(), [[900.0, 0.0, 0.0], [0.0, 0.0, -900.0]])
    assert far == pytest.approx(further)


@pytest.mark.parametrize("centres", [[[np.nan, 0, 0]], [[0, np.inf, 0]], [1.0, 2.0, 3.0], [[1.0, 2.0]]])
def test_centres_that_are_no_points_are_refused(rater, centres):
    with pytest.raises(ValueError, match="expected finite points"):
        rater(scan(), centres)


def test_scan_with_nan_is_refused(rater):
    there = scan()
    voxels = there.voxels_zyx.astype(np.float32)
    voxels[3, 4, 5] = np.nan
    with pytest.raises(ValueError, match="finite HU"):
        rater(there.with_voxels(voxels), CENTRES)


def test_to_disk_and_back(rater, tmp_path):
    rater.save(tmp_path / "a")
    again = MalignancyRater.load(tmp_path / "a")
    np.testing.assert_array_equal(again(scan(), CENTRES), rater(scan(), CENTRES))
    assert (again.settings, again.fusions) == (SETTINGS, FUSIONS)
    again.save(tmp_path / "b")
    files = sorted(file.name for file in (tmp_path / "a").iterdir())
    assert files == ["malignancy.json", "malignancy_0.weights.h5", "malignancy_1.weights.h5"]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_settings_that_do_not_fit_are_refused(rater, tmp_path):
    rater.save(tmp_path)
    file = tmp_path / "malignancy.json"
    described = json.loads(file.read_text())
    for change, message in (
        ({"flips": 9}, "less than or equal to 8"),
        ({"networks": 0}, "at least one network"),
        ({"fusions": {"by_centre": described["fusions"]["by_centre"]}}, "by_centre_and_diameter"),
    ):
        file.write_text(json.dumps(described | change))
        with pytest.raises(ValueError, match=message):
            MalignancyRater.load(tmp_path)


def test_diverged_network_is_named():
    network = build(SETTINGS.network, SETTINGS.cube.size_px)
    kernel, bias = network.get_layer("log_odds").get_weights()
    network.get_layer("log_odds").set_weights([np.full_like(kernel, np.nan), bias])
    with pytest.raises(ValueError, match="expected finite log-odds"):
        MalignancyRater([network], SETTINGS, FUSIONS)(scan(), CENTRES)
