"""Segment and measure one Data Science Bowl patient with the tutorial's steps and U-Net.

The function is not part of the stage's own module because it caches the network. A worker process looks up a cached
function by the name of its module, and a module has another name while it runs as a stage.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nodules.checkpoint import identity
from nodules.scans.read import read_scan
from nodules.scans.result import ReadingParams, verdict_of
from nodules.scans.stores.segmentations import PROBABILITY_STEPS
from nodules.scans.volume_files.writer import write_volume
from nodules.tutorial.steps.nine_features import nine_features
from nodules.tutorial.steps.prepared_scan import prepare
from nodules.tutorial.steps.settings import TutorialParams

if TYPE_CHECKING:
    from nodules.tutorial.learning.unet import TutorialUnet


def predict_patient(
    folder_in: Path, folder: Path, *, unet: Path, reading: ReadingParams, steps: TutorialParams
) -> dict[str, Any]:
    """Write the probability map of one patient to `<id>.mha` (scan's own grid, uint8, 255 for 1), and measure it.

    Slices that the steps drop are 0 in the map and are not used for the features.
    """
    read = read_scan(folder_in, reading)
    prepared = prepare(read.volume, steps)
    kept = prepared.kept
    images = np.asarray([prepared.image(z) for z in kept], dtype=np.float32)
    images = images.reshape(-1, steps.size_px, steps.size_px)
    probabilities = _load(unet, identity(unet)).predict(images) if kept else images
    map_zyx = np.zeros(read.volume.shape_zyx, dtype=np.uint8)
    for z, probability in zip(kept, probabilities, strict=True):
        map_zyx[z] = np.rint(prepared.restore(z, probability) * PROBABILITY_STEPS)
    write_volume(read.volume.with_voxels(map_zyx), folder / f"{folder_in.name}.mha")
    measured = nine_features(probabilities, [prepared.pixel_mm(z) for z in kept], steps)
    counts = {"slices": len(kept), "slices_with_lungs": sum(prepared.found)}
    return {"scan": folder_in.name, **counts, **measured.to_dict(), **verdict_of(read, reading).as_row()}


@functools.lru_cache(maxsize=1)
def _load(folder: Path, identity: str) -> TutorialUnet:  # noqa: ARG001 - a Dask worker may outlive a network of that name
    from nodules.tutorial.learning.unet import TutorialUnet

    return TutorialUnet.load(folder)
