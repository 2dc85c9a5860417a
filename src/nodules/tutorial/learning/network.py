"""Architecture of the tutorial's U-Net: pairs of 3 x 3 convolutions and ReLU, pooling, upsampling and a sigmoid map.

`models.unet` builds the same graph with other initial weights. Here they are Keras' defaults, as in the tutorial,
unless the network has batch normalisation.
"""

from __future__ import annotations

from typing import Any, Literal

import keras
from keras import layers

from nodules.models.unet.network import BATCH_MOMENTUM, OUTPUT_BIAS

Normalisation = Literal["none", "batch"]


def build(size_px: int, filters: int, depth: int, normalisation: Normalisation = "none") -> keras.Model:
    """Build the uncompiled network, from images (N, S, S, 1) to probabilities (N, S, S, 1) float32.

    It has 7,846,081 weights at a size of 512, 32 filters and a depth of 4.

    Parameters
    ----------
    size_px : int
        Side S of the image.
    filters : int
        Number of filters of the first level; each deeper level has twice as many.
    depth : int
        Number of 2 x 2 poolings.
    normalisation : {"none", "batch"}
        Normalisation after each convolution. With "batch", the untrained network predicts 0.05 instead of 0.5. The
        tutorial has none, so its network must first learn to leave 0.5.

    Raises
    ------
    ValueError
        If `size_px` is not divisible by 2 ** `depth`.
    """
    if size_px % 2**depth:
        raise ValueError(f"{depth} poolings need a size_px divisible by {2**depth}, got {size_px}")
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


def architecture_of(network: keras.Model) -> dict[str, Any]:
    """Return the arguments of `build` that give this network's architecture."""
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
