"""Find candidates in the cubes and whole scans of a fold, with the U-Net that has not seen its patients."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nodules import parallel, params
from nodules.imaging.candidates.probability_map import Segmentation
from nodules.imaging.candidates.proposals import CandidateParams, propose
from nodules.imaging.geometry.volume import Volume
from nodules.imaging.lungs.segment import LungMaskParams, find_lungs
from nodules.imaging.network_input.lung_roi import extract
from nodules.models.false_positive_reduction.sampling import size_with_margin_px
from nodules.models.false_positive_reduction.training import FalsePositiveReductionParams
from nodules.models.false_positive_reduction.training_cubes import CubeSet
from nodules.pretraining.folds import HeldOut, read_folds
from nodules.pretraining.labelled_candidates import label_candidates, marks_on_region, training_cubes
from nodules.pretraining.reader_marks import (
    MarkedNodule,
    ReaderMarks,
    drawn_in_scan,
    header_grid,
    marks_in_cube,
    marks_in_scan,
)
from nodules.pretraining.real_data import RealData, RealSeries
from nodules.scans.lidc.xml_file import find_readings, read_series
from nodules.scans.result import ReadingParams
from nodules.scans.stores import segmentations
from nodules.scans.tables.nodule_cubes import NoduleCube, read_cube
from nodules.stages.shared import command
from nodules.stages.shared.settings import RunParams
from nodules.tracking.stage import stage_run

if TYPE_CHECKING:
    from nodules.models.unet.segmenter import Segmenter

CANDIDATES, NODULES = "candidates.csv", "nodules.csv"
NODULE_COLUMNS = ["image", "nodule", "readers", "x_mm", "y_mm", "z_mm", "diameter_mm", "proposed"]
WHOLE_SCAN = "scan"
"""Name of the image of a whole scan; the images of a series of cubes are named after the cubes."""


@dataclass(frozen=True)
class CandidateSettings:
    """Sections of the parameters that determine the candidates and the cubes around them."""

    reading: ReadingParams
    lung_mask: LungMaskParams
    candidates: CandidateParams
    false_positive_reduction: FalsePositiveReductionParams


@dataclass(frozen=True)
class AnnotatedSeries:
    """A series, and for a series of cubes what is known of its scan: the files of its readings and its header."""

    series: RealSeries
    xml: tuple[Path, ...] = ()
    header: Mapping[str, Any] | None = None


def main(*, real_data: Path, slices: Path, segmenter: Path, fold: HeldOut, output: Path) -> None:
    """Write the segmentations, labelled candidates and training cubes of all patients of a fold, one folder a series.

    Each folder holds candidates.csv (columns of `label_candidates`, and the image), nodules.csv (the nodules of each
    image), hu.npy and is_nodule.npy (`CubeSet`), and for each image its segmentation.
    """
    run = params.load("run", RunParams)
    settings = CandidateSettings(
        params.load("reading", ReadingParams),
        params.load("lung_mask", LungMaskParams),
        params.load("candidates", CandidateParams),
        params.load("false_positive_reduction", FalsePositiveReductionParams),
    )
    folds = read_folds(slices)
    data = RealData(real_data)
    items = {
        f"{one.series.source}-{one.series.name}": one
        for one in annotated_series(data)
        if folds.get(one.series.patient) == int(fold)
    }
    if not items:
        raise ValueError(
            f"{slices / 'manifest.csv'}: no cube or whole scan of {real_data} is of a patient of fold {fold}"
        )
    with stage_run(f"pretrain_candidates@{fold}", settings, [slices, segmenter]) as stage:
        rows = parallel.map_scans(
            functools.partial(find_in_series, segmenter=segmenter, real_data=real_data, settings=settings),
            items,
            stage=f"pretrain_candidates-{fold}",
            output=output,
            max_failures=run.max_failures,
        )
        counts = pd.DataFrame(rows)[["nodules", "nodules_proposed", "others"]].sum()
        stage.log_metrics({str(name): float(count) for name, count in counts.items()})


def annotated_series(data: RealData) -> Iterator[AnnotatedSeries]:
    """All series of cubes with their readings where they are known, and all whole scans."""
    headers = data.headers()
    readings = find_readings(data.xml_folder) if data.xml_folder.is_dir() else {}
    for series in data.series():
        if series.source == "cubes":
            yield AnnotatedSeries(series, readings.get(series.name, ()), headers.get(series.name))
        elif series.source == "scans":
            yield AnnotatedSeries(series)


def marked_cubes(
    item: AnnotatedSeries,
) -> Iterator[tuple[NoduleCube, Volume, NDArray[np.bool_], ReaderMarks]]:
    """The cubes of a series as `read_cube` returns them, and the readers' marks on their own grids."""
    drawn = None
    if item.xml and item.header is not None:
        drawn = drawn_in_scan(read_series(item.series.name, item.xml), header_grid(item.header))
    for cube in item.series.cubes:
        scan, mask = read_cube(cube)
        yield cube, scan, mask, marks_in_cube(cube, item.series.cubes, scan, mask, drawn)


