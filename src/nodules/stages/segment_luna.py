"""Segment every LUNA16 scan with the trained U-Net; false-positive reduction needs the training scans as well."""

from __future__ import annotations

import functools
from pathlib import Path

import pandas as pd

from nodules import parallel, params
from nodules.imaging.lungs.segment import LungMaskParams
from nodules.scans.result import ReadingParams
from nodules.stages.shared import command
from nodules.stages.shared.segment_scan import segment_scan_file
from nodules.stages.shared.settings import RunParams
from nodules.tracking.stage import stage_run


def main(*, luna_root: Path, lungs: Path, split: Path, segmenter: Path, output: Path) -> None:
    """Write one folder per scan: the U-Net's probability map, the lungs, and the HU near raised probabilities."""
    run, lung_mask = params.load("run", RunParams), params.load("lung_mask", LungMaskParams)
    reading = params.load("reading", ReadingParams)
    scans = pd.read_csv(split, dtype={"seriesuid": str})
    items = {
        row.seriesuid: (
            row.seriesuid,
            luna_root / f"subset{row.subset}" / f"{row.seriesuid}.mhd",
            lungs / f"subset{row.subset}" / f"{row.seriesuid}.mha",
        )
        for row in scans.itertuples()
    }
    with stage_run("segment_luna", reading, [lungs, split, segmenter]) as stage:
        rows = parallel.map_scans(
            functools.partial(segment_scan_file, segmenter=segmenter, reading=reading, lung_mask=lung_mask),
            items,
            stage="segment_luna",
            output=output,
            max_failures=run.max_failures,
        )
        stage.log_metrics({"scans": float(len(rows))})


if __name__ == "__main__":
    command.run(main)
