"""Training of the networks that rate nodules."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import keras
from annotated_types import Ge, Gt
from keras import ops

from nodules.imaging.network_input.cube import CubeParams
from nodules.models.malignancy.network import TARGETS, RatingNetworkParams, build
from nodules.models.malignancy.rated_cubes import RatedCubes, RatedSampler, RatingVariationParams
from nodules.models.runtime import devices
from nodules.models.runtime.epochs import fit_epochs, learning_rate
from nodules.models.runtime.seeds import seed_of
from nodules.models.unet.loss import soft_dice

WARM_UP_SHARE = 0.1  # of all steps; before the batch normalisation has settled, large steps would do harm


@dataclass(frozen=True)
class MalignancyParams:
    """The section `malignancy` of `models/pretrained/params.yaml`.

    Attributes
    ----------
    networks : int
        Number of networks whose log-odds are averaged; they differ in their seeds.
    epochs, steps_per_epoch, batch_size : int
        An epoch is a fixed number of steps, since cubes are drawn at random.
    learning_rate, weight_decay : float
        Largest learning rate of AdamW: it rises linearly and then falls to 0 along a cosine; and its weight decay.
    other_scores_weight : float
        Weight of the other scores and of the diameter in the loss; both targets of malignancy have weight 1.
    mask_weight : float
        Weight of the loss of the mask.
    flips : int
        As in `RaterSettings`.
    cube : CubeParams
        Size and HU window of the cubes.
    network : RatingNetworkParams
        Shape of each network.
    variation : RatingVariationParams
        Augmentation of the training cubes.
    """

    networks: Annotated[int, Gt(0)]
    epochs: Annotated[int, Gt(0)]
    steps_per_epoch: Annotated[int, Gt(0)]
    batch_size: Annotated[int, Ge(2)]
    learning_rate: Annotated[float, Gt(0)]
    weight_decay: Annotated[float, Ge(0)]
    other_scores_weight: Annotated[float, Ge(0)]
    mask_weight: Annotated[float, Ge(0)]
    flips: Annotated[int, Ge(1)]
    cube: CubeParams
    network: RatingNetworkParams
    variation: RatingVariationParams


@keras.saving.register_keras_serializable("nodules")
class KnownTargetsLoss(keras.losses.Loss):
    """Weighted cross-entropy of log-odds (N, T) with targets in [0, 1]; targets that are NaN do not count."""

    def __init__(self, weights: tuple[float, ...]) -> None:
        super().__init__(name="known_targets")
        self.weights = weights

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of each sample (N,)."""
        known = ops.logical_not(ops.isnan(y_true))
        target = ops.where(known, y_true, 0.0)
        # log(1 + e^x) - t x, without overflow
        losses = ops.softplus(y_pred) - target * y_pred
        return ops.sum(ops.where(known, losses, 0.0) * ops.convert_to_tensor(self.weights, y_pred.dtype), axis=-1)


@keras.saving.register_keras_serializable("nodules")
class MaskLoss(keras.losses.Loss):
    """1 - soft Dice of each mask (N, Z, Y, X, 1), plus its mean cross-entropy, raised since most voxels are empty."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of each sample (N,)."""
        voxels = ops.mean(keras.losses.binary_crossentropy(y_true, y_pred), axis=(1, 2, 3))
        return 1.0 - soft_dice(y_true, y_pred) + 10.0 * voxels


def train(
    cubes: RatedCubes,
    params: MalignancyParams,
    *,
    seed: int,
    log_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> list[keras.Model]:
    """Train all networks for all epochs and keep the last one, since the learning rate has fallen to 0 by then.

    Parameters
    ----------
    cubes : RatedCubes
        Cubes with the margin of `variation`.
    log_epoch : callable
        Called after each epoch with its number (from 1, counted over all networks) and its loss.

    Returns
    -------
    list of keras.Model
        Uncompiled.
    """
    sampler = RatedSampler(cubes, params.cube, params.variation)
    networks = []
    for number in range(params.networks):
        own_seed = seed_of(seed, number)
        devices.prepare(own_seed, "float32")
        with devices.training_scope():
            model = _compiled(params)
        fit_epochs(
            model,
            lambda random: sampler.batch(random, params.batch_size),
            params.epochs,
            params.steps_per_epoch,
            seed=own_seed,
            log_epoch=functools.partial(_log, log_epoch, number * params.epochs) if log_epoch else None,
        )
        networks.append(build(params.network, params.cube.size_px))
        networks[-1].set_weights(model.get_weights())
    return networks


def _log(
    log_epoch: Callable[[int, dict[str, float]], None], finished: int, epoch: int, numbers: dict[str, float]
) -> None:
    """Count the epochs over all networks, and log only the loss: the metrics of both outputs are parts of it."""
    log_epoch(finished + epoch, {"loss": numbers["loss"]})


def _compiled(params: MalignancyParams) -> keras.Model:
    model = build(params.network, params.cube.size_px)
    model.compile(
        optimizer=keras.optimizers.AdamW(
            learning_rate(params.learning_rate, params.epochs * params.steps_per_epoch, WARM_UP_SHARE),
            weight_decay=params.weight_decay,
        ),
        loss={
            "log_odds": KnownTargetsLoss((1.0, 1.0) + (params.other_scores_weight,) * (len(TARGETS) - 2)),
            "mask": MaskLoss(),
        },
        loss_weights={"log_odds": 1.0, "mask": params.mask_weight},
    )
    return model
