"""The one kernel against Keras' own layer, which says the same in many."""

import keras
import numpy as np
import pytest

from nodules.models.runtime.normalisation import BatchNormalization

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="elsewhere it is Keras' own")


@pytest.fixture(params=["float32", "mixed_bfloat16"])
def policy(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


def numbers(layer: keras.Layer, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Answers, gradients of the sum of the cubed answer, and statistics after one step."""
    random = np.random.default_rng(5)
    layer.build(shape)
    layer.set_weights([random.uniform(0.5, 2, shape[-1]) for _ in layer.weights])
    image = tf.constant(random.normal(3, 2, shape).astype(np.float32))
    with tf.GradientTape() as tape:
        tape.watch(image)
        trained = layer(image, training=True)
        total = tf.reduce_sum(tf.cast(trained, "float32") ** 3)
    by_image, by_gamma, by_beta = tape.gradient(total, [image, layer.gamma.value, layer.beta.value])
    found = {
        "trained": trained,
        "by_image": by_image,
        "by_gamma": by_gamma,
        "by_beta": by_beta,
        "mean": layer.moving_mean.value,
        "variance": layer.moving_variance.value,
        "asked": layer(image, training=False),
    }
    assert trained.dtype == found["asked"].dtype == layer.compute_dtype
    return {name: tf.cast(value, "float32").numpy() for name, value in found.items()}


@pytest.mark.parametrize("shape", [(3, 9, 7, 5), (1, 2, 2, 3), (2, 5, 6, 7, 3)])
def test_everything_is_as_keras_has_it(policy, shape):
    ours = numbers(BatchNormalization(momentum=0.9), shape)
    keras_own = numbers(keras.layers.BatchNormalization(momentum=0.9), shape)
    for name, wanted in keras_own.items():
        close = 1e-5 if policy == "float32" or name in {"mean", "variance"} else 1e-2
        np.testing.assert_allclose(ours[name], wanted, rtol=close, atol=close * np.abs(wanted).max(), err_msg=name)


def test_frozen_it_keeps_its_statistics():
    layer = BatchNormalization(momentum=0.9)
    layer.trainable = False
    image = np.random.default_rng(5).normal(3, 2, (2, 4, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(layer(image, training=True), image / np.sqrt(1 + layer.epsilon), rtol=1e-5)
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(3))


def test_files_of_keras_own_layer_can_be_read(tmp_path):
    def network(normalisation: type[keras.Layer]) -> keras.Model:
        image = keras.Input((4, 4, 3))
        return keras.Model(image, normalisation(name="second")(normalisation(name="first")(image)))

    written, read = network(keras.layers.BatchNormalization), network(BatchNormalization)
    written.set_weights([np.random.default_rng(6).uniform(0.5, 2, weight.shape) for weight in written.get_weights()])
    written.save_weights(tmp_path / "norm.weights.h5")
    read.load_weights(tmp_path / "norm.weights.h5")
    for ours, theirs in zip(read.get_weights(), written.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
