"""Segment the lungs in the scans of one LUNA16 subset."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from nodules import parallel, params
from nodules.imaging.lungs.segment import LungMaskParams, find_lungs, lung_measures
from nodules.scans.read import read_scan
from nodules.scans.result import ReadingParams, verdict_of
from nodules.scans.tables.luna import series_files
from nodules.scans.volume_files.writer import write_volume
from nodules.stages.shared import command
from nodules.stages.shared.settings import RunParams
from nodules.tracking.stage import stage_run


def main(*, luna_root: Path, subset: int, output: Path) -> None:
    """Write one label map per scan (1 right lung, 2 left lung), on the scan's own grid."""
    run = params.load("run", RunParams)
    reading, lung_mask = params.load("reading", ReadingParams), params.load("lung_mask", LungMaskParams)
    settings = {"reading": reading, "lung_mask": lung_mask}
    files = series_files(luna_root, subset)
    with stage_run(f"lung_masks@{subset}", settings, [luna_root / f"subset{subset}"]) as stage:
        rows = parallel.map_scans(
            functools.partial(segment_file, reading=reading, lung_mask=lung_mask),
            files,
            stage=f"lung_masks-{subset}",
            output=output,
            max_failures=run.max_failures,
        )
        litres = [row["volume_right_l"] + row["volume_left_l"] for row in rows]
        stage.log_metrics(
            {
                "lung_volume_median_l": float(np.median(litres)),
                "scans_without_lungs": float(sum(not row["lungs_found"] for row in rows)),
                "scans_with_warnings": float(sum(row["verdict"] != "ok" for row in rows)),
            }
        )


def segment_file(file: Path, folder: Path, *, reading: ReadingParams, lung_mask: LungMaskParams) -> dict[str, Any]:
    """Segment the lungs of one scan and write the label map."""
    read = read_scan(file, reading)
    lungs = find_lungs(read.volume, lung_mask)
    write_volume(read.volume.with_voxels(lungs.labels_zyx), folder / f"{file.stem}.mha")
    verdict = verdict_of(read, reading, lungs.quality.findings)
    return {"scan": file.stem, **verdict.as_row(), **lung_measures(read.volume, lungs.labels_zyx)}


if __name__ == "__main__":
    command.run(main)
