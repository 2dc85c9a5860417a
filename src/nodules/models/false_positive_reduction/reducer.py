"""A trained 3-D network and its fusion: a proposal in, the probability that it is a nodule out."""

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
    """The second look at the U-Net's proposals; a `Scorer`.

    Parameters
    ----------
    network : keras.Model
        As built by `network.build`.
    shape : CubeNetworkParams
        What it was built with.
    cube : CubeParams
        What it sees.
    combine : Fusion
        How its answer and the U-Net's become one.
    """

    def __init__(
        self,
        network: keras.Model,
        shape: CubeNetworkParams,
        cube: CubeParams,
        combine: Fusion = IDENTITY,
    ) -> None:
        self.network = network
        self.shape = shape
        self.cube = cube
        self.combine = combine

    def __call__(self, segmentation: Segmentation, proposals: pd.DataFrame) -> NDArray[np.float64]:
        """Probability (N,) for the rows of `Proposals.table`."""
        centres = proposals[["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=float)
        cubes = cut_cubes(segmentation.scan, centres, self.cube.side_mm, self.cube.size_px)
        return self.combine.probability(evidence(self.log_odds(cubes), proposals))

    def log_odds(self, cubes_hu: NDArray[np.int16]) -> NDArray[np.float64]:
        """The network's own answer (N,) to cubes (N, M, M, M) of at least `size_px` voxels a side.

        Raises
        ------
        ValueError
            If the network answers something that is no number, as one does whose training diverged.
        """
        answer = np.empty(len(cubes_hu))
        for start in range(0, len(cubes_hu), BATCH):
            cubes = network_input(cubes_hu[start : start + BATCH], self.cube)
            # always whole batches: one shape to compile, and no answer depends on how many came with it
            batch = np.zeros((BATCH, *cubes.shape[1:]), dtype=np.float32)
            batch[: len(cubes)] = cubes
            found = keras.ops.convert_to_numpy(self.network.predict_on_batch(batch))
            answer[start : start + BATCH] = found[: len(cubes), 0]
        if not np.isfinite(answer).all():
            raise ValueError(
                "the reducer answers NaN: its training diverged; lower false_positive_reduction.learning_rate"
            )
        return answer

    def save(self, folder: Path) -> None:
        """Write weights and settings; the same reducer gives the same bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        self.network.save_weights(folder / WEIGHTS_FILE)
        settings = {"network": asdict(self.shape), "cube": asdict(self.cube), "fusion": asdict(self.combine)}
        (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> FalsePositiveReducer:
        """Read what `save` wrote."""
        settings = json.loads((folder / SETTINGS_FILE).read_text())
        shape = TypeAdapter(CubeNetworkParams).validate_python(settings["network"])
        cube = TypeAdapter(CubeParams).validate_python(settings["cube"])
        combine = TypeAdapter(Fusion).validate_python(settings["fusion"])
        devices.share_gpus()
        network = build(shape, cube.size_px)
        network.load_weights(folder / WEIGHTS_FILE)
        return cls(network, shape, cube, combine)
