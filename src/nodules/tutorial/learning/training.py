"""Training of the tutorial's U-Net, and its loss functions: constant learning rate, the best epoch is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import ops
from numpy.typing import NDArray

from nodules.models.runtime import devices
from nodules.models.runtime.epochs import PrefetchedBatches, build_for_batch
from nodules.models.unet.loss import PooledDice
from nodules.tutorial.learning.network import build
from nodules.tutorial.learning.settings import TutorialUnetDefects, TutorialUnetParams
from nodules.tutorial.learning.unet import TutorialUnet, standardise
from nodules.tutorial.steps.lung_normalisation import pooled, scale_of

SMOOTH = 1.0
"""Added to numerator and denominator of the Dice, so that an empty slice has one."""

Images = NDArray[np.float32]
EpochLog = Callable[[int, dict[str, float]], None]


def train(
    images: Images,
    masks: Images,
    validation_images: Images,
    validation_masks: Images,
    params: TutorialUnetParams,
    seed: int,
    log_epoch: EpochLog | None = None,
) -> tuple[TutorialUnet, pd.DataFrame]:
    """Train all epochs and keep the best; equal arrays, settings and seed give equal weights.

    Parameters
    ----------
    images, masks : (N, S, S) ndarray of float32
        Prepared training slices, at least one, and their reference masks.
    validation_images, validation_masks : (M, S, S) ndarray of float32
        The same for validation patients. They may be empty only with the defect `selected_on_training_loss`.
    params : TutorialUnetParams
        Architecture, training and defects.
    seed : int
        Seed of the initial weights and of the order of slices.
    log_epoch : callable, optional
        Called after each epoch with its number (from 1) and its metrics.

    Returns
    -------
    unet : TutorialUnet
        The network with the weights of the epoch with the lowest validation loss; with the defect
        `selected_on_training_loss`, the lowest training loss.
    history : DataFrame
        One row per epoch: ``epoch``; ``loss``, the cross-entropy less the soft Dice; ``dice``, of thresholded
        predictions, pooled over all slices; ``val_loss`` and ``val_dice``, the same for the validation slices, if there
        are any.

    Raises
    ------
    ValueError
        If there are no slices, slices are not square, or images and masks differ in shape.
    """
    _check("training", images, masks, required=True)
    on_training_loss = params.defects.selected_on_training_loss
    _check("validation", validation_images, validation_masks, required=not on_training_loss)
    devices.prepare(seed, "float32")
    scale = pooled([scale_of(np.asarray(image, dtype=np.float64)) for image in images])
    mean, deviation = scale.mean, scale.deviation or 1.0
    model = _compiled(images.shape[1], params)
    validation = _Batches(validation_images, validation_masks, (mean, deviation), params.batch_size)
    build_for_batch(model, _Batches(images, masks, (mean, deviation), params.batch_size)[0])
    history: list[dict[str, float]] = []
    criterion = "loss" if on_training_loss else "val_loss"
    best, weights = np.inf, model.get_weights()
    for epoch in range(1, params.epochs + 1):
        order = np.random.default_rng([seed, epoch]).permutation(len(images))
        numbers = _one_epoch(model, _Batches(images, masks, (mean, deviation), params.batch_size, order), validation)
        history.append({"epoch": epoch, **numbers})
        if numbers[criterion] < best:
            best, weights = numbers[criterion], model.get_weights()
        if log_epoch:
            log_epoch(epoch, numbers)
    network = _network(images.shape[1], params)  # a fresh network, without the optimiser's state
    network.set_weights(weights)
    standardised = not params.defects.test_images_not_standardised
    return TutorialUnet(network, mean, deviation, standardised), pd.DataFrame(history)


class _Batches(PrefetchedBatches):
    """Standardised batches (N, S, S, 1), made one at a time so that the arrays are not held in memory twice."""

    def __init__(
        self,
        images: Images,
        masks: Images,
        scale: tuple[float, float],
        batch_size: int,
        order: NDArray[np.int64] | None = None,
    ) -> None:
        super().__init__()
        self._images, self._masks, self._scale, self._batch_size = images, masks, scale, batch_size
        self._order = np.arange(len(images)) if order is None else order

    def __len__(self) -> int:
        """Return the number of batches; the last may be smaller."""
        return -(-len(self._order) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[Images, Images]:
        """Return one batch of images and masks."""
        rows = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        return standardise(self._images[rows, ..., None], *self._scale), self._masks[rows, ..., None]


def _compiled(size_px: int, params: TutorialUnetParams) -> keras.Model:
    model = _network(size_px, params)
    model.compile(
        optimizer=keras.optimizers.Adam(params.learning_rate), loss=loss_of(params.defects), metrics=[PooledDice()]
    )
    return model


def _network(size_px: int, params: TutorialUnetParams) -> keras.Model:
    return build(size_px, params.filters, params.depth, params.normalisation)


def _one_epoch(model: keras.Model, training: _Batches, validation: _Batches) -> dict[str, float]:
    fitted = model.fit(training, shuffle=False, verbose=0)
    numbers = {name: float(fitted.history[name][0]) for name in ("loss", "dice")}
    if len(validation):
        judged = model.evaluate(validation, return_dict=True, verbose=0)
        numbers |= {f"val_{name}": float(judged[name]) for name in ("loss", "dice")}
    return numbers


def _check(what: str, images: Images, masks: Images, *, required: bool) -> None:
    if images.shape != masks.shape:
        raise ValueError(f"{what} images and masks must have the same shape, got {images.shape} and {masks.shape}")
    if required and not len(images):
        raise ValueError(
            f"expected at least one {what} slice, got none; see split and nodule_free_slices in params.yaml"
        )
    if len(images) and (images.ndim != 3 or images.shape[1] != images.shape[2]):
        raise ValueError(f"{what} images must have the shape (N, S, S), got {images.shape}")


def loss_of(defects: TutorialUnetDefects) -> Callable[[Any, Any], Any]:
    """Return the loss function of a batch (N, S, S, 1): negative Dice, plus cross-entropy unless a defect omits it."""
    negative_dice = negative_dice_of_batch if defects.dice_flattened_over_batch else negative_dice_of_slices
    if defects.dice_without_cross_entropy:
        return negative_dice
    return lambda y_true, y_pred: negative_dice(y_true, y_pred) + cross_entropy_of_slices(y_true, y_pred)


def cross_entropy_of_slices(y_true: Any, y_pred: Any) -> Any:
    """Mean binary cross-entropy over the pixels of each slice (N,)."""
    return ops.mean(keras.losses.binary_crossentropy(ops.cast(y_true, y_pred.dtype), y_pred), axis=(1, 2))


def negative_dice_of_batch(y_true: Any, y_pred: Any) -> Any:
    """Negative soft Dice of a whole batch (N, S, S, 1), the defect `dice_flattened_over_batch`; -1 is perfect."""
    return _negative_dice(y_true, y_pred, axes=tuple(range(len(y_pred.shape))))


def negative_dice_of_slices(y_true: Any, y_pred: Any) -> Any:
    """Negative soft Dice (N,) of each slice of a batch (N, S, S, 1); -1 is perfect."""
    return _negative_dice(y_true, y_pred, axes=tuple(range(1, len(y_pred.shape))))


def _negative_dice(y_true: Any, y_pred: Any, axes: tuple[int, ...]) -> Any:
    y_true = ops.cast(y_true, y_pred.dtype)
    overlap = ops.sum(y_true * y_pred, axis=axes)
    total = ops.sum(y_true, axis=axes) + ops.sum(y_pred, axis=axes)
    return -(2.0 * overlap + SMOOTH) / (total + SMOOTH)
