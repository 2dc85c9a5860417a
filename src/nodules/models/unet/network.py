"""The tutorial's U-Net in Keras 3: two 3 x 3 convolutions a level, 2 x 2 pooling, skip connections, one sigmoid map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import keras
from annotated_types import Ge, Gt
from keras import layers

from nodules.models.runtime.normalisation import BatchNormalization

OUTPUT_BIAS = -3.0  # a fresh network answers sigmoid(-3) = 0.05 everywhere: nodules are rare

BATCH_MOMENTUM = 0.9  # Keras' 0.99 needs hundreds of steps before the first validation means anything


@dataclass(frozen=True)
class UNetParams:
    """Shape of the network.

    Attributes
    ----------
    filters : int
        Filters of the first level; every level below has twice as many. The tutorial's is 32.
    depth : int
        Number of poolings. The tutorial's is 4.
    stem_stride : {1, 2}
        With 2, a strided 4 x 4 convolution halves the image before the first level, and a transposed convolution
        restores the full size at the end. The first level is the most expensive one, and then costs a quarter. The
        tutorial's is 1.
    normalisation : {"none", "batch"}
        After each convolution. The tutorial has none. There is no group normalisation: it takes its statistics from
        the whole image, so that a slice would be answered otherwise than the patches the network was trained on.
    residual : bool
        Whether each pair of convolutions adds to its own input, brought to its number of filters by a 1 x 1
        convolution (He et al., "Deep residual learning for image recognition", CVPR 2016). The tutorial's do not.
    """

    filters: Annotated[int, Gt(0)]
    depth: Annotated[int, Ge(1)]
    stem_stride: Literal[1, 2]
    normalisation: Literal["none", "batch"]
    residual: bool

    @property
    def side_multiple_px(self) -> int:
        """Image height and width must be multiples of this number."""
        return int(self.stem_stride * 2**self.depth)


def build(params: UNetParams, channels: int, *, upsampling: bool = True) -> keras.Model:
    """Uncompiled network (N, Y, X, channels) -> (N, Y, X, 1) float32 probability.

    Y and X may be any multiple of `UNetParams.side_multiple_px`.

    Parameters
    ----------
    channels : int
        Context slices of an input.
    upsampling : bool
        False for the network of `folding`, which makes no upsampled images and has no use for being trained: there a
        convolution over one is a transposed convolution over the image below. Not with `residual`.
    """
    image = keras.Input((None, None, channels), name="image")
    x, skips = _stem(image, params), []
    for level in range(params.depth):
        x = _two_convolutions(x, params.filters * 2**level, params, f"down{level}")
        skips.append(x)
        x = layers.MaxPooling2D(name=f"pool{level}")(x)
    x = _two_convolutions(x, params.filters * 2**params.depth, params, "bottom")
    for level in reversed(range(params.depth)):
        below = None
        if upsampling:
            x = layers.UpSampling2D(name=f"up{level}")(x)
            x = layers.Concatenate(name=f"join{level}")([x, skips[level]])
        else:
            x, below = skips[level], x
        x = _two_convolutions(x, params.filters * 2**level, params, f"up{level}", below)
    return keras.Model(image, _answer(x, params.stem_stride), name="unet")


def _stem(image: Any, params: UNetParams) -> Any:
    """Input of the first level: the image, or the output of the strided stem convolution."""
    if params.stem_stride == 1:
        return image
    x = _convolution(image, params.filters, 2 * params.stem_stride, params, "stem", params.stem_stride)
    return layers.ReLU(name="stem_relu")(x)


def _answer(x: Any, stem_stride: int) -> Any:
    """Probability of every pixel of the image, from the first level."""
    settings: dict[str, Any] = {
        "activation": "sigmoid",
        "bias_initializer": keras.initializers.Constant(OUTPUT_BIAS),
        "dtype": "float32",  # always: in float16 the loss of a rare class underflows
        "name": "nodule",
    }
    if stem_stride == 1:
        return layers.Conv2D(1, 1, **settings)(x)
    return layers.Conv2DTranspose(1, stem_stride, stem_stride, **settings)(x)


def _two_convolutions(x: Any, filters: int, params: UNetParams, name: str, below: Any = None) -> Any:
    """The first also sees the image `below`, if there is one, twice as large."""
    shortcut = _convolution(x, filters, 1, params, f"{name}_shortcut") if params.residual else None
    x = _convolution(x, filters, 3, params, f"{name}_a")
    if below is not None:
        below = layers.Conv2DTranspose(filters, 4, 2, padding="same", use_bias=False, name=f"{name}_a_below")(below)
        x = layers.Add(name=f"{name}_a_sum")([x, below])
    x = layers.ReLU(name=f"{name}_a_relu")(x)
    x = _convolution(x, filters, 3, params, f"{name}_b")
    if shortcut is not None:
        x = layers.Add(name=f"{name}_sum")([x, shortcut])
    return layers.ReLU(name=f"{name}_b_relu")(x)


def _convolution(x: Any, filters: int, side: int, params: UNetParams, name: str, stride: int = 1) -> Any:
    normalise = params.normalisation == "batch"
    x = layers.Conv2D(
        filters,
        side,
        stride,
        padding="same",
        use_bias=not normalise,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    if normalise:
        x = BatchNormalization(momentum=BATCH_MOMENTUM, name=f"{name}_norm")(x)
    return x
