import keras
import numpy as np
import pytest

from nodules.models.unet.loss import DiceLoss
from nodules.models.unet.network import UNetParams, build

TINY = UNetParams(filters=4, depth=2, stem_stride=1, normalisation="none", residual=False)


@pytest.fixture
def half_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(before)


def convolution(inputs: int, outputs: int, side: int = 3) -> int:
    return (side * side * inputs + 1) * outputs


def test_the_tutorials_network():
    network = build(UNetParams(filters=32, depth=4, stem_stride=1, normalisation="none", residual=False), channels=1)
    levels = [32, 64, 128, 256, 512]
    down = sum(
        convolution(before, now) + convolution(now, now) for before, now in zip([1, *levels], levels, strict=False)
    )
    up = sum(convolution(3 * now, now) + convolution(now, now) for now in levels[:-1])
    assert network.count_params() == down + up + convolution(32, 1, side=1) == 7_846_081
    assert network.compute_output_shape((2, 512, 512, 1)) == (2, 512, 512, 1)
    assert not network.compiled


@pytest.mark.parametrize("normalisation", ["none", "batch"])
@pytest.mark.parametrize("shape", [(1, 32, 32, 3), (2, 20, 36, 3)])
def test_output_has_the_shape_of_the_input_and_one_channel(normalisation, shape):
    network = build(
        UNetParams(filters=2, depth=2, stem_stride=1, normalisation=normalisation, residual=False), channels=3
    )
    answer = network.predict_on_batch(np.random.default_rng(0).random(shape, dtype=np.float32))
    assert answer.shape == (*shape[:3], 1)
    assert answer.dtype == np.float32
    assert (answer >= 0).all()
    assert (answer <= 1).all()


@pytest.mark.parametrize("shape", [(1, 32, 32, 3), (2, 24, 40, 3)])
def test_a_stride_in_the_stem_leaves_the_shape_and_costs_two_convolutions_more(shape):
    plain, strided = (
        build(UNetParams(filters=2, depth=2, stem_stride=stride, normalisation="none", residual=False), channels=3)
        for stride in (1, 2)
    )
    # the stem, and a first level that sees its filters in place of the image's channels; the answer has four kernels
    more = convolution(3, 2, side=4) + convolution(2, 2) - convolution(3, 2) + 3 * 2
    assert strided.count_params() - plain.count_params() == more
    assert strided.compute_output_shape(shape) == (*shape[:3], 1)


def test_with_a_stride_in_the_stem_each_pixel_still_has_an_answer_of_its_own():
    network = build(UNetParams(filters=1, depth=1, stem_stride=2, normalisation="none", residual=False), channels=1)
    kernel, _ = network.get_layer("nodule").get_weights()
    assert kernel.shape == (2, 2, 1, 1)
    for layer in network.layers:
        layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    network.get_layer("up0_b_conv").set_weights([np.zeros((3, 3, 1, 1)), np.ones(1)])
    network.get_layer("nodule").set_weights([np.array([1.0, 2.0, 3.0, 4.0]).reshape(2, 2, 1, 1), np.zeros(1)])
    answer = network.predict_on_batch(np.zeros((1, 4, 8, 1), np.float32))
    pattern = np.tile([[1.0, 2.0], [3.0, 4.0]], (2, 4))
    np.testing.assert_allclose(answer[0, ..., 0], 1 / (1 + np.exp(-pattern)), atol=1e-6)


def test_sides_are_a_multiple_of_all_that_halves_them():
    sizes = {(1, 4): 16, (2, 2): 8, (2, 3): 16}
    for (stride, depth), multiple in sizes.items():
        params = UNetParams(filters=1, depth=depth, stem_stride=stride, normalisation="none", residual=False)
        assert params.side_multiple_px == multiple


def test_batch_normalisation_takes_the_place_of_the_bias():
    plain, batch = (
        build(UNetParams(filters=4, depth=2, stem_stride=1, normalisation=normalisation, residual=False), channels=1)
        for normalisation in ("none", "batch")
    )
    filters = 2 * (4 + 8 + 16 + 8 + 4)  # all filters of all normalised convolutions
    assert batch.count_params() == plain.count_params() - filters + 4 * filters


@pytest.mark.parametrize("normalisation", ["none", "batch"])
def test_residual_blocks_add_a_projection_each_and_rename_nothing(normalisation):
    plain, residual = (
        build(UNetParams(filters=4, depth=2, stem_stride=1, normalisation=normalisation, residual=residual), channels=3)
        for residual in (False, True)
    )
    blocks = [(3, 4), (4, 8), (8, 16), (16 + 8, 8), (8 + 4, 4)]
    bias = 1 if normalisation == "none" else 4  # of the convolution, or mean, variance, scale and shift
    assert residual.count_params() - plain.count_params() == sum((before + bias) * now for before, now in blocks)
    assert {layer.name for layer in plain.layers if layer.weights} < {layer.name for layer in residual.layers}


def test_a_residual_block_adds_its_input():
    """Convolutions that answer 0 leave the projection of the input; a projection by 1 the input itself."""
    network = build(UNetParams(filters=1, depth=1, stem_stride=1, normalisation="none", residual=True), channels=1)
    for layer in network.layers:
        layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    for name in ("down0_shortcut_conv", "up0_shortcut_conv", "nodule"):
        layer = network.get_layer(name)
        layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
        kernel, bias = layer.get_weights()
        kernel[..., -1, 0] = 1  # of the joined channels the last one is the skip
        layer.set_weights([kernel, bias])
    image = np.random.default_rng(0).random((1, 4, 6, 1), dtype=np.float32)
    assert network.predict_on_batch(image) == pytest.approx(1 / (1 + np.exp(-image)), abs=1e-6)


def test_fresh_network_expects_few_nodules():
    answer = build(TINY, channels=1).predict_on_batch(np.zeros((1, 16, 16, 1), np.float32))
    assert answer == pytest.approx(1 / (1 + np.exp(3)), abs=1e-6)


def test_output_stays_float32_in_mixed_precision(half_precision):
    network = build(TINY, channels=1)
    assert network.get_layer("bottom_a_conv").compute_dtype == "float16"
    assert network.get_layer("bottom_a_conv").variable_dtype == "float32"
    assert network.predict_on_batch(np.zeros((1, 16, 16, 1), np.float32)).dtype == np.float32


def test_loss_falls_on_one_batch():
    keras.utils.set_random_seed(1)
    mask = np.zeros((2, 32, 32, 1), np.float32)
    mask[0, 8:16, 4:12] = mask[1, 20:28, 16:28] = 1
    network = build(TINY, channels=1)
    network.compile(keras.optimizers.Adam(0.01), loss=DiceLoss(1.0))
    image = 0.2 + 0.6 * mask
    first = network.train_on_batch(image, mask)
    assert any(network.train_on_batch(image, mask) < 0.7 * first for _ in range(200))
