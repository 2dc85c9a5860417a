"""What training loops share."""

import keras
import numpy as np

from nodules.models.runtime.epochs import DrawnEpoch, build_for_batch


def test_a_shown_batch_teaches_nothing():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization(), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.1), loss="mse", metrics=["mae"])
    before = model.get_weights()
    build_for_batch(model, (np.full((2, 3), 7.0, np.float32), np.zeros((2, 1), np.float32)))
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert int(model.optimizer.iterations) == 0


def test_an_epoch_is_fed_in_its_order_once_shapes_are_shown():
    """Four numbers, one a batch; without a learning rate the mean error of the last step tells what came when."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(0.0), loss="mse")

    class Counted(DrawnEpoch):
        def __getitem__(self, index: int):
            return np.full((1, 1), float(index), np.float32), np.zeros((1, 1), np.float32)

    losses = []
    seen = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: losses.append(logs["loss"]))
    epoch = Counted(lambda random: None, 4, (1,))
    build_for_batch(model, epoch[0])
    model.fit(epoch, verbose=0, shuffle=False, callbacks=[seen])
    np.testing.assert_allclose(losses, np.cumsum([0, 1, 4, 9]) / np.arange(1, 5))  # Keras gives the mean so far
