"""What every training loop here shares: epochs of drawn batches, and a learning rate that rises before it falls."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
from numpy.typing import NDArray

from nodules.models.runtime import devices

Batch = tuple[NDArray[np.float32], NDArray[np.float32]]


class FedByThreads(keras.utils.PyDataset):
    """Batches that `devices.feeding_threads` draw ahead, and hand on in their order."""

    def __init__(self) -> None:
        threads = devices.feeding_threads()
        super().__init__(workers=threads, max_queue_size=2 * threads)


class DrawnEpoch(FedByThreads):
    """The batches of one epoch; each depends on seed and its number alone, not on who draws it when.

    Parameters
    ----------
    draw : callable
        Takes a random generator and returns a batch: inputs and truth.
    steps : int
        Number of batches.
    seed : tuple of int
        Of the training and of the epoch.
    """

    def __init__(self, draw: Callable[[np.random.Generator], Batch], steps: int, seed: tuple[int, ...]) -> None:
        super().__init__()
        self._draw, self._steps, self._seed = draw, steps, seed

    def __len__(self) -> int:
        """Return the number of batches."""
        return self._steps

    def __getitem__(self, index: int) -> Batch:
        """Draw a batch."""
        return self._draw(np.random.default_rng([*self._seed, index]))


def show_shapes(model: keras.Model, batch: Batch) -> None:
    """Let Keras build what it builds on first sight of a batch.

    Else `fit` looks at one itself, on JAX, PyTorch and several GPUs, and then begins the epoch with its second batch: a
    training would not be the same on all of them, nor after a kill.
    """
    model.test_on_batch(*batch)


def learning_rate(largest: float, steps: int, warmup_share: float) -> keras.optimizers.schedules.LearningRateSchedule:
    """Rise along a line over a share of all steps, fall to 0 along a cosine over the others."""
    warmup_steps = round(warmup_share * steps)
    if warmup_steps == 0:
        return keras.optimizers.schedules.CosineDecay(largest, steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - warmup_steps, warmup_target=largest, warmup_steps=warmup_steps
    )
