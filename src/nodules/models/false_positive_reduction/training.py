"""Trains the reducer's network: minutes at most, so that a killed training simply begins again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
import pandas as pd
from annotated_types import Ge, Gt

from nodules.imaging.network_input.cube import CubeParams
from nodules.models.false_positive_reduction.network import CubeNetworkParams, build
from nodules.models.false_positive_reduction.sampling import CubeSampler, VariationParams
from nodules.models.runtime import devices
from nodules.models.runtime.epochs import DrawnEpoch, learning_rate, show_shapes

WARM_UP_SHARE = 0.1  # of all steps; the first steps of batch normalisation are no time for large strides


@dataclass(frozen=True)
class FalsePositiveReductionParams:
    """The section `false_positive_reduction` of params.yaml.

    Attributes
    ----------
    epochs, steps_per_epoch, batch_size : int
        An epoch is a fixed number of steps, since cubes are drawn, not enumerated.
    learning_rate : float
        Adam's largest: it rises along a line and falls to 0 along a cosine.
    listed_negatives : int
        Places that each training scan takes at most from a table of false positives (`scans.tables.submission`).
    cube : CubeParams
        What the network sees.
    network : CubeNetworkParams
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
    network: CubeNetworkParams
    variation: VariationParams


def train(
    sampler: CubeSampler,
    params: FalsePositiveReductionParams,
    *,
    seed: int,
    log_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> tuple[keras.Model, pd.DataFrame]:
    """Train for all epochs; the last one is kept, since the rate has fallen to 0 by then.

    Parameters
    ----------
    sampler : CubeSampler
        Of the training scans.
    log_epoch : callable
        Called with the epoch (from 1) and its numbers after each epoch.

    Returns
    -------
    network : keras.Model
        Uncompiled.
    history : DataFrame
        One row an epoch: epoch, loss (cross-entropy on varied cubes, half of them nodules), accuracy.
    """
    devices.prepare(seed, "float32")
    with devices.training_scope():
        model = _compiled(params)
    show_shapes(model, sampler.batch(np.random.default_rng(seed), params.batch_size))
    history = []
    for epoch in range(1, params.epochs + 1):
        cubes = DrawnEpoch(
            lambda random: sampler.batch(random, params.batch_size), params.steps_per_epoch, (seed, epoch)
        )
        fitted = model.fit(cubes, initial_epoch=epoch - 1, epochs=epoch, verbose=0, shuffle=False)
        numbers = {name: float(values[0]) for name, values in fitted.history.items()}
        history.append({"epoch": epoch, **numbers})
        if log_epoch:
            log_epoch(epoch, numbers)
    return keras.Model(model.inputs, model.outputs, name=model.name), pd.DataFrame(history)


def _compiled(params: FalsePositiveReductionParams) -> keras.Model:
    model = build(params.network, params.cube.size_px)
    model.compile(
        optimizer=keras.optimizers.Adam(
            learning_rate(params.learning_rate, params.epochs * params.steps_per_epoch, WARM_UP_SHARE)
        ),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.BinaryAccuracy(threshold=0.0, name="accuracy")],
    )
    return model
