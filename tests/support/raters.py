"""An untrained network for malignancy, small enough to be made in a moment; its answers differ between places."""

from __future__ import annotations

from pathlib import Path

import keras

from nodules.imaging.network_input.cube import CubeParams
from nodules.models.malignancy.fusion import Fusion, Fusions
from nodules.models.malignancy.network import TARGETS, RatingNetworkParams, build
from nodules.models.malignancy.rater import MalignancyRater, RaterSettings

SETTINGS = RaterSettings(RatingNetworkParams(2, 0.1), CubeParams(32.0, 16, (-1000.0, 300.0)), flips=1)
FIRST_OUTPUT = Fusion((1.0, *[0.0] * (len(TARGETS) - 1)), diameter_weight=0.0, intercept=0.0)


def write_rater(folder: Path) -> None:
    """Write the files of the rater into a folder."""
    keras.utils.set_random_seed(3)
    network = build(SETTINGS.network, SETTINGS.cube.size_px)
    MalignancyRater([network], SETTINGS, Fusions(FIRST_OUTPUT, FIRST_OUTPUT)).save(folder)
