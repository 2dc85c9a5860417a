"""The tutorial's trained U-Net: prediction, saving and loading, with the grey scale of its training images."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from nodules.models.runtime import devices
from nodules.tutorial.learning.network import architecture_of, build

SETTINGS_FILE, WEIGHTS_FILE = "tutorial_unet.json", "tutorial_unet.weights.h5"
BATCH_SIZE = 8  # slices per call; limits the memory needed


@dataclass(frozen=True)
class TutorialUnet:
    """A trained network that predicts nodule probability on prepared slices.

    Attributes
    ----------
    network : keras.Model
        A network from `network.build`.
    mean, deviation : float
        Mean and standard deviation of all pixels of the training images.
    standardised_at_test : bool
        Whether images are standardised with `mean` and `deviation` before prediction, as they were in training. False
        is the defect `test_images_not_standardised`.
    """

    network: keras.Model
    mean: float
    deviation: float
    standardised_at_test: bool = True

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict the nodule probability of prepared slices.

        Parameters
        ----------
        images : (N, S, S) ndarray of float32
            Images from `PreparedScan.image`.

        Returns
        -------
        (N, S, S) ndarray of float32
            Probabilities from 0 to 1.

        Raises
        ------
        ValueError
            If the images do not have the network's size, or a prediction is not finite because the training diverged.
        """
        wanted = self.network.input_shape[1:3]
        if images.ndim != 3 or images.shape[1:] != wanted:
            raise ValueError(f"images must have the shape (N, {wanted[0]}, {wanted[1]}), got {images.shape}")
        answers = np.empty(images.shape, dtype=np.float32)
        for start in range(0, len(images), BATCH_SIZE):
            batch = images[start : start + BATCH_SIZE, ..., None]
            shown = standardise(batch, self.mean, self.deviation) if self.standardised_at_test else batch
            answer = self.network.predict_on_batch(np.asarray(shown, dtype=np.float32))
            answers[start : start + BATCH_SIZE] = keras.ops.convert_to_numpy(answer)[..., 0]
        if not np.isfinite(answers).all():
            raise ValueError("the network predicts NaN: its training diverged; lower the learning rate and train again")
        return answers

    def save(self, folder: Path) -> None:
        """Write weights and settings into a folder; equal networks give equal bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        self.network.save_weights(folder / WEIGHTS_FILE)
        written = {
            **architecture_of(self.network),
            "mean": self.mean,
            "deviation": self.deviation,
            "standardised_at_test": self.standardised_at_test,
        }
        (folder / SETTINGS_FILE).write_text(json.dumps(written, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> TutorialUnet:
        """Read a network that `save` wrote.

        Raises
        ------
        ValueError
            If the folder holds no such network.
        """
        if not (folder / SETTINGS_FILE).is_file():
            raise ValueError(f"{folder} holds no network of the tutorial: {SETTINGS_FILE} is missing; train one first")
        written = json.loads((folder / SETTINGS_FILE).read_text())
        devices.share_gpus()
        network = build(*(written.pop(name) for name in ("size_px", "filters", "depth", "normalisation")))
        network.load_weights(folder / WEIGHTS_FILE)
        return cls(network, **written)


def standardise(images: NDArray[np.float32], mean: float, deviation: float) -> NDArray[np.float32]:
    """Subtract `mean` from images and divide them by `deviation`."""
    return (images - np.float32(mean)) / np.float32(deviation)
