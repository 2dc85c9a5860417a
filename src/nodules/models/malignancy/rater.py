"""Probability that LIDC's readers would rate a nodule as malignant, from the scan and the nodule's centre."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import keras
import numpy as np
from annotated_types import Ge, Le
from numpy.typing import ArrayLike, NDArray
from pydantic import TypeAdapter
from scipy.special import expit

from nodules.imaging.geometry.volume import Volume
from nodules.imaging.network_input.cube import CubeParams, cut_cubes, network_input
from nodules.models.cancer.calibration import Calibration
from nodules.models.malignancy.network import TARGETS, RatingNetworkParams, build
from nodules.models.runtime import devices

SETTINGS_FILE = "malignancy.json"
WEIGHTS_FILE = "malignancy_{}.weights.h5"
BATCH = 16
FLIPS = (*itertools.chain.from_iterable(itertools.combinations((1, 2, 3), axes) for axes in range(4)),)
"""Axes of a batch of cubes that are flipped together; the first is none."""


@dataclass(frozen=True)
class RaterSettings:
    """Everything about a rater but its weights.

    Attributes
    ----------
    network : RatingNetworkParams
        Shape of each network.
    cube : CubeParams
        Size and HU window of the cubes.
    flips : int
        Number of mirror images of each cube whose log-odds are averaged, at most 8.
    """

    network: RatingNetworkParams
    cube: CubeParams
    flips: Annotated[int, Ge(1), Le(len(FLIPS))]


class MalignancyRater:
    """Rates nodules by the mean log-odds of several networks, calibrated.

    The rating is what LIDC's readers thought of a nodule on this scan, not what pathology found.

    Parameters
    ----------
    networks : sequence of keras.Model
        Trained networks, at least one, as built by `network.build`.
    settings : RaterSettings
        Their settings.
    calibration : Calibration
        From the probability by the mean log-odds to the calibrated probability.
    """

    def __init__(self, networks: Sequence[keras.Model], settings: RaterSettings, calibration: Calibration) -> None:
        if not networks:
            raise ValueError("malignancy: expected at least one network, got none")
        self.networks = list(networks)
        self.settings = settings
        self.calibration = calibration

    def __call__(self, scan: Volume, centres_world_xyz: ArrayLike) -> NDArray[np.float64]:
        """Rate the nodules at these centres.

        Parameters
        ----------
        scan : Volume
            HU, on any grid.
        centres_world_xyz : (N, 3) array-like of float
            Centre of each nodule in world mm. There may be none.

        Returns
        -------
        (N,) ndarray of float64
            Calibrated probability that the readers' mean rating of malignancy is above 3.

        Raises
        ------
        ValueError
            If the centres are not N finite points, the scan holds NaN or infinity, or the networks return them.
        """
        if not np.isfinite(scan.voxels_zyx).all():
            raise ValueError("malignancy: expected a scan of finite HU, got NaN or infinity")
        cube = self.settings.cube
        return self.rate(cut_cubes(scan, centres_world_xyz, cube.side_mm, cube.size_px))

    def rate(self, cubes_hu: NDArray[np.int16]) -> NDArray[np.float64]:
        """Calibrated probability (N,) for cubes (N, M, M, M) with M of at least `size_px` voxels."""
        return self.calibration.of(expit(self.log_odds(cubes_hu)[:, 0]))

    def log_odds(self, cubes_hu: NDArray[np.int16]) -> NDArray[np.float64]:
        """Mean log-odds (N, len(TARGETS)) of all networks and flips, not calibrated, for cubes as in `rate`.

        Raises
        ------
        ValueError
            If a result is not finite, because the training has diverged.
        """
        found = [self._batch(cubes_hu[start : start + BATCH]) for start in range(0, len(cubes_hu), BATCH)]
        log_odds = np.concatenate([np.empty((0, len(TARGETS))), *found])
        if not np.isfinite(log_odds).all():
            raise ValueError(
                "malignancy: expected finite log-odds, got NaN or infinity, because the training has diverged; lower "
                "malignancy.learning_rate and train again"
            )
        return log_odds

    def _batch(self, cubes_hu: NDArray[np.int16]) -> NDArray[np.float64]:
        cubes = network_input(cubes_hu, self.settings.cube)
        # Batches always have the full size: a single shape is compiled, and no result depends on the batch size.
        batch = np.zeros((BATCH, *cubes.shape[1:]), dtype=np.float32)
        batch[: len(cubes)] = cubes
        answers = [
            keras.ops.convert_to_numpy(network.predict_on_batch(np.ascontiguousarray(np.flip(batch, axes)))["log_odds"])
            for network in self.networks
            for axes in FLIPS[: self.settings.flips]
        ]
        mean: NDArray[np.float64] = np.mean(answers, axis=0, dtype=np.float64)
        return mean[: len(cubes)]

    def save(self, folder: Path) -> None:
        """Write weights and settings; the bytes depend only on the networks, settings and calibration."""
        folder.mkdir(parents=True, exist_ok=True)
        for number, network in enumerate(self.networks):
            network.save_weights(folder / WEIGHTS_FILE.format(number))
        settings = {
            "networks": len(self.networks),
            **asdict(self.settings),
            "calibration": self.calibration.to_json(),
        }
        (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> MalignancyRater:
        """Read what `save` wrote."""
        described = json.loads((folder / SETTINGS_FILE).read_text())
        calibration = Calibration.from_json(described.pop("calibration"))
        count = int(described.pop("networks"))
        settings = TypeAdapter(RaterSettings).validate_python(described)
        devices.share_gpus()
        networks = []
        for number in range(count):
            networks.append(build(settings.network, settings.cube.size_px))
            networks[-1].load_weights(folder / WEIGHTS_FILE.format(number))
        return cls(networks, settings, calibration)
