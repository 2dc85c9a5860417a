"""A trained U-Net with the preprocessing it was trained on: lung region in, nodule probability out."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from nodules.imaging.lung_roi import LungRoi, LungRoiParams, network_input
from nodules.imaging.slice_context import ContextParams
from nodules.models import devices, unet
from nodules.scans.segmentation_store import PROBABILITY_STEPS

SETTINGS_FILE = "segmenter.json"
WEIGHTS_FILE = "unet.weights.h5"


class Segmenter:
    """Slice-by-slice segmentation of a lung region.

    Parameters
    ----------
    network : keras.Model
        As built by `unet.build`.
    shape : UNetParams
        What it was built with.
    roi, context : LungRoiParams, ContextParams
        Preprocessing that it was trained on.
    batch_size : int
        Slices in one call; bounds the memory.
    """

    def __init__(
        self,
        network: keras.Model,
        shape: unet.UNetParams,
        roi: LungRoiParams,
        context: ContextParams,
        batch_size: int = 8,
    ) -> None:
        self.network = network
        self.shape = shape
        self.roi = roi
        self.context = context
        self.batch_size = batch_size

    def predict(self, region: LungRoi) -> NDArray[np.float32]:
        """Nodule probability (Z, Y, X) in the steps of `segmentation_store`; 0 where nothing is visible.

        Raises
        ------
        ValueError
            If the network answers something that is no number, as one does whose training diverged.
        """
        probability = np.zeros(region.scan.shape_zyx, dtype=np.float32)
        slices = np.flatnonzero(region.visible_zyx.any(axis=(1, 2)))
        height, width = probability.shape[1:]
        for start in range(0, len(slices), self.batch_size):
            chosen = slices[start : start + self.batch_size]
            image = unet.pad(network_input(region, chosen.tolist(), self.roi, self.context), self.shape.depth)
            answer = keras.ops.convert_to_numpy(self.network.predict_on_batch(image))
            probability[chosen] = answer[:, :height, :width, 0]
        probability[~region.visible_zyx] = 0
        if not np.isfinite(probability).all():
            raise ValueError("the network answers NaN: its training diverged; lower unet.learning_rate and train again")
        # As on disk, so that a stored map and a fresh one give the same features.
        return np.rint(probability * PROBABILITY_STEPS).astype(np.float32) / np.float32(PROBABILITY_STEPS)

    def save(self, folder: Path) -> None:
        """Write weights and settings; the same network gives the same bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        self.network.save_weights(folder / WEIGHTS_FILE)
        settings = {"network": asdict(self.shape), "lung_roi": asdict(self.roi), "context": asdict(self.context)}
        (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Segmenter:
        """Read what `save` wrote."""
        settings = json.loads((folder / SETTINGS_FILE).read_text())
        shape = TypeAdapter(unet.UNetParams).validate_python(settings["network"])
        roi = TypeAdapter(LungRoiParams).validate_python(settings["lung_roi"])
        context = TypeAdapter(ContextParams).validate_python(settings["context"])
        devices.share_gpus()
        network = unet.build(shape, context.slices)
        network.load_weights(folder / WEIGHTS_FILE)
        return cls(network, shape, roi, context)
