"""3-D network for false-positive reduction: from a cube around a candidate to the log-odds of a nodule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import keras
from annotated_types import Ge, Gt, Lt
from keras import layers

BATCH_MOMENTUM = 0.9  # as in the U-Net: with Keras' default of 0.99, the statistics lag behind in a short training


@dataclass(frozen=True)
class CubeNetworkParams:
    """Shape of the network.

    Attributes
    ----------
    filters : int
        Number of filters of the first convolution; each later level has twice as many as the level before.
    dropout : float
        Share of the hidden units that are set to 0 in a training step.
    """

    filters: Annotated[int, Gt(0)]
    dropout: Annotated[float, Ge(0), Lt(1)]


def build(params: CubeNetworkParams, size_px: int) -> keras.Model:
    """Uncompiled network (N, size_px, size_px, size_px, 1) -> (N, 1) float32 log-odds.

    The network uses strides instead of pooling. The first convolution is strided, because one on the full grid would
    cost more than all others together. There is no global pooling before the dense layer: the position of a structure
    matters, since a vessel beside the centre is not a nodule at the centre.
    """
    cube = keras.Input((size_px, size_px, size_px, 1), name="cube")
    x = convolution(cube, params.filters, 4, 2, "stem")
    x = convolution(x, 2 * params.filters, 3, 1, "fine")
    x = convolution(x, 4 * params.filters, 3, 2, "half")
    x = convolution(x, 4 * params.filters, 3, 1, "middle")
    x = convolution(x, 8 * params.filters, 3, 2, "coarse")
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(4 * params.filters, activation="relu", name="hidden")(x)
    x = layers.Dropout(params.dropout, name="dropout")(x)
    return keras.Model(cube, layers.Dense(1, dtype="float32", name="log_odds")(x), name="false_positive_reduction")


def convolution(x: Any, filters: int, size: int, stride: int, name: str) -> Any:
    """3-D convolution of `size` voxels, batch normalisation and ReLU."""
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
