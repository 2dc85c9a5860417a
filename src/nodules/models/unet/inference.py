"""A trained U-Net that is only asked: slices of any number and size in, their maps out."""

from __future__ import annotations

import contextlib
import threading

import keras
import numpy as np
from numpy.typing import NDArray

from nodules.models.unet import network as unet
from nodules.models.unet.folding import fold

COARSE_PX = 32  # sides are filled up to a multiple: fewer different sizes, each of which is compiled anew


class AskedNetwork:
    """A folded copy of a trained U-Net, compiled once for each size of slice.

    One function for all sizes would be compiled once, but takes 180 ns a pixel in place of 140 (TensorFlow 2.21, 16
    filters, one thread with AMX). So every size has a function of its own, and every call the same number of slices.
    Several threads may ask at once.

    Parameters
    ----------
    network : keras.Model
        As built by `unet.build`.
    params : UNetParams
        What it was built with.
    batch_size : int
        Slices in one call; bounds the memory.
    """

    def __init__(self, network: keras.Model, params: unet.UNetParams, batch_size: int = 8) -> None:
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
