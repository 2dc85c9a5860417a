"""Segment every Data Science Bowl scan with the trained U-Net."""

from __future__ import annotations

import functools
from pathlib import Path

import pandas as pd

from nodules import parallel, params
from nodules.imaging.lungs.segment import LungMaskParams
from nodules.scans.result import ReadingParams
from nodules.scans.tables.dsb import patient_folders, read_all_labels, read_truth
from nodules.stages.shared import command
from nodules.stages.shared.segment_scan import segment_scan_file
from nodules.stages.shared.settings import RunParams
from nodules.tracking.stage import stage_run


def main(*, dsb_root: Path, segmenter: Path, output: Path, labels: Path) -> None:
    """Write one folder per patient (probability map, lungs, HU near raised probabilities) and the table of labels."""
    run, lung_mask = params.load("run", RunParams), params.load("lung_mask", LungMaskParams)
    reading = params.load("reading", ReadingParams)
    items = {patient: (patient, folder, None) for patient, folder in patient_folders(dsb_root).items()}
    with stage_run("segment_dsb", {"reading": reading, "lung_mask": lung_mask}, [dsb_root, segmenter]) as stage:
        rows = parallel.map_scans(
            functools.partial(segment_scan_file, segmenter=segmenter, reading=reading, lung_mask=lung_mask),
            items,
            stage="segment_dsb",
            output=output,
            max_failures=run.max_failures,
        )
        stage.log_metrics(
            {
                "patients": float(len(rows)),
                "slices": float(sum(row["slices"] for row in rows)),
                "patients_without_lungs": float(sum(not row["lungs_found"] for row in rows)),
                "patients_with_warnings": float(sum(row["verdict"] != "ok" for row in rows)),
            }
        )
    _labels(dsb_root).to_csv(labels)


def _labels(dsb_root: Path) -> pd.DataFrame:
    """Labels by patient id, and for phantoms the true probabilities that they were drawn with."""
    known = read_all_labels(dsb_root).to_frame()
    truth = dsb_root / "truth.csv"
    if truth.exists():
        known["true_probability"] = read_truth(truth)
    return known


if __name__ == "__main__":
    command.run(main)
