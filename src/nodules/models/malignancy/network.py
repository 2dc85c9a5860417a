"""3-D network that rates a nodule: from a cube around its centre to the scores that LIDC's readers would give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import keras
from annotated_types import Ge, Gt, Lt
from keras import layers

from nodules.models.false_positive_reduction.network import BATCH_MOMENTUM

TARGETS = (
    "malignant",
    "malignancy",
    "subtlety",
    "sphericity",
    "margin",
    "lobulation",
    "spiculation",
    "texture",
    "calcification",
    "diameter",
)
"""What the network learns at once, in the order of its outputs; the first is the question, the others help it learn."""


@dataclass(frozen=True)
class RatingNetworkParams:
    """Shape of the network.

    Attributes
    ----------
    filters : int
        Number of filters of the first convolution; the last has eight times as many.
    dropout : float
        Share of the pooled features that are set to 0 in a training step.
    """

    filters: Annotated[int, Gt(0)]
    dropout: Annotated[float, Ge(0), Lt(1)]


def build(params: RatingNetworkParams, size_px: int) -> keras.Model:
    """Uncompiled network (N, size_px, size_px, size_px, 1) -> (N, len(TARGETS)) float32 log-odds.

    The first convolution is strided, because one on the full grid would cost more than all others together.
    """
    cube = keras.Input((size_px, size_px, size_px, 1), name="cube")
    x = _convolution(cube, params.filters, 4, 2, "stem")
    x = _convolution(x, 2 * params.filters, 3, 1, "fine")
    x = _convolution(x, 4 * params.filters, 3, 2, "half")
    x = _convolution(x, 4 * params.filters, 3, 1, "middle")
    x = _convolution(x, 8 * params.filters, 3, 2, "coarse")
    x = layers.Flatten(name="flat")(x)
    x = layers.Dropout(params.dropout, name="dropout")(x)
    x = layers.Dense(4 * params.filters, activation="relu", name="hidden")(x)
    return keras.Model(cube, layers.Dense(len(TARGETS), dtype="float32", name="log_odds")(x), name="malignancy")


def _convolution(x: Any, filters: int, size: int, stride: int, name: str) -> Any:
    x = layers.Conv3D(
        filters,
        size,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    x = layers.BatchNormalization(momentum=BATCH_MOMENTUM, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
