"""An untrained network for malignancy, small enough to be made in a moment; its answers differ between places."""

from __future__ import annotations

from pathlib import Path

import keras

from nodules.imaging.network_input.cube import CubeParams
from nodules.models.cancer.calibration import Calibration
from nodules.models.malignancy.network import RatingNetworkParams, build
from nodules.models.malignancy.rater import MalignancyRater, RaterSettings

SETTINGS = RaterSettings(RatingNetworkParams(2, 0.1), CubeParams(32.0, 16, (-1000.0, 300.0)), flips=1)


def write_rater(folder: Path) -> None:
    """Write the files of the rater into a folder."""
    keras.utils.set_random_seed(3)
    network = build(SETTINGS.network, SETTINGS.cube.size_px)
    MalignancyRater([network], SETTINGS, Calibration("none", 1e-3)).save(folder)
