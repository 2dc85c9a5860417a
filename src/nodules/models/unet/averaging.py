"""Weight averaging: validated and kept is the running mean of the weights, trained on are the weights themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

STATISTICS_BATCHES = 10  # of 16 patches of 80 x 80 pixels: a million pixels behind each channel's mean and variance


class LastStep(keras.callbacks.Callback):
    """Keeps the weights that the last step left, since `fit` ends by writing the optimiser's averages over them.

    Copied, not swapped: Keras' own `SwapEMAWeights` swaps on TensorFlow by adding and subtracting, which rounds.
    """

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002 - Keras' signature
        """Copy all weights, normalisation statistics included."""
        self._weights = _copies(self.model)

    def restore(self) -> None:
        """Put the copy back."""
        self.model.set_weights(self._weights)


def settle_averages(model: keras.Model, batches: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> None:
    """Make the averages that `fit` has written over the weights fit for use.

    The normalisation statistics at hand belong to the weights before averaging, whose layers answer otherwise (Izmailov
    et al., "Averaging weights leads to wider optima and better generalization", UAI 2018, section 3.2). They are taken
    anew, each as the plain mean over the first `STATISTICS_BATCHES` batches.
    """
    # JAX lets weights and averages share their memory here, and deletes both with the first of them.
    model.set_weights(_copies(model))
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for index in range(min(STATISTICS_BATCHES, len(batches))):
        for layer in layers:
            layer.momentum = index / (index + 1)
        model(batches[index][0], training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def _copies(model: keras.Model) -> list[NDArray[np.float32]]:
    return [np.array(weight) for weight in model.get_weights()]
