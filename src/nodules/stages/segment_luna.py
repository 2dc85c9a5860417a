"""DVC stage: run every slice of every LUNA16 scan through the U-Net: those that train, too, teach the rescorer."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import pandas as pd

from nodules import parallel, params
from nodules.imaging.lungs.segment import LungMaskParams
from nodules.scans.result import ReadingParams
from nodules.stages.shared.segment_scan import segment_scan_file
from nodules.stages.shared.settings import RunParams
from nodules.tracking import stage as tracking


def main(luna_root: Path, lungs: Path, split: Path, segmenter: Path, output: Path) -> None:
    """Write one folder of maps a scan."""
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
    with tracking.stage_run("segment_luna", reading, [lungs, split, segmenter]) as stage:
        rows = parallel.map_scans(
            functools.partial(segment_scan_file, segmenter=segmenter, reading=reading, lung_mask=lung_mask),
            items,
            stage="segment_luna",
            output=output,
            max_failures=run.max_failures,
        )
        stage.log_metrics({"scans": float(len(rows))})


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
