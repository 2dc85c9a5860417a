"""Inference with a trained U-Net: layers folded into convolutions, one compiled function for each size of slice."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace
from itertools import product

import keras
import numpy as np
from numpy.typing import NDArray

from nodules.models.unet.network import UNetParams, build

COARSE_PX = 32  # sides are filled up to a multiple: fewer different sizes, each of which is compiled anew


class InferenceNetwork:
    """A folded copy of a trained U-Net, compiled once for each size of slice.

    One function for all sizes would be compiled once, but takes 180 ns a pixel in place of 140 (TensorFlow 2.21, 16
    filters, one thread with AMX). So every size has a function of its own, and every call the same number of slices.
    Several threads may ask at once.

    Parameters
    ----------
    network : keras.Model
        As built by `network.build`.
    params : UNetParams
        What it was built with.
    batch_size : int
        Slices in one call; bounds the memory.
    """

    def __init__(self, network: keras.Model, params: UNetParams, batch_size: int = 8) -> None:
        self.batch_size = batch_size
        self._folded = fold(network, params)
        self._step_px = max(params.side_multiple_px, COARSE_PX)
        self._by_sides: dict[tuple[int, ...], keras.Model] = {}
        self._building = threading.Lock()
        # On JAX, Keras lends the weights to each call and takes them back after it.
        self._asking = threading.Lock() if keras.backend.backend() == "jax" else contextlib.nullcontext()

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability (N, Y, X) of images (N, Y, X, C), each as if zeros lay below and right of it."""
        count, height, width, channels = images.shape
        sides = tuple(-(-side // self._step_px) * self._step_px for side in (height, width))
        network = self._compiled(sides)
        answers = np.empty((count, height, width), dtype=np.float32)
        for start in range(0, count, self.batch_size):
            shown = images[start : start + self.batch_size]
            batch = np.zeros((self.batch_size, *sides, channels), dtype=np.float32)
            batch[: len(shown), :height, :width] = shown
            with self._asking:
                answer = keras.ops.convert_to_numpy(network.predict_on_batch(batch))
            answers[start : start + self.batch_size] = answer[: len(shown), :height, :width, 0]
        return answers

    def _compiled(self, sides: tuple[int, ...]) -> keras.Model:
        with self._building:
            if sides not in self._by_sides:
                image = keras.Input((*sides, self._folded.input_shape[-1]))
                network = keras.Model(image, self._folded(image))
                network.make_predict_function()
                self._by_sides[sides] = network
            return self._by_sides[sides]


def fold(network: keras.Model, params: UNetParams) -> keras.Model:
    """Network without normalisation and upsampling that answers as a trained one does.

    Once trained, a normalisation multiplies each channel by a constant and adds another, which the convolution before
    it can do itself (Jacob et al., "Quantization and training of neural networks for efficient
    integer-arithmetic-only inference", CVPR 2018, section 3.2). And a 3 x 3 convolution over an image whose pixels are
    repeated twice along each axis meets each of them several times: it is a transposed convolution of 4 x 4 over the
    image as it was, with fewer products, and none for the pixels' copies (`residual` networks stay as they are here).

    Parameters
    ----------
    network : keras.Model
        As built by `network.build`.
    params : UNetParams
        What it was built with.

    Returns
    -------
    keras.Model
        A network of its own, which computes in the precision that Keras is set to at the time.
    """
    plain = replace(params, normalisation="none")
    folded = build(plain, network.input_shape[-1], upsampling=params.residual)
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
