"""A network that is asked: the same answers for any number and size of slices, from any number of threads."""

from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

from nodules.models.unet.inference import AskedNetwork
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
    found = AskedNetwork(network, PARAMS, batch_size=3)(shown)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_hand(network, shown), atol=1e-6)
    assert np.ptp(found) > 1e-3


def test_no_slices_no_answers(network):
    assert AskedNetwork(network, PARAMS)(images((0, 20, 30))).shape == (0, 20, 30)


def test_deep_networks_fill_up_to_what_their_poolings_divide():
    deep = UNetParams(filters=1, depth=6, stem_stride=1, normalisation="none", residual=False)
    assert AskedNetwork(build(deep, channels=2), deep, batch_size=1)(images((1, 65, 3))).shape == (1, 65, 3)


def test_a_slice_is_answered_the_same_whoever_comes_with_it(network):
    asked, shown = AskedNetwork(network, PARAMS, batch_size=4), images((6, 20, 30))
    np.testing.assert_array_equal(asked(shown[4:]), asked(shown)[4:])


def test_every_size_has_a_function_of_its_own(network):
    asked = AskedNetwork(network, PARAMS, batch_size=2)
    for shape in (*SIZES, *SIZES):
        asked(images(shape))
    assert sorted(asked._by_sides) == [(32, 32), (32, 96), (64, 64)]
    if keras.backend.backend() == "tensorflow":  # with open shapes it takes longer
        for sides, one in asked._by_sides.items():
            assert one.predict_function.experimental_get_tracing_count() == 1, sides


def test_several_threads_may_ask_at_once(network):
    asked, shown = AskedNetwork(network, PARAMS, batch_size=2), [images(shape) for shape in SIZES * 3]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(asked, shown))
    for answer, one in zip(together, shown, strict=True):
        np.testing.assert_array_equal(answer, asked(one))
