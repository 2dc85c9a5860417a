import keras
import numpy as np
import pytest

from nodules.models.unet.inference import fold
from nodules.models.unet.network import UNetParams, build


def trained(params: UNetParams, channels: int) -> keras.Model:
    """Weights and statistics far from those of a fresh network, in which every normalisation changes nothing."""
    keras.utils.set_random_seed(11)
    network = build(params, channels)
    random = np.random.default_rng(12)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.3, 2, weight.shape) for weight in layer.get_weights()])
    return network


@pytest.mark.parametrize("stem_stride", [1, 2])
@pytest.mark.parametrize("residual", [False, True])
def test_folded_answers_as_the_network_does_and_normalises_nothing(residual, stem_stride):
    params = UNetParams(filters=3, depth=2, stem_stride=stem_stride, normalisation="batch", residual=residual)
    network = trained(params, channels=5)
    images = np.random.default_rng(13).random((2, 24, 40, 5), dtype=np.float32)
    folded = fold(network, params)
    wanted = network.predict_on_batch(images)
    tolerance = 2e-5
    assert np.ptp(wanted) > 1000 * tolerance
    np.testing.assert_allclose(folded.predict_on_batch(images), wanted, atol=tolerance)
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in folded.layers)


def test_the_network_itself_stays_as_it_was():
    params = UNetParams(filters=2, depth=1, stem_stride=1, normalisation="batch", residual=False)
    network = trained(params, channels=1)
    before = network.get_weights()
    fold(network, params)
    for now, then in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_one_convolution_by_hand():
    # gamma 3, beta 1, mean 2, variance 4 - epsilon: 3 * (x - 2) / 2 + 1 = 1.5 x - 2
    params = UNetParams(filters=1, depth=1, stem_stride=1, normalisation="batch", residual=False)
    network = trained(params, channels=1)
    norm = network.get_layer("down0_a_norm")
    norm.set_weights([np.array([value]) for value in (3.0, 1.0, 2.0, 4 - norm.epsilon)])
    kernel, bias = fold(network, params).get_layer("down0_a_conv").get_weights()
    np.testing.assert_allclose(kernel, 1.5 * network.get_layer("down0_a_conv").get_weights()[0], rtol=1e-6)
    np.testing.assert_allclose(bias, [-2.0], rtol=1e-6)


def test_over_repeated_pixels_by_hand():
    """Three ones in a row meet a repeated pixel 1, 2, 2 and 1 times; in the plane it is the products."""
    params = UNetParams(filters=1, depth=1, stem_stride=1, normalisation="none", residual=False)
    network = trained(params, channels=1)
    below, skip = 1.0, 5.0  # the two channels that the level below has come first
    kernel = np.full((3, 3, 3, 1), below)
    kernel[:, :, 2] = skip
    network.get_layer("up0_a_conv").set_weights([kernel, np.array([7.0])])
    folded = fold(network, params)
    (wide,) = folded.get_layer("up0_a_below").get_weights()
    assert wide.shape == (4, 4, 1, 2)
    np.testing.assert_array_equal(wide[:, :, 0, 0], np.outer([1, 2, 2, 1], [1, 2, 2, 1]))
    own, bias = folded.get_layer("up0_a_conv").get_weights()
    np.testing.assert_array_equal(own, np.full((3, 3, 1, 1), skip))
    assert bias == 7.0


@pytest.mark.parametrize("residual", [False, True])
def test_without_normalisation_it_shares_nothing_with_the_network(residual):
    params = UNetParams(filters=2, depth=1, stem_stride=1, normalisation="none", residual=residual)
    network = trained(params, channels=1)
    folded = fold(network, params)
    images = np.random.default_rng(13).random((1, 8, 6, 1), dtype=np.float32)
    answers, wanted = folded.predict_on_batch(images), network.predict_on_batch(images)
    np.testing.assert_allclose(answers, wanted, atol=1e-6)
    if residual:  # a copy
        np.testing.assert_array_equal(answers, wanted)
    folded.set_weights([np.zeros_like(weight) for weight in folded.get_weights()])
    assert network.get_weights()[0].any()
