"""DVC stage: every slice of every Data Science Bowl patient through the tutorial's steps, and the nine features."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from nodules import parallel, params, tracking
from nodules.imaging.tutorial.nine_features import NINE_FEATURES, nine_features
from nodules.imaging.tutorial.prepared_scan import prepare
from nodules.imaging.tutorial.settings import TutorialParams
from nodules.scans.dsb import patient_folders
from nodules.scans.reading import ReadingParams
from nodules.scans.scan import read_scan
from nodules.scans.segmentation_store import PROBABILITY_STEPS
from nodules.scans.verdict import judge
from nodules.scans.volume_files.writer import write_volume
from nodules.stages.settings import RunParams
from nodules.stages.tutorial_section import TutorialSection
from nodules.waiting_scans import identity

if TYPE_CHECKING:
    from nodules.models.tutorial.unet import TutorialUnet


def main(recipe: str, dsb_root: Path, unet: Path, output: Path) -> None:
    """Write one map of answers a patient, and features.csv."""
    run, reading = params.load("run", RunParams), params.load("reading", ReadingParams)
    steps = params.load("tutorial", TutorialSection).steps
    settings = {"reading": reading, "steps": steps}
    with tracking.stage_run(f"tutorial_dsb@{recipe}", settings, [dsb_root, unet]) as stage:
        rows = parallel.map_scans(
            functools.partial(answer_patient, unet=unet, reading=reading, steps=steps),
            patient_folders(dsb_root),
            stage=f"tutorial_dsb-{recipe}",
            settings=None,
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


def answer_patient(
    folder_in: Path, folder: Path, *, unet: Path, reading: ReadingParams, steps: TutorialParams
) -> dict[str, Any]:
    """Write the answers to one patient's slices to `<id>.mha` on the scan's own grid (uint8, 255 for 1), and measure.

    Slices that the steps drop are 0 and do not count in the features.
    """
    read = read_scan(folder_in, reading)
    prepared = prepare(read.volume, steps)
    shown = prepared.kept
    images = np.asarray([prepared.image(z) for z in shown], dtype=np.float32)
    images = images.reshape(-1, steps.size_px, steps.size_px)
    answers = _load(unet, identity(unet)).predict(images) if shown else images
    map_zyx = np.zeros(read.volume.shape_zyx, dtype=np.uint8)
    for z, answer in zip(shown, answers, strict=True):
        map_zyx[z] = np.rint(prepared.restore(z, answer) * PROBABILITY_STEPS)
    write_volume(read.volume.with_voxels(map_zyx), folder / f"{folder_in.name}.mha")
    measured = nine_features(answers, [prepared.pixel_mm(z) for z in shown], steps)
    counts = {"slices": len(shown), "slices_with_lungs": sum(prepared.found)}
    return {"scan": folder_in.name, **counts, **measured.to_dict(), **judge(read, reading).as_row()}


@functools.lru_cache(maxsize=1)
def _load(folder: Path, identity: str) -> TutorialUnet:  # noqa: ARG001 - a Dask worker may outlive a network of that name
    from nodules.models.tutorial.unet import TutorialUnet

    return TutorialUnet.load(folder)


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
