"""What the tutorial's network learns from: the page's Dice, soft, 1 added above and below, and cross-entropy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from nodules.tutorial.learning.settings import TutorialUnetDefects

SMOOTH = 1.0


def loss_of(defects: TutorialUnetDefects) -> Callable[[Any, Any], Any]:
    """Loss of a batch (N, S, S, 1): minus the Dice of its slices or of all of it, and their cross-entropy or not."""
    negative_dice = negative_dice_of_batch if defects.dice_flattened_over_batch else negative_dice_of_slices
    if defects.dice_without_cross_entropy:
        return negative_dice
    return lambda y_true, y_pred: negative_dice(y_true, y_pred) + cross_entropy_of_slices(y_true, y_pred)


def cross_entropy_of_slices(y_true: Any, y_pred: Any) -> Any:
    """Mean binary cross-entropy of the pixels of each slice (N,)."""
    return ops.mean(keras.losses.binary_crossentropy(ops.cast(y_true, y_pred.dtype), y_pred), axis=(1, 2))


def negative_dice_of_batch(y_true: Any, y_pred: Any) -> Any:
    """The defect `dice_flattened_over_batch`: one number for a batch (N, S, S, 1), -1 for a perfect answer."""
    return _negative_dice(y_true, y_pred, axes=tuple(range(len(y_pred.shape))))


def negative_dice_of_slices(y_true: Any, y_pred: Any) -> Any:
    """A number for each slice (N,) of a batch (N, S, S, 1), -1 for a perfect answer."""
    return _negative_dice(y_true, y_pred, axes=tuple(range(1, len(y_pred.shape))))


def _negative_dice(y_true: Any, y_pred: Any, axes: tuple[int, ...]) -> Any:
    y_true = ops.cast(y_true, y_pred.dtype)
    overlap = ops.sum(y_true * y_pred, axis=axes)
    total = ops.sum(y_true, axis=axes) + ops.sum(y_pred, axis=axes)
    return -(2.0 * overlap + SMOOTH) / (total + SMOOTH)
