"""The tutorial's U-Net: pairs of 3 x 3 convolutions and ReLU, pooling, nearest-neighbour enlargement, a sigmoid map.

`models.unet` has the same graph with other initial weights: here they are Keras' own, as the page leaves them, unless
the network is normalised.
"""

from __future__ import annotations

from typing import Any, Literal

import keras
from keras import layers

from nodules.models.unet.network import BATCH_MOMENTUM, OUTPUT_BIAS

Normalisation = Literal["none", "batch"]


def build(size_px: int, filters: int, depth: int, normalisation: Normalisation = "none") -> keras.Model:
    """Uncompiled network (N, S, S, 1) -> (N, S, S, 1) float32 probability; 7,846,081 weights at (512, 32, 4).

    Parameters
    ----------
    size_px : int
        Side S of its image.
    filters : int
        Of the first level; each level below has twice as many.
    depth : int
        Number of 2 x 2 poolings.
    normalisation : {"none", "batch"}
        After each convolution; a normalised network also begins with an answer of 0.05 in place of 0.5. The page has
        none, and begins by unlearning its 0.5.

    Raises
    ------
    ValueError
        If `depth` poolings do not divide `size_px` evenly.
    """
    if size_px % 2**depth:
        raise ValueError(f"{depth} poolings need a side divisible by {2**depth} px, got {size_px}")
    image = keras.Input((size_px, size_px, 1), name="image")
    x, skips = image, []
    for level in range(depth):
        x = _two_convolutions(x, filters * 2**level, normalisation, f"down{level}")
        skips.append(x)
        x = layers.MaxPooling2D(name=f"pool{level}")(x)
    x = _two_convolutions(x, filters * 2**depth, normalisation, "bottom")
    for level in reversed(range(depth)):
        x = layers.UpSampling2D(name=f"enlarged{level}")(x)
        x = layers.Concatenate(name=f"joined{level}")([x, skips[level]])
        x = _two_convolutions(x, filters * 2**level, normalisation, f"up{level}")
    bias = keras.initializers.Constant(OUTPUT_BIAS if normalisation == "batch" else 0.0)
    nodule = layers.Conv2D(1, 1, activation="sigmoid", bias_initializer=bias, name="nodule")(x)
    return keras.Model(image, nodule, name="tutorial_unet")


def shape_of(network: keras.Model) -> dict[str, Any]:
    """What `network.build` was called with."""
    normalised = any(isinstance(layer, layers.BatchNormalization) for layer in network.layers)
    return {
        "size_px": int(network.input_shape[1]),
        "filters": int(network.get_layer("down0_a").filters),
        "depth": sum(isinstance(layer, layers.MaxPooling2D) for layer in network.layers),
        "normalisation": "batch" if normalised else "none",
    }


def _two_convolutions(x: Any, filters: int, normalisation: Normalisation, name: str) -> Any:
    for which in "ab":
        x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_{which}")(x)
        if normalisation == "batch":
            x = layers.BatchNormalization(momentum=BATCH_MOMENTUM, name=f"{name}_{which}_norm")(x)
        x = layers.ReLU(name=f"{name}_{which}_relu")(x)
    return x
