"""A trained network made over into one that is only asked: the same answers in less time."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import keras
import numpy as np
from numpy.typing import NDArray

from nodules.models.unet import network as unet


def fold(network: keras.Model, params: unet.UNetParams) -> keras.Model:
    """Network without normalisation and upsampling that answers as a trained one does.

    Once trained, a normalisation multiplies each channel by a constant and adds another, which the convolution before
    it can do itself (Jacob et al., "Quantization and training of neural networks for efficient
    integer-arithmetic-only inference", CVPR 2018, section 3.2). And a 3 x 3 convolution over an image whose pixels are
    repeated twice along each axis meets each of them several times: it is a transposed convolution of 4 x 4 over the
    image as it was, with fewer products, and none for the pixels' copies (`residual` networks stay as they are here).

    Parameters
    ----------
    network : keras.Model
        As built by `unet.build`.
    params : UNetParams
        What it was built with.

    Returns
    -------
    keras.Model
        A network of its own, which computes in the precision that Keras is set to at the time.
    """
    plain = replace(params, normalisation="none")
    folded = unet.build(plain, network.input_shape[-1], upsampling=params.residual)
    norms = {layer.name: layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)}
    for layer in folded.layers:
        if not layer.weights:
            continue
        name = layer.name.replace("_below", "_conv")
        kernel, *bias = network.get_layer(name).get_weights()
        norm = norms.get(name.replace("_conv", "_norm"))
        if norm is not None:
            kernel, *bias = _normalised(kernel, norm)
        if layer.name.endswith("_below"):
            layer.set_weights([_over_repeated(kernel[:, :, : layer.kernel.shape[-1]])])
        else:  # of an image below and a skip connection it sees the second
            layer.set_weights([kernel[:, :, -layer.kernel.shape[2] :], *bias])
    return folded


def _normalised(kernel: NDArray[np.float32], norm: keras.layers.BatchNormalization) -> list[NDArray[np.float32]]:
    """Kernel (Y, X, channels, filters) and bias (filters,)."""
    gamma, beta, mean, variance = (weight.astype(np.float64) for weight in norm.get_weights())
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return [(kernel * scale).astype(np.float32), (beta - mean * scale).astype(np.float32)]


def _over_repeated(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Kernel (3, 3, channels, filters) as that of a transposed convolution, (4, 4, filters, channels), of stride 2."""
    wide = np.zeros((4, 4, *kernel.shape[2:]), dtype=np.float32)
    for y, x in product((0, 1), repeat=2):
        wide[y : y + 3, x : x + 3] += kernel
    return wide[::-1, ::-1].swapaxes(2, 3)
