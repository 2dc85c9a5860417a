"""Training of the network for false-positive reduction.

It takes a few minutes, so an interrupted training starts from the beginning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import keras
import pandas as pd
from annotated_types import Ge, Gt

from nodules.imaging.network_input.cube import CubeParams
from nodules.models.false_positive_reduction.network import CubeNetworkParams, build
from nodules.models.false_positive_reduction.sampling import CubeSampler, VariationParams
from nodules.models.runtime import devices
from nodules.models.runtime.epochs import fit_epochs, learning_rate

WARM_UP_SHARE = 0.1  # of all steps; before the batch normalisation has settled, large steps would do harm


@dataclass(frozen=True)
class FalsePositiveReductionParams:
    """The section `false_positive_reduction` of params.yaml.

    Attributes
    ----------
    epochs, steps_per_epoch, batch_size : int
        An epoch is a fixed number of steps, since cubes are drawn at random.
    learning_rate : float
        Largest learning rate of Adam: it rises linearly and then falls to 0 along a cosine.
    listed_negatives : int
        Most places that each training scan takes from a table of false positives (`scans.tables.submission`).
    cube : CubeParams
        Size and HU window of the cubes.
    network : CubeNetworkParams
        Shape of the network.
    variation : VariationParams
        Augmentation of the training cubes.
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
    """Train for all epochs and keep the last one, since the learning rate has fallen to 0 by then.

    Parameters
    ----------
    sampler : CubeSampler
        Sampler of the training scans.
    log_epoch : callable
        Called after each epoch with its number (from 1) and its metrics.

    Returns
    -------
    network : keras.Model
        Uncompiled.
    history : DataFrame
        One row per epoch: epoch, loss (cross-entropy on augmented cubes, half of them nodules), accuracy.
    """
    devices.prepare(seed, "float32")
    with devices.training_scope():
        model = _compiled(params)
    history = fit_epochs(
        model,
        lambda random: sampler.batch(random, params.batch_size),
        params.epochs,
        params.steps_per_epoch,
        seed=seed,
        log_epoch=log_epoch,
    )
    rows = [{"epoch": epoch, **numbers} for epoch, numbers in enumerate(history, start=1)]
    return keras.Model(model.inputs, model.outputs, name=model.name), pd.DataFrame(rows)


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
