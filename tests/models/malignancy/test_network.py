import keras
import numpy as np
import pytest

from nodules.models.malignancy.network import TARGETS, RatingNetworkParams, WithDistance, build, mask_size_px


@pytest.mark.parametrize("size_px", [16, 24])
def test_scores_and_mask_of_each_cube(size_px):
    network = build(RatingNetworkParams(2, 0.1), size_px)
    cubes = np.random.default_rng(1).random((3, size_px, size_px, size_px, 1), dtype=np.float32)
    found = network.predict_on_batch(cubes)
    half = mask_size_px(size_px)
    assert found["log_odds"].shape == (3, len(TARGETS))
    assert found["mask"].shape == (3, half, half, half, 1)
    assert ((found["mask"] >= 0) & (found["mask"] <= 1)).all()


def test_a_place_without_a_nodule_has_finite_scores():
    """With an empty mask, every mean inside it is 0 / 0 unless the network guards against that."""
    network = build(RatingNetworkParams(2, 0.1), 16)
    kernel, bias = network.get_layer("mask").get_weights()
    network.get_layer("mask").set_weights([np.zeros_like(kernel), np.full_like(bias, -1000.0)])
    found = network.predict_on_batch(np.zeros((1, 16, 16, 16, 1), np.float32))
    assert found["mask"].max() == 0
    assert np.isfinite(found["log_odds"]).all()


def test_distance_from_the_centre_is_added():
    found = keras.ops.convert_to_numpy(WithDistance()(np.full((2, 5, 5, 5, 1), 7.0, np.float32)))
    assert found.shape == (2, 5, 5, 5, 2)
    assert (found[..., 0] == 7).all()
    assert found[0, 2, 2, 2, 1] == 0
    assert found[1, 2, 4, 2, 1] == pytest.approx(1)
    assert found[1, 0, 0, 0, 1] == pytest.approx(np.sqrt(3))
