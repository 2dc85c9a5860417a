"""Extract slices and nodule masks from the scans of one LUNA16 subset."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nodules import parallel, params
from nodules.imaging.network_input.slice_context import ContextParams
from nodules.scans.lidc.outlines import outlined_nodules
from nodules.scans.lidc.xml_file import find_readings, read_series
from nodules.scans.read import read_scan
from nodules.scans.result import ReadingParams, verdict_of
from nodules.scans.stores import slices
from nodules.scans.stores.extraction import ExtractParams, extract_slices
from nodules.scans.tables.luna import NoduleAnnotation, read_annotations, series_files, series_without_file
from nodules.stages.shared import command
from nodules.stages.shared.settings import DatasetParams, RunParams
from nodules.tracking.stage import stage_run

logger = logging.getLogger(__name__)


def main(*, luna_root: Path, subset: int, output: Path) -> None:
    """Write one .npz file per scan: slices through its nodules and slices without nodules, with their masks."""
    run, dataset = params.load("run", RunParams), params.load("dataset", DatasetParams)
    reading = params.load("reading", ReadingParams)
    extract, context = params.load("extract", ExtractParams), params.load("context", ContextParams)
    settings = {"reading": reading, "extract": extract, "context": context, "dataset": {"lidc_xml": dataset.lidc_xml}}
    annotations = read_annotations(luna_root / "annotations.csv")
    files = series_files(luna_root, subset)
    _warn_of_lost_series(luna_root, annotations, dataset.subsets)
    outlines = _outlines(files, dataset.lidc_xml)
    items = {uid: (file, annotations.get(uid, []), outlines.get(uid, ())) for uid, file in files.items()}
    with stage_run(f"extract_luna@{subset}", settings, [luna_root / f"subset{subset}"]) as stage:
        rows = parallel.map_scans(
            functools.partial(extract_scan, reading=reading, extract=extract, context=context, seed=run.seed),
            items,
            stage=f"extract_luna-{subset}",
            output=output,
            max_failures=run.max_failures,
        )
        stage.log_metrics({name: float(sum(row[name] for row in rows)) for name in ("nodules", "slices")})


def extract_scan(
    item: tuple[Path, Sequence[NoduleAnnotation], Sequence[Path]],
    folder: Path,
    *,
    reading: ReadingParams,
    extract: ExtractParams,
    context: ContextParams,
    seed: int,
) -> dict[str, Any]:
    """Extract and save the slices of one scan, with the outlines of its LIDC readings if there are any."""
    file, nodules, xml_files = item
    read = read_scan(file, reading)
    outlined = outlined_nodules(read_series(file.stem, xml_files), read) if xml_files else ()
    extracted = extract_slices(file.stem, read.volume, nodules, extract, context, seed, outlined)
    slices.save(extracted, folder / f"{file.stem}.npz")
    counts = {"nodules": len(nodules), "slices": len(extracted.target_indices)}
    return {"scan": file.stem, **counts, **verdict_of(read, reading).as_row()}


def _outlines(files: Mapping[str, Path], lidc_xml: str | None) -> dict[str, tuple[Path, ...]]:
    """The XML files of each scan that has any."""
    if lidc_xml is None:
        return {}
    found = {uid: xml_files for uid, xml_files in find_readings(Path(lidc_xml)).items() if uid in files}
    logger.info(
        "%s holds readings of %d of %d scans; nodules of the others are spheres", lidc_xml, len(found), len(files)
    )
    return found


def _warn_of_lost_series(
    luna_root: Path, annotations: dict[str, list[NoduleAnnotation]], subsets: Sequence[int]
) -> None:
    present = {uid for subset in subsets for uid in series_files(luna_root, subset)}
    lost = series_without_file(annotations, present)
    if lost:
        logger.warning(
            "%s lists %d series that are in none of the chosen subsets (%s), the first: %s; their nodules are not used",
            luna_root / "annotations.csv",
            len(lost),
            ", ".join(map(str, subsets)),
            lost[0],
        )


if __name__ == "__main__":
    command.run(main)
