"""The tutorial's U-Net in Keras 3: two 3 x 3 convolutions a level, 2 x 2 pooling, skip connections, one sigmoid map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import keras
from annotated_types import Ge, Gt
from keras import layers

from nodules.models.runtime.normalisation import BatchNormalization

OUTPUT_BIAS = -3.0  # an untrained network predicts sigmoid(-3) = 0.05 everywhere, because nodules are rare

BATCH_MOMENTUM = 0.9  # with Keras' default of 0.99, the first validation is meaningful only after hundreds of steps


@dataclass(frozen=True)
class UNetParams:
    """Shape of the network.

    Attributes
    ----------
    filters : int
        Number of filters of the first level; each lower level has twice as many. The tutorial has 32.
    depth : int
        Number of pooling layers. The tutorial has 4.
    stem_stride : {1, 2}
        With 2, a strided 4 x 4 convolution halves the image before the first level, and a transposed convolution
        restores the full size at the end. The first level is the most expensive one and then costs a quarter. The
        tutorial has 1.
    normalisation : {"none", "batch"}
        Normalisation after each convolution. The tutorial has none. Group normalisation is not offered: its statistics
        come from the whole image, so whole slices would be treated differently from the patches used in training.
    residual : bool
        Whether the output of each pair of convolutions is added to their input, after a 1 x 1 convolution that matches
        the number of filters (He et al., "Deep residual learning for image recognition", CVPR 2016). The tutorial has
        no residual connections.
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
        Number of context slices of an input.
    upsampling : bool
        False for `inference.fold`: a convolution of an upsampled image is then a transposed convolution of the lower
        level. Such a network is not trained. It cannot be combined with `residual`.
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
    return keras.Model(image, _output(x, params.stem_stride), name="unet")


def _stem(image: Any, params: UNetParams) -> Any:
    """Input of the first level: the image, or the output of the strided stem convolution."""
    if params.stem_stride == 1:
        return image
    x = _convolution(image, params.filters, 2 * params.stem_stride, params, "stem", params.stem_stride)
    return layers.ReLU(name="stem_relu")(x)


def _output(x: Any, stem_stride: int) -> Any:
    """Probability of every pixel of the image, from the first level."""
    settings: dict[str, Any] = {
        "activation": "sigmoid",
        "bias_initializer": keras.initializers.Constant(OUTPUT_BIAS),
        "dtype": "float32",  # for every precision: in float16 the loss of a rare class underflows
        "name": "nodule",
    }
    if stem_stride == 1:
        return layers.Conv2D(1, 1, **settings)(x)
    return layers.Conv2DTranspose(1, stem_stride, stem_stride, **settings)(x)


def _two_convolutions(x: Any, filters: int, params: UNetParams, name: str, below: Any = None) -> Any:
    """Two convolutions of 3 x 3; the first also takes the lower level `below`, upsampled by 2, if it is given."""
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
