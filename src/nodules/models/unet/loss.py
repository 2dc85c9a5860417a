"""Dice loss and Dice metric for the training of the U-Net; reports use `evaluation.dice`."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

# Pixels added to numerator and denominator. With the tutorial's 1, patches without a nodule have almost no gradient:
# once a few pixels are wrong, 1 / (a sum of hundreds) hardly depends on them. In patches with a nodule, 10 would reward
# an empty prediction, because a 4 mm nodule has only about 12 pixels of 1 mm.
SMOOTH_NODULE, SMOOTH_EMPTY = 1.0, 10.0


def soft_dice(y_true: Any, y_pred: Any) -> Any:
    """Dice of each sample of a batch (N, Y, X, 1), between 0 and 1, without thresholding.

    It is computed per sample because a Dice over the whole batch would depend mostly on the large nodules.
    """
    axes = tuple(range(1, len(y_pred.shape)))
    y_true, y_pred = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
    overlap = ops.sum(y_true * y_pred, axis=axes)
    total = ops.sum(y_true, axis=axes) + ops.sum(y_pred, axis=axes)
    smooth = ops.where(ops.any(y_true > 0, axis=axes), SMOOTH_NODULE, SMOOTH_EMPTY)
    return (2.0 * overlap + smooth) / (total + smooth)


@keras.saving.register_keras_serializable(package="nodules")
class DiceLoss(keras.losses.Loss):
    """1 - soft Dice of each sample, plus a share of its mean binary cross-entropy.

    Parameters
    ----------
    cross_entropy_weight : float
        0 for the tutorial's pure Dice. Cross-entropy has a gradient where Dice is flat, far from any nodule.
    focal_gamma : float
        Each pixel's cross-entropy is multiplied by (1 - p) ** focal_gamma, p being the probability given to its true
        class, so that the many pixels that are already right have little weight (Lin et al., "Focal loss for dense
        object detection", ICCV 2017). 0 for plain cross-entropy.
    """

    def __init__(
        self, cross_entropy_weight: float = 0.0, focal_gamma: float = 0.0, name: str = "dice_loss", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.cross_entropy_weight = cross_entropy_weight
        self.focal_gamma = focal_gamma

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of each sample (N,)."""
        loss = 1.0 - soft_dice(y_true, y_pred)
        if self.cross_entropy_weight:
            pixels = ops.mean(self._cross_entropy(ops.cast(y_true, y_pred.dtype), y_pred), axis=(1, 2))
            loss = loss + self.cross_entropy_weight * ops.cast(pixels, "float32")
        return loss

    def _cross_entropy(self, y_true: Any, y_pred: Any) -> Any:
        if self.focal_gamma == 0:
            return keras.losses.binary_crossentropy(y_true, y_pred)
        return keras.losses.binary_focal_crossentropy(y_true, y_pred, gamma=self.focal_gamma)

    def get_config(self) -> dict[str, Any]:
        """Configuration for saving."""
        weights = {"cross_entropy_weight": self.cross_entropy_weight, "focal_gamma": self.focal_gamma}
        return {**super().get_config(), **weights}


@keras.saving.register_keras_serializable(package="nodules")
class PooledDice(keras.metrics.Metric):
    """Dice over all pixels since the start of the epoch, thresholded at 0.5, so that false positives count in full."""

    def __init__(self, name: str = "dice", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.overlap = self.add_weight(name="overlap", initializer="zeros")
        self.total = self.add_weight(name="total", initializer="zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch; sample weights are not supported."""
        if sample_weight is not None:
            raise ValueError("PooledDice does not support sample_weight, expected None")
        truth = ops.cast(ops.cast(y_true, "float32") > 0.5, "float32")
        found = ops.cast(ops.cast(y_pred, "float32") > 0.5, "float32")
        self.overlap.assign_add(ops.sum(truth * found))
        self.total.assign_add(ops.sum(truth) + ops.sum(found))

    def result(self) -> Any:
        """2 |A n B| / (|A| + |B|), and 1 when both are empty."""
        return ops.where(self.total > 0, 2.0 * self.overlap / ops.maximum(self.total, 1.0), 1.0)
