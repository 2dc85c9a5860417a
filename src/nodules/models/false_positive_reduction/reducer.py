"""False-positive reduction by a trained 3-D network: from proposals of the U-Net to probabilities of a nodule."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import TypeAdapter

from nodules.imaging.candidates.probability_map import Segmentation
from nodules.imaging.network_input.cube import CubeParams, cut_cubes, network_input
from nodules.models.false_positive_reduction.network import CubeNetworkParams, build
from nodules.models.false_positive_reduction.score_fusion import IDENTITY, Fusion, evidence
from nodules.models.runtime import devices

SETTINGS_FILE = "false_positive_reduction.json"
WEIGHTS_FILE = "false_positive_reduction.weights.h5"
BATCH = 32


class FalsePositiveReducer:
    """Scores the U-Net's proposals with a 3-D network and fuses both scores; a `Scorer`.

    Parameters
    ----------
    network : keras.Model
        Trained network, as built by `network.build`.
    shape : CubeNetworkParams
        Settings with which it was built.
    cube : CubeParams
        Size and HU window of the cubes that it takes.
    fusion : Fusion
        Fusion of its log-odds with the U-Net's probabilities.
    """

    def __init__(
        self,
        network: keras.Model,
        shape: CubeNetworkParams,
        cube: CubeParams,
        fusion: Fusion = IDENTITY,
    ) -> None:
        self.network = network
        self.shape = shape
        self.cube = cube
        self.fusion = fusion

    def __call__(self, segmentation: Segmentation, proposals: pd.DataFrame) -> NDArray[np.float64]:
        """Probability (N,) that each row of `Proposals.table` is a nodule."""
        centres = proposals[["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=float)
        cubes = cut_cubes(segmentation.scan, centres, self.cube.side_mm, self.cube.size_px)
        return self.fusion.probability(evidence(self.log_odds(cubes), proposals))

    def log_odds(self, cubes_hu: NDArray[np.int16]) -> NDArray[np.float64]:
        """Log-odds (N,) by the network alone, for cubes (N, M, M, M) with M of at least `size_px` voxels.

        Raises
        ------
        ValueError
            If a result is not finite, because the training has diverged.
        """
        log_odds = np.empty(len(cubes_hu))
        for start in range(0, len(cubes_hu), BATCH):
            cubes = network_input(cubes_hu[start : start + BATCH], self.cube)
            # Batches always have the full size: a single shape is compiled, and no result depends on the batch size.
            batch = np.zeros((BATCH, *cubes.shape[1:]), dtype=np.float32)
            batch[: len(cubes)] = cubes
            found = keras.ops.convert_to_numpy(self.network.predict_on_batch(batch))
            log_odds[start : start + BATCH] = found[: len(cubes), 0]
        if not np.isfinite(log_odds).all():
            raise ValueError(
                "false-positive reduction: expected finite log-odds, got NaN or infinity, because the training has "
                "diverged; lower false_positive_reduction.learning_rate and train again"
            )
        return log_odds

    def save(self, folder: Path) -> None:
        """Write weights and settings; the bytes depend only on the network and its settings."""
        folder.mkdir(parents=True, exist_ok=True)
        self.network.save_weights(folder / WEIGHTS_FILE)
        settings = {"network": asdict(self.shape), "cube": asdict(self.cube), "fusion": asdict(self.fusion)}
        (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> FalsePositiveReducer:
        """Read what `save` wrote."""
        settings = json.loads((folder / SETTINGS_FILE).read_text())
        shape = TypeAdapter(CubeNetworkParams).validate_python(settings["network"])
        cube = TypeAdapter(CubeParams).validate_python(settings["cube"])
        fusion = TypeAdapter(Fusion).validate_python(settings["fusion"])
        devices.share_gpus()
        network = build(shape, cube.size_px)
        network.load_weights(folder / WEIGHTS_FILE)
        return cls(network, shape, cube, fusion)