def find_in_series(
    item: AnnotatedSeries, folder: Path, *, segmenter: Path, real_data: Path, settings: CandidateSettings
) -> dict[str, Any]:
    """Segment all images of a series, and write their candidates and cubes to `folder/<source>-<series>/`."""
    # TensorFlow loads in the workers, not in the process that hands out work.
    from nodules.models.unet.segmenter import Segmenter

    network = parallel.load_once(Segmenter.load, segmenter)
    target = folder / f"{item.series.source}-{item.series.name}"
    wide = settings.false_positive_reduction
    size_px = size_with_margin_px(wide.cube, wide.variation)
    tables, nodules, sets = [], [], []
    for name, segmentation, marks in _images(item, network, RealData(real_data), settings):
        segmentations.save(segmentation, target / name)
        found = label_candidates(segmentation, propose(segmentation, settings.candidates), marks)
        tables.append(found.assign(image=name))
        nodules += [_nodule_row(name, number, one, found) for number, one in enumerate(marks.nodules, start=1)]
        side_mm = size_px * wide.cube.step_mm
        sets.append(training_cubes(segmentation.scan, found, marks, side_mm, size_px, wide.cube.window_hu))
    cubes = CubeSet(np.concatenate([one.hu for one in sets]), np.concatenate([one.is_nodule for one in sets]))
    cubes.save(target)
    candidates = pd.concat(tables, ignore_index=True)
    candidates.to_csv(target / CANDIDATES, index=False)
    pd.DataFrame(nodules, columns=NODULE_COLUMNS).to_csv(target / NODULES, index=False)
    return {
        "source": item.series.source,
        "patient": item.series.patient,
        "images": len(tables),
        "nodules": len(nodules),
        "nodules_proposed": sum(one["proposed"] for one in nodules),
        "others": int((candidates["kind"] == "other").sum()),
    }


def _nodule_row(image: str, number: int, nodule: MarkedNodule, candidates: pd.DataFrame) -> dict[str, Any]:
    x_mm, y_mm, z_mm = nodule.centre_world_xyz
    return {
        "image": image,
        "nodule": number,
        "readers": nodule.readers,
        "x_mm": x_mm,
        "y_mm": y_mm,
        "z_mm": z_mm,
        "diameter_mm": nodule.diameter_mm,
        "proposed": bool((candidates["nodule"] == number).any()),
    }


def _images(
    item: AnnotatedSeries, network: Segmenter, data: RealData, settings: CandidateSettings
) -> Iterator[tuple[str, Segmentation, ReaderMarks]]:
    """The images of a series with their segmentations, and the readers' marks on the grids of these."""
    if item.series.file is not None:
        yield (WHOLE_SCAN, *_whole_scan(item.series.file, network, data, settings))
        return
    from nodules.models.unet.segmenter import segment_excerpt

    for cube, scan, _, marks in marked_cubes(item):
        segmentation = segment_excerpt(scan, network)
        yield cube.file.stem, segmentation, marks_on_region(marks, scan, segmentation.scan)


def _whole_scan(
    file: Path, network: Segmenter, data: RealData, settings: CandidateSettings
) -> tuple[Segmentation, ReaderMarks]:
    read, readings = data.read_scan(file, settings.reading)
    lungs_zyx = find_lungs(read.volume, settings.lung_mask).labels_zyx
    segmentation = network.segment(extract(read.volume, lungs_zyx, network.roi))
    return segmentation, marks_on_region(marks_in_scan(readings, read), read.volume, segmentation.scan)


if __name__ == "__main__":
    command.run(main)
