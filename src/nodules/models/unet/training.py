"""Training of the U-Net: averaged weights, hard-negative mining, choice of the best epoch, and resuming."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
import pandas as pd
from annotated_types import Ge, Gt, Lt
from numpy.typing import NDArray

from nodules.models.runtime import devices
from nodules.models.runtime.epochs import DrawnEpoch, build_for_batch, learning_rate
from nodules.models.unet.hard_negatives import find_false_positives
from nodules.models.unet.inference import InferenceNetwork
from nodules.models.unet.loss import DiceLoss, PooledDice
from nodules.models.unet.network import UNetParams, build
from nodules.models.unet.sampling import MixedSampler, PatchSampler, SamplingParams

STATISTICS_BATCHES = 10  # of 16 patches of 80 x 80 pixels: a million pixels behind each channel's mean and variance

EpochLog = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class FineTuningParams:
    """What differs from `TrainingParams` when training starts from an earlier network, which needs few steps.

    Attributes
    ----------
    epochs, learning_rate, mining_epochs : int, float, list of int
        As in `TrainingParams`, in their place.
    frozen_normalisation : bool
        See `TrainingParams`.
    """

    epochs: Annotated[int, Gt(0)]
    learning_rate: Annotated[float, Gt(0)]
    mining_epochs: list[int]
    frozen_normalisation: bool


@dataclass(frozen=True)
class TrainingParams:
    """The section `unet` of params.yaml.

    Attributes
    ----------
    epochs, steps_per_epoch, batch_size : int
        An epoch is a fixed number of steps, since patches are drawn at random.
    patience : int
        Training stops after this many epochs without a new `best_epoch`.
    learning_rate : float
        Largest learning rate of Adam, which then falls to 0 along a cosine.
    warmup_share : float
        Share of all steps in which the learning rate first rises from 0 to its largest value.
    ema_momentum : float
        Momentum of the exponential moving average of the weights. The averaged weights are validated and kept. 0
        disables averaging.
    cross_entropy_weight, focal_gamma : float
        See `DiceLoss`.
    validation_patches : int
        Number of patches of the validation scans; they are the same in every epoch.
    mining_epochs : list of int
        Epochs after which hard negatives are mined: false positives on the training slices, which are then drawn more
        often.
    precision : {"float32", "mixed_float16", "mixed_bfloat16"}
        Precision of training. It is the same on every machine, so that networks differ by rounding only.
    start_from : str or None
        Folder of an earlier segmenter with the same network, region and context. Training starts from its weights, or
        from random weights if this is None.
    fine_tuning : FineTuningParams or None
        Used if `start_from` is given.
    frozen_normalisation : bool
        Whether normalisation keeps the statistics, scales and offsets of the earlier network. Otherwise a few dozen
        steps replace its statistics by those of the new scans, and it is worse on the scans that it learnt from.
    """

    epochs: Annotated[int, Gt(0)]
    steps_per_epoch: Annotated[int, Gt(0)]
    batch_size: Annotated[int, Gt(0)]
    patience: Annotated[int, Gt(0)]
    learning_rate: Annotated[float, Gt(0)]
    warmup_share: Annotated[float, Ge(0), Lt(1)]
    ema_momentum: Annotated[float, Ge(0), Lt(1)]
    cross_entropy_weight: Annotated[float, Ge(0)]
    focal_gamma: Annotated[float, Ge(0)]
    validation_patches: Annotated[int, Gt(0)]
    mining_epochs: list[int]
    precision: devices.Precision
    start_from: str | None
    network: UNetParams
    sampling: SamplingParams
    fine_tuning: FineTuningParams | None = None
    frozen_normalisation: bool = False

    def from_start(self) -> TrainingParams:
        """The settings of this training: those of `fine_tuning` in place of its own if it has a `start_from`."""
        if self.start_from is None or self.fine_tuning is None:
            return replace(self, fine_tuning=None)
        return replace(self, fine_tuning=None, **vars(self.fine_tuning))


def train(
    training: PatchSampler | MixedSampler,
    validation: PatchSampler | None,
    channels: int,
    params: TrainingParams,
    *,
    seed: int,
    work: Path,
    start_from: list[NDArray[np.float32]] | None = None,
    log_epoch: EpochLog | None = None,
) -> tuple[keras.Model, pd.DataFrame]:
    """Train until the last epoch, or until `patience` epochs have passed without a new best one.

    The best epoch is chosen by the loss (`best_epoch`), in which all patches have the same weight. In the pooled Dice
    one large nodule would count as much as a hundred small ones.

    Parameters
    ----------
    training : PatchSampler or MixedSampler
    validation : PatchSampler, optional
        Samplers of different patients. Without a validation set, the last epoch is the best.
    channels : int
        Number of context slices of an input.
    work : Path
        Folder for the state after each epoch, from which an interrupted training resumes.
    start_from : list of ndarray, optional
        Weights of an earlier network of the same shape (`segmenter.initial_weights`).
    log_epoch : callable
        Called after each epoch with its number (from 1) and its metrics.

    Returns
    -------
    network : keras.Model
        Uncompiled, with the weights of the best epoch.
    history : DataFrame
        One row per epoch: epoch, loss, dice, val_loss and val_dice (with a validation set), learning_rate.
    """
    devices.prepare(seed, params.precision)
    with devices.training_scope():
        model = compiled(channels, params)
    history = _resume(model, work)
    if start_from is not None and not history:
        model.set_weights(start_from)
    build_for_batch(model, drawn_epoch(training, params.batch_size, 1, (seed, 0), augment=False)[0])
    held_out = _validation_set(validation, params, seed) if validation else None
    while len(history) < params.epochs and not _has_stalled(history, params):
        _mine_hard_negatives(model, training, len(history), params, work)
        epoch = len(history) + 1
        patches = drawn_epoch(training, params.batch_size, params.steps_per_epoch, (seed, epoch), augment=True)
        numbers = _one_epoch(model, patches, held_out, history, params, work)
        if log_epoch:
            log_epoch(epoch, numbers)
    network = build(params.network, channels)
    network.set_weights(_read(work / "best.npz"))
    return network, pd.DataFrame(history)


def _one_epoch(
    model: keras.Model,
    patches: DrawnEpoch,
    held_out: DrawnEpoch | None,
    history: list[dict[str, Any]],
    params: TrainingParams,
    work: Path,
) -> dict[str, float]:
    """Train, validate and save one epoch; its metrics are returned and added to `history`."""
    epoch = len(history) + 1
    last_step = LastStepWeights()
    fitted = model.fit(patches, initial_epoch=epoch - 1, epochs=epoch, callbacks=[last_step], verbose=0, shuffle=False)
    if params.ema_momentum:
        recompute_statistics(model, patches)
    numbers = {name: float(values[0]) for name, values in fitted.history.items()}
    if held_out is not None:
        validated = model.evaluate(held_out, return_dict=True, verbose=0)
        numbers |= {f"val_{name}": float(value) for name, value in validated.items()}
    numbers["learning_rate"] = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
    history.append({"epoch": epoch, **numbers})
    if held_out is None or _best_so_far(history, params) == epoch:
        _save_best(model, work)
    last_step.restore()
    _save_epoch(model, history, work)
    return numbers


def compiled(channels: int, params: TrainingParams) -> keras.Model:
    """Build and compile the network with its optimiser, loss and metric."""
    model = build(params.network, channels)
    for layer in _normalisations(model):
        layer.trainable = not params.frozen_normalisation
    model.compile(
        # Gradients are clipped, because an early batch of empty masks can make those of the Dice loss very large.
        optimizer=keras.optimizers.Adam(
            learning_rate(params.learning_rate, params.epochs * params.steps_per_epoch, params.warmup_share),
            clipnorm=1.0,
            use_ema=params.ema_momentum > 0,
            ema_momentum=params.ema_momentum,
        ),
        loss=DiceLoss(params.cross_entropy_weight, params.focal_gamma),
        metrics=[PooledDice()],
    )
    return model


class LastStepWeights(keras.callbacks.Callback):
    """Keeps the weights of the last step, because `fit` ends by replacing them with the optimiser's averages.

    They are copied. Keras' own `SwapEMAWeights` swaps by addition and subtraction on TensorFlow, which rounds.
    """

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002 - Keras' signature
        """Copy all weights, including the normalisation statistics."""
        self._weights = _copies(self.model)

    def restore(self) -> None:
        """Write the copy back to the model."""
        self.model.set_weights(self._weights)


def recompute_statistics(
    model: keras.Model, batches: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]
) -> None:
    """Recompute the statistics of batch normalisation for the averaged weights that `fit` has written to the model.

    The present statistics belong to the weights before averaging (Izmailov et al., "Averaging weights leads to wider
    optima and better generalization", UAI 2018, section 3.2). The new ones are the mean over the first
    `STATISTICS_BATCHES` batches.
    """
    # On JAX, weights and averages share memory here, and deleting one deletes the other.
    model.set_weights(_copies(model))
    layers = [layer for layer in _normalisations(model) if layer.trainable]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for index in range(min(STATISTICS_BATCHES, len(batches))):
        for layer in layers:
            layer.momentum = index / (index + 1)
        model(batches[index][0], training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def _normalisations(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


def _copies(model: keras.Model) -> list[NDArray[np.float32]]:
    return [np.array(weight) for weight in model.get_weights()]


def _mine_hard_negatives(
    model: keras.Model, training: PatchSampler | MixedSampler, epoch: int, params: TrainingParams, work: Path
) -> None:
    """Give the sampler the false positives of all mining epochs so far; on resume they come from the work folder.

    Earlier false positives are kept, because the network would find them again if it were no longer trained on them.
    """
    records = {mining: work / f"false_positives{mining}.npy" for mining in params.mining_epochs if mining <= epoch}
    if epoch in records and not records[epoch].exists():
        temporary = work / "false_positives.tmp.npy"
        network = InferenceNetwork(model, params.network)
        np.save(temporary, find_false_positives(network, training.mined_sets, training.roi))
        temporary.replace(records[epoch])
    if records:
        training.set_hard_negatives(np.unique(np.concatenate([np.load(record) for record in records.values()]), axis=0))


def drawn_epoch(
    sampler: PatchSampler | MixedSampler, batch_size: int, steps: int, seed: tuple[int, ...], *, augment: bool
) -> DrawnEpoch:
    """One epoch of batches of images (N, P, P, C) and masks (N, P, P, 1)."""
    return DrawnEpoch(lambda random: sampler.batch(random, batch_size, augment), steps, seed)


def _validation_set(validation: PatchSampler, params: TrainingParams, seed: int) -> DrawnEpoch:
    steps = -(-params.validation_patches // params.batch_size)
    return drawn_epoch(validation, params.batch_size, steps, (seed, 0), augment=False)


def best_epoch(val_losses: Sequence[float], mining_epochs: Sequence[int]) -> int:
    """Epoch (from 1) with the lowest validation loss since hard negatives were last mined.

    Earlier epochs do not count. After mining, the network finds fewer nodules and far fewer false positives. The
    validation patches are drawn around nodules, so they show the loss but not the gain, and the validation loss rises
    slightly with each mining. An epoch before it would wrongly appear better.
    """
    mined = max((epoch for epoch in mining_epochs if epoch < len(val_losses)), default=0)
    return mined + int(np.argmin(val_losses[mined:])) + 1


def _best_so_far(history: list[dict[str, Any]], params: TrainingParams) -> int:
    return best_epoch([row["val_loss"] for row in history], params.mining_epochs)


def _has_stalled(history: list[dict[str, Any]], params: TrainingParams) -> bool:
    if not history or "val_loss" not in history[-1]:
        return False
    return len(history) - _best_so_far(history, params) >= params.patience


def _resume(model: keras.Model, work: Path) -> list[dict[str, Any]]:
    """Restore weights, optimiser and history of the last complete epoch, if there is one."""
    work.mkdir(parents=True, exist_ok=True)
    record = work / "history.json"
    if not record.exists():
        return []
    history = json.loads(record.read_text())
    model.optimizer.build(model.trainable_variables)
    for variable, value in zip(_state(model), _read(work / f"epoch{len(history)}.npz"), strict=True):
        variable.assign(value)
    return history


def _save_best(model: keras.Model, work: Path) -> None:
    temporary = work / "new_best.npz"
    _write(temporary, model.weights)
    temporary.replace(work / "best.npz")


def _save_epoch(model: keras.Model, history: list[dict[str, Any]], work: Path) -> None:
    """Write the state before the history that refers to it, so that an interruption loses at most one epoch."""
    epoch = len(history)
    _write(work / f"epoch{epoch}.npz", _state(model))
    temporary = work / "history.json.tmp"
    temporary.write_text(json.dumps(history))
    temporary.replace(work / "history.json")
    (work / f"epoch{epoch - 1}.npz").unlink(missing_ok=True)


def _state(model: keras.Model) -> list[keras.Variable]:
    return [*model.weights, *model.optimizer.variables]


def _write(file: Path, variables: Sequence[keras.Variable]) -> None:
    """Write plain arrays; Keras' own format takes a third of a second per file, with two files per epoch."""
    np.savez(file, *(variable.numpy() for variable in variables))


def _read(file: Path) -> list[NDArray[Any]]:
    with np.load(file) as stored:
        return [stored[name] for name in stored.files]
