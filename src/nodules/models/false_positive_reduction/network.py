"""A small 3-D network: a cube around a candidate in, the log-odds that a nodule lies in its middle out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import keras
from annotated_types import Ge, Gt, Lt
from keras import layers

BATCH_MOMENTUM = 0.9  # as in the U-Net: Keras' 0.99 takes longer to settle than the whole training


@dataclass(frozen=True)
class CubeNetworkParams:
    """Shape of the network.

    Attributes
    ----------
    filters : int
        Filters of the first convolution; each halving of the grid doubles them.
    dropout : float
        Share of the hidden units that are silent in a training step.
    """

    filters: Annotated[int, Gt(0)]
    dropout: Annotated[float, Ge(0), Lt(1)]


def build(params: CubeNetworkParams, size_px: int) -> keras.Model:
    """Uncompiled network (N, size_px, size_px, size_px, 1) -> (N, 1) float32 log-odds.

    Strides in place of pooling, and the first at once: a convolution on the full grid would cost more than all the
    others together. The place of a structure is kept until the dense layer, since a vessel that passes beside the
    middle is no nodule in it.
    """
    cube = keras.Input((size_px, size_px, size_px, 1), name="cube")
    x = _convolution(cube, params.filters, 4, 2, "stem")
    x = _convolution(x, 2 * params.filters, 3, 1, "fine")
    x = _convolution(x, 4 * params.filters, 3, 2, "half")
    x = _convolution(x, 4 * params.filters, 3, 1, "middle")
    x = _convolution(x, 8 * params.filters, 3, 2, "coarse")
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(4 * params.filters, activation="relu", name="hidden")(x)
    x = layers.Dropout(params.dropout, name="dropout")(x)
    return keras.Model(cube, layers.Dense(1, dtype="float32", name="log_odds")(x), name="false_positive_reduction")


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
