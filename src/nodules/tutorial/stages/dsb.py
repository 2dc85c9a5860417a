"""Segment every Data Science Bowl scan with the tutorial's U-Net, and measure its nine features."""

from __future__ import annotations

import functools
from pathlib import Path

import pandas as pd

from nodules import parallel, params
from nodules.scans.result import ReadingParams
from nodules.scans.tables.dsb import patient_folders
from nodules.stages.shared import command
from nodules.stages.shared.settings import RunParams
from nodules.tracking.stage import stage_run
from nodules.tutorial.stages.predict_patient import predict_patient
from nodules.tutorial.stages.section import TutorialSection
from nodules.tutorial.steps.nine_features import NINE_FEATURES


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


if __name__ == "__main__":
    command.run(main)
