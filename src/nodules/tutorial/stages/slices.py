"""Cut the tutorial's training slices from every LUNA16 scan, and the slices on which its network is evaluated."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from nodules import parallel, params
from nodules.scans.read import read_scan
from nodules.scans.result import ReadingParams, verdict_of
from nodules.scans.tables.luna import NoduleAnnotation, read_annotations
from nodules.stages.shared import command
from nodules.stages.shared.settings import RunParams
from nodules.tracking.stage import stage_run
from nodules.tutorial.evaluation.evaluation_slices import evaluation_slices
from nodules.tutorial.learning.settings import TutorialUnetParams
from nodules.tutorial.learning.training_arrays import scan_arrays
from nodules.tutorial.stages.section import TutorialSection
from nodules.tutorial.steps.prepared_scan import prepare
from nodules.tutorial.steps.settings import TutorialParams

NODULE_FREE_PER_SCAN = 3
"""Number of nodule-free evaluation slices of each scan; the same for every recipe."""


def main(*, recipe: str, luna_root: Path, split: Path, output: Path) -> None:
    """Write one .npz file of training slices per scan, and one of evaluation slices per possible test scan."""
    run, reading = params.load("run", RunParams), params.load("reading", ReadingParams)
    section = params.load("tutorial", TutorialSection)
    scans = pd.read_csv(split, dtype={"seriesuid": str})
    annotations = read_annotations(luna_root / "annotations.csv")
    any_tests = section.unet.defects.split_by_slice
    items = {
        row.seriesuid: (
            luna_root / f"subset{row.subset}" / f"{row.seriesuid}.mhd",
            annotations.get(row.seriesuid, []),
            any_tests or row.part == "test",
        )
        for row in scans.itertuples()
    }
    settings = {"reading": reading, "steps": section.steps, "unet": section.unet}
    with stage_run(f"tutorial_slices@{recipe}", settings, [split]) as stage:
        rows = parallel.map_scans(
            functools.partial(cut_scan, reading=reading, steps=section.steps, unet=section.unet, seed=run.seed),
            items,
            stage=f"tutorial_slices-{recipe}",
            output=output,
            max_failures=run.max_failures,
        )
        counted = ("nodules", "slices", "slices_with_nodule")
        stage.log_metrics({name: float(sum(row[name] for row in rows)) for name in counted})


def cut_scan(
    item: tuple[Path, Sequence[NoduleAnnotation], bool],
    folder: Path,
    *,
    reading: ReadingParams,
    steps: TutorialParams,
    unet: TutorialUnetParams,
    seed: int,
) -> dict[str, Any]:
    """Write the slices of one scan to `<uid>.npz`, and its evaluation slices to `judged/<uid>.npz` if it may test."""
    file, nodules, may_test = item
    read = read_scan(file, reading)
    centres = [nodule.centre_world_xyz for nodule in nodules]
    diameters_mm = [nodule.diameter_mm for nodule in nodules]
    prepared = prepare(read.volume, steps)
    arrays = scan_arrays(file.stem, prepared, centres, diameters_mm, unet, seed)
    arrays.save(folder / f"{file.stem}.npz")
    if may_test:
        (folder / "judged").mkdir()
        judged = evaluation_slices(prepared, centres, diameters_mm, NODULE_FREE_PER_SCAN)
        judged.save(folder / "judged" / f"{file.stem}.npz")
    counts = {"nodules": len(nodules), "slices": len(arrays.z), "slices_with_nodule": int(arrays.positive.sum())}
    return {"scan": file.stem, **counts, **verdict_of(read, reading).as_row()}


if __name__ == "__main__":
    command.run(main)
