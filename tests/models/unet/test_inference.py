"""Inference with a trained network: folded weights, batches, tiles of any size and several threads."""

from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

from nodules.models.unet.inference import InferenceNetwork, fold
from nodules.models.unet.network import UNetParams, build

PARAMS = UNetParams(filters=3, depth=2, stem_stride=1, normalisation="batch", residual=False)
SIZES = [(1, 32, 32), (3, 37, 45), (7, 32, 65), (4, 9, 5)]


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(3)
    return build(PARAMS, channels=2)


def images(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(5).random((*shape, 2), dtype=np.float32)


def by_hand(network: keras.Model, shown: np.ndarray) -> np.ndarray:
    """The network itself on slices whose sides zeros fill up to a multiple of 32."""
    rows, columns = (-side % 32 for side in shown.shape[1:3])
    filled = np.pad(shown, ((0, 0), (0, rows), (0, columns), (0, 0)))
    answer = keras.ops.convert_to_numpy(network(filled, training=False))
    return answer[:, : shown.shape[1], : shown.shape[2], 0]


@pytest.mark.parametrize("shape", SIZES)
def test_answers_of_the_network(network, shape):
    shown = images(shape)
    found = InferenceNetwork(network, PARAMS, batch_size=3)(shown)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_hand(network, shown), atol=1e-6)
    assert np.ptp(found) > 1e-3


def test_no_slices_no_answers(network):
    assert InferenceNetwork(network, PARAMS)(images((0, 20, 30))).shape == (0, 20, 30)


def test_deep_networks_fill_up_to_what_their_poolings_divide():
    deep = UNetParams(filters=1, depth=6, stem_stride=1, normalisation="none", residual=False)
    assert InferenceNetwork(build(deep, channels=2), deep, batch_size=1)(images((1, 65, 3))).shape == (1, 65, 3)


def test_a_slice_is_answered_the_same_whoever_comes_with_it(network):
    asked, shown = InferenceNetwork(network, PARAMS, batch_size=4), images((6, 20, 30))
    np.testing.assert_array_equal(asked(shown[4:]), asked(shown)[4:])


def test_every_size_has_a_function_of_its_own(network):
    asked = InferenceNetwork(network, PARAMS, batch_size=2)
    for shape in (*SIZES, *SIZES):
        asked(images(shape))
    assert sorted(asked._by_sides) == [(32, 32), (32, 96), (64, 64)]
    if keras.backend.backend() == "tensorflow":  # with open shapes it takes longer
        for sides, one in asked._by_sides.items():
            assert one.predict_function.experimental_get_tracing_count() == 1, sides


def test_several_threads_may_ask_at_once(network):
    asked, shown = InferenceNetwork(network, PARAMS, batch_size=2), [images(shape) for shape in SIZES * 3]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(asked, shown))
    for answer, one in zip(together, shown, strict=True):
        np.testing.assert_array_equal(answer, asked(one))


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
