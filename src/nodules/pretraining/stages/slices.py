"""Resample cubes, excerpts and whole scans to the U-Net's grid, and divide their patients into folds."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nodules import parallel, params
from nodules.imaging.lungs.segment import LungMaskParams
from nodules.imaging.network_input.lung_roi import LungRoiParams
from nodules.imaging.network_input.slice_context import ContextParams
from nodules.models.unet.training_slices import SliceSet
from nodules.pretraining.excerpts import read_excerpts
from nodules.pretraining.folds import patient_folds
from nodules.pretraining.real_data import RealData, RealSeries
from nodules.pretraining.real_slices import slices_of_cube, slices_of_excerpt, slices_of_scan
from nodules.scans.result import ReadingParams
from nodules.scans.stores.extraction import ExtractParams
from nodules.stages.shared import command
from nodules.stages.shared.settings import RunParams
from nodules.tracking.stage import stage_run


@dataclass(frozen=True)
class SliceSettings:
    """Sections of the parameters that determine the training slices."""

    reading: ReadingParams
    lung_mask: LungMaskParams
    extract: ExtractParams
    lung_roi: LungRoiParams
    context: ContextParams


def main(*, real_data: Path, output: Path) -> None:
    """Write the training slices of each series, and `manifest.csv` with the source, patient and fold of each."""
    run = params.load("run", RunParams)
    settings = SliceSettings(
        params.load("reading", ReadingParams),
        params.load("lung_mask", LungMaskParams),
        params.load("extract", ExtractParams),
        params.load("lung_roi", LungRoiParams),
        params.load("context", ContextParams),
    )
    series = RealData(real_data).series()
    folds = patient_folds(_subsets(series), run.seed)
    with stage_run("pretrain_slices", settings) as stage:
        rows = parallel.map_scans(
            functools.partial(prepare_series, real_data=real_data, settings=settings, seed=run.seed),
            {f"{one.source}-{one.name}": (one, folds[one.patient]) for one in series},
            stage="pretrain-slices",
            output=output,
            max_failures=run.max_failures,
        )
        stage.log_metrics({"series": float(len(rows)), "sections": float(sum(row["sections"] for row in rows))})


def _subsets(series: list[RealSeries]) -> dict[str, int | None]:
    """The subset of each patient; None where any source leaves it to the draw."""
    subsets: dict[str, int | None] = {}
    for one in series:
        subsets[one.patient] = None if None in (one.subset, subsets.get(one.patient, 0)) else one.subset
    return subsets


def prepare_series(
    item: tuple[RealSeries, int], folder: Path, *, real_data: Path, settings: SliceSettings, seed: int
) -> dict[str, Any]:
    """Write the slices of one series on the network's grid."""
    series, fold = item
    sections = 0
    for name, slices in _slice_sets(series, RealData(real_data), settings, seed):
        target = folder / series.source / series.name / name
        target.mkdir(parents=True)
        slices.save(target)
        sections += len(slices.centres)
    return {"source": series.source, "patient": series.patient, "fold": fold, "sections": sections}


def _slice_sets(
    series: RealSeries, data: RealData, settings: SliceSettings, seed: int
) -> Iterator[tuple[str, SliceSet]]:
    reading, lung_mask, roi, context = settings.reading, settings.lung_mask, settings.lung_roi, settings.context
    if series.source == "cubes":
        for cube in series.cubes:
            yield cube.file.stem, slices_of_cube(cube, series.cubes, roi, context)
    elif series.source == "excerpts":
        for excerpt in read_excerpts(data.excerpt_folder, series.name, reading, lung_mask, data.readers_folder):
            yield str(excerpt.number), slices_of_excerpt(excerpt, roi, context)
    elif series.file is not None:
        read, readings = data.read_scan(series.file, reading)
        yield "scan", slices_of_scan(read, readings, lung_mask, settings.extract, roi, context, seed)


if __name__ == "__main__":
    command.run(main)
