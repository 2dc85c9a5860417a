"""Epochs of randomly drawn batches, and the learning-rate schedule, for all training loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import keras
import numpy as np
from numpy.typing import NDArray

from nodules.models.runtime import devices

Batch = tuple[NDArray[np.float32], NDArray[np.float32]]
NamedBatch = tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]
"""Inputs, and targets by the name of the network's output."""

AnyBatch = TypeVar("AnyBatch", Batch, NamedBatch)


class PrefetchedBatches(keras.utils.PyDataset):
    """Batches that several threads (`devices.feeding_threads`) draw in advance; their order is kept."""

    def __init__(self) -> None:
        threads = devices.feeding_threads()
        super().__init__(workers=threads, max_queue_size=2 * threads)


class DrawnEpoch(PrefetchedBatches, Generic[AnyBatch]):
    """The batches of one epoch; each depends only on the seed and its number, not on the thread that draws it.

    Parameters
    ----------
    draw : callable
        Takes a random generator and returns a batch: inputs and targets.
    steps : int
        Number of batches.
    seed : tuple of int
        Seed of the training and number of the epoch.
    """

    def __init__(self, draw: Callable[[np.random.Generator], AnyBatch], steps: int, seed: tuple[int, ...]) -> None:
        super().__init__()
        self._draw: Callable[[np.random.Generator], AnyBatch] = draw
        self._steps, self._seed = steps, seed

    def __len__(self) -> int:
        """Return the number of batches."""
        return self._steps

    def __getitem__(self, index: int) -> AnyBatch:
        """Draw a batch."""
        return self._draw(np.random.default_rng([*self._seed, index]))


def build_for_batch(model: keras.Model, batch: Batch | NamedBatch) -> None:
    """Let Keras build everything that depends on the shapes of a batch.

    Otherwise `fit` takes a batch for that itself on JAX, PyTorch and several GPUs, and starts the epoch with the second
    one. A training would then differ between backends, and after an interruption.
    """
    model.test_on_batch(*batch)


def fit_epochs(
    model: keras.Model,
    draw: Callable[[np.random.Generator], AnyBatch],
    epochs: int,
    steps: int,
    *,
    seed: int,
    log_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> list[dict[str, float]]:
    """Train a compiled model for all epochs on batches that are drawn anew, without validation.

    Parameters
    ----------
    draw : callable
        Takes a random generator and returns a batch.
    epochs, steps : int
        Number of epochs, and of batches in each.
    log_epoch : callable
        Called after each epoch with its number (from 1) and its metrics.

    Returns
    -------
    list of dict
        The metrics of each epoch.
    """
    build_for_batch(model, draw(np.random.default_rng(seed)))
    history = []
    for epoch in range(1, epochs + 1):
        batches = DrawnEpoch(draw, steps, (seed, epoch))
        fitted = model.fit(batches, initial_epoch=epoch - 1, epochs=epoch, verbose=0, shuffle=False)
        history.append({name: float(values[0]) for name, values in fitted.history.items()})
        if log_epoch:
            log_epoch(epoch, history[-1])
    return history


def learning_rate(largest: float, steps: int, warmup_share: float) -> keras.optimizers.schedules.LearningRateSchedule:
    """Learning rate that rises linearly over a share of all steps and then falls to 0 along a cosine."""
    warmup_steps = round(warmup_share * steps)
    if warmup_steps == 0:
        return keras.optimizers.schedules.CosineDecay(largest, steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - warmup_steps, warmup_target=largest, warmup_steps=warmup_steps
    )
