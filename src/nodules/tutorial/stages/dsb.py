"""Segment every Data Science Bowl scan with the tutorial's U-Net, and measure its nine features."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nodules import parallel, params
from nodules.parallel import load_once
from nodules.scans.read import read_scan
from nodules.scans.result import ReadingParams, verdict_of
from nodules.scans.stores.segmentations import PROBABILITY_STEPS
from nodules.scans.tables.dsb import patient_folders
from nodules.scans.volume_files.writer import write_volume
from nodules.stages.shared import command
from nodules.stages.shared.settings import RunParams
from nodules.tracking.stage import stage_run
from nodules.tutorial.stages.section import TutorialSection
from nodules.tutorial.steps.nine_features import NINE_FEATURES, nine_features
from nodules.tutorial.steps.prepared_scan import prepare
from nodules.tutorial.steps.settings import TutorialParams


def main(*, recipe: str, dsb_root: Path, unet: Path, output: Path) -> None:
    """Write one probability map per patient, and features.csv."""
    run, reading = params.load("run", RunParams), params.load("reading", ReadingParams)
    steps = params.load("tutorial", TutorialSection).steps
    settings = {"reading": reading, "steps": steps}
    with stage_run(f"tutorial_dsb@{recipe}", settings, [dsb_root, unet]) as stage:
        rows = parallel.map_scans(
            functools.partial(predict_patient, unet=unet, reading=reading, steps=steps),
            patient_folders(dsb_root),
            stage=f"tutorial_dsb-{recipe}",
            output=output,
            max_failures=run.max_failures,
        )
        table = pd.DataFrame(rows).rename(columns={"scan": "id"}).set_index("id")
        table[list(NINE_FEATURES)].to_csv(output / "features.csv")
        stage.log_metrics(
            {
                "patients": float(len(table)),
                "patients_with_regions": float((table["numNodes"] > 0).sum()),
                "slices": float(table["slices"].sum()),
            }
        )
        stage.log_file(output / "features.csv")


def predict_patient(
    folder_in: Path, folder: Path, *, unet: Path, reading: ReadingParams, steps: TutorialParams
) -> dict[str, Any]:
    """Write the probability map of one patient to `<id>.mha` (scan's own grid, uint8, 255 for 1), and measure it.

    Slices that the steps drop are 0 in the map and are not used for the features.
    """
    from nodules.tutorial.learning.unet import TutorialUnet  # loads TensorFlow, which only workers need

    read = read_scan(folder_in, reading)
    prepared = prepare(read.volume, steps)
    kept = prepared.kept
    images = np.asarray([prepared.image(z) for z in kept], dtype=np.float32)
    images = images.reshape(-1, steps.size_px, steps.size_px)
    probabilities = load_once(TutorialUnet.load, unet).predict(images) if kept else images
    map_zyx = np.zeros(read.volume.shape_zyx, dtype=np.uint8)
    for z, probability in zip(kept, probabilities, strict=True):
        map_zyx[z] = np.rint(prepared.restore(z, probability) * PROBABILITY_STEPS)
    write_volume(read.volume.with_voxels(map_zyx), folder / f"{folder_in.name}.mha")
    measured = nine_features(probabilities, [prepared.pixel_mm(z) for z in kept], steps)
    counts = {"slices": len(kept), "slices_with_lungs": sum(prepared.found)}
    return {"scan": folder_in.name, **counts, **measured.to_dict(), **verdict_of(read, reading).as_row()}


if __name__ == "__main__":
    command.run(main)
