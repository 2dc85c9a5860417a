"""Trains the rescorer's network: minutes at most, so that a killed training simply begins again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
import pandas as pd
from annotated_types import Ge, Gt

from nodules.imaging.cubes import CubeParams
from nodules.models import devices, rescoring_network
from nodules.models.cube_sampler import Batch, CubeSampler, VariationParams

WARM_UP_SHARE = 0.1  # of all steps; the first steps of batch normalisation are no time for large strides


@dataclass(frozen=True)
class RescorerParams:
    """The section `rescorer` of params.yaml.

    Attributes
    ----------
    epochs, steps_per_epoch, batch_size : int
        An epoch is a fixed number of steps, since cubes are drawn, not enumerated.
    learning_rate : float
        Adam's largest: it rises along a line and falls to 0 along a cosine.
    listed_negatives : int
        Places that each training scan takes at most from a table of false positives (`scans.luna_candidates`).
    cube : CubeParams
        What the network sees.
    network : RescoringNetworkParams
        Its shape.
    variation : VariationParams
        How the training cubes are varied.
    """

    epochs: Annotated[int, Gt(0)]
    steps_per_epoch: Annotated[int, Gt(0)]
    batch_size: Annotated[int, Ge(2)]
    learning_rate: Annotated[float, Gt(0)]
    listed_negatives: Annotated[int, Ge(0)]
    cube: CubeParams
    network: rescoring_network.RescoringNetworkParams
    variation: VariationParams


class EpochCubes(keras.utils.PyDataset):
    """The batches of one epoch; each depends on seed, epoch and its number alone, not on who draws it when."""

    def __init__(self, sampler: CubeSampler, batch_size: int, steps: int, seed: tuple[int, int]):
        threads = devices.feeding_threads()
        super().__init__(workers=threads, max_queue_size=2 * threads)
        self._sampler, self._batch_size, self._steps, self._seed = sampler, batch_size, steps, seed

    def __len__(self) -> int:
        """Return the number of batches."""
        return self._steps

    def __getitem__(self, index: int) -> Batch:
        """Draw a batch: cubes (N, P, P, P, 1) and truth (N, 1)."""
        return self._sampler.batch(np.random.default_rng([*self._seed, index]), self._batch_size)


def train(
    sampler: CubeSampler,
    params: RescorerParams,
    *,
    seed: int,
    log_epoch: Callable[[int, dict[str, float]], None] | None = None,
    verbose: int = 0,
) -> tuple[keras.Model, pd.DataFrame]:
    """Train for all epochs; the last one is kept, since the rate has fallen to 0 by then.

    Parameters
    ----------
    sampler : CubeSampler
        Of the training scans.
    log_epoch : callable
        Called with the epoch (from 1) and its numbers after each epoch.
    verbose : int
        As Keras counts: 0 silent, 1 a progress bar, 2 a line an epoch.

    Returns
    -------
    network : keras.Model
        Uncompiled.
    history : DataFrame
        One row an epoch: epoch, loss (cross-entropy on varied cubes, half of them nodules), accuracy.
    """
    devices.prepare(seed, mixed_precision=False)  # too small to gain by it
    with devices.training_scope():
        model = _compiled(params)
    history = []
    for epoch in range(1, params.epochs + 1):
        cubes = EpochCubes(sampler, params.batch_size, params.steps_per_epoch, (seed, epoch))
        fitted = model.fit(cubes, initial_epoch=epoch - 1, epochs=epoch, verbose=verbose, shuffle=False)
        numbers = {name: float(values[0]) for name, values in fitted.history.items()}
        history.append({"epoch": epoch, **numbers})
        if log_epoch:
            log_epoch(epoch, numbers)
    return keras.Model(model.inputs, model.outputs, name=model.name), pd.DataFrame(history)


def _compiled(params: RescorerParams) -> keras.Model:
    model = rescoring_network.build(params.network, params.cube.size_px)
    steps = params.epochs * params.steps_per_epoch
    warm_up = int(WARM_UP_SHARE * steps)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0 if warm_up else params.learning_rate,
        steps - warm_up,
        warmup_target=params.learning_rate if warm_up else None,
        warmup_steps=warm_up,
    )
    model.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.BinaryAccuracy(threshold=0.0, name="accuracy")],
    )
    return model
