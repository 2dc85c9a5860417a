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

from nodules.imaging.geometry.volume import Volume
from nodules.imaging.network_input.cube import CubeParams, cut_cubes, network_input
from nodules.models.malignancy.fusion import Fusions
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


def mean_log_odds(
    networks: Sequence[keras.Model], settings: RaterSettings, cubes_hu: NDArray[np.int16]
) -> NDArray[np.float64]:
    """Mean outputs (N, len(TARGETS)) of all networks and flips, for cubes (N, M, M, M), M of at least `size_px` voxels.

    Raises
    ------
    ValueError
        If a result is not finite, because the training has diverged.
    """
    log_odds = np.empty((len(cubes_hu), len(TARGETS)))
    for start in range(0, len(cubes_hu), BATCH):
        cubes = network_input(cubes_hu[start : start + BATCH], settings.cube)
        # Batches always have the full size: a single shape is compiled, and no result depends on the batch size.
        batch = np.zeros((BATCH, *cubes.shape[1:]), dtype=np.float32)
        batch[: len(cubes)] = cubes
        answers = [
            keras.ops.convert_to_numpy(network.predict_on_batch(np.ascontiguousarray(np.flip(batch, axes)))["log_odds"])
            for network in networks
            for axes in FLIPS[: settings.flips]
        ]
        log_odds[start : start + BATCH] = np.stack(answers)[:, : len(cubes)].mean(axis=0, dtype=np.float64)
    if not np.isfinite(log_odds).all():
        raise ValueError(
            "malignancy: expected finite log-odds, got NaN or infinity, because the training has diverged; lower "
            "malignancy.learning_rate and train again"
        )
    return log_odds


class MalignancyRater:
    """Rates nodules by the mean log-odds of several networks, fused to a calibrated probability.

    The rating is what LIDC's readers thought of a nodule on this scan, not what pathology found.

    Parameters
    ----------
    networks : sequence of keras.Model
        Trained networks, at least one, as built by `network.build`.
    settings : RaterSettings
        Their settings.
    fusions : Fusions
        From the mean log-odds to the probability.
    """

    def __init__(self, networks: Sequence[keras.Model], settings: RaterSettings, fusions: Fusions) -> None:
        if not networks:
            raise ValueError("malignancy: expected at least one network, got none")
        self.networks = list(networks)
        self.settings = settings
        self.fusions = fusions

    def __call__(
        self, scan: Volume, centres_world_xyz: ArrayLike, diameters_mm: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Rate the nodules at these centres.

        Parameters
        ----------
        scan : Volume
            HU, on any grid.
        centres_world_xyz : (N, 3) array-like of float
            Centre of each nodule in world mm. There may be none.
        diameters_mm : (N,) array-like of float, optional
            Diameter of each nodule by its outline. With it the ratings are better (`benchmarks/malignancy.md`).

        Returns
        -------
        (N,) ndarray of float64
            Calibrated probability that the readers' mean rating of malignancy is above 3.

        Raises
        ------
        ValueError
            If the centres are not N finite points, the diameters are not N positive numbers, the scan holds NaN or
            infinity, or the networks return them.
        """
        if not np.isfinite(scan.voxels_zyx).all():
            raise ValueError("malignancy: expected a scan of finite HU, got NaN or infinity")
        cube = self.settings.cube
        return self.rate(cut_cubes(scan, centres_world_xyz, cube.side_mm, cube.size_px), diameters_mm)

    def rate(self, cubes_hu: NDArray[np.int16], diameters_mm: ArrayLike | None = None) -> NDArray[np.float64]:
        """Calibrated probability (N,) for cubes (N, M, M, M) with M of at least `size_px` voxels."""
        fusion = self.fusions.by_centre if diameters_mm is None else self.fusions.by_centre_and_diameter
        return fusion.probability(mean_log_odds(self.networks, self.settings, cubes_hu), diameters_mm)

    def save(self, folder: Path) -> None:
        """Write weights and settings; the bytes depend only on the networks, the settings and the fusions."""
        folder.mkdir(parents=True, exist_ok=True)
        for number, network in enumerate(self.networks):
            network.save_weights(folder / WEIGHTS_FILE.format(number))
        settings = {
            "networks": len(self.networks),
            **asdict(self.settings),
            "fusions": asdict(self.fusions),
        }
        (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> MalignancyRater:
        """Read what `save` wrote."""
        described = json.loads((folder / SETTINGS_FILE).read_text())
        fusions = TypeAdapter(Fusions).validate_python(described.pop("fusions"))
        count = int(described.pop("networks"))
        settings = TypeAdapter(RaterSettings).validate_python(described)
        devices.share_gpus()
        networks = []
        for number in range(count):
            networks.append(build(settings.network, settings.cube.size_px))
            networks[-1].load_weights(folder / WEIGHTS_FILE.format(number))
        return cls(networks, settings, fusions)
