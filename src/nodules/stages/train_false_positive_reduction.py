"""Train the 3-D network for false-positive reduction, and fuse its probability with the U-Net's."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nodules import parallel, params, progress
from nodules.checkpoint import work_folder
from nodules.imaging.candidates.proposals import CandidateParams, propose
from nodules.imaging.network_input.cube import CubeParams, cut_cubes
from nodules.imaging.network_input.lung_roi import scan_on_grid
from nodules.models.false_positive_reduction import score_fusion
from nodules.models.false_positive_reduction.reducer import FalsePositiveReducer
from nodules.models.false_positive_reduction.sampling import CubeSampler, VariationParams, size_with_margin_px
from nodules.models.false_positive_reduction.training import FalsePositiveReductionParams, train
from nodules.models.false_positive_reduction.training_cubes import (
    CubeSet,
    in_excluded_finding,
    inside,
    spread_evenly,
    training_set,
)
from nodules.scans.read import read_scan
from nodules.scans.result import ReadingParams
from nodules.scans.stores import segmentations
from nodules.scans.tables.luna import NoduleAnnotation, read_annotations
from nodules.scans.tables.submission import candidate_table, read_excluded_beside, read_false_positives
from nodules.stages.shared import command
from nodules.stages.shared.metrics_file import write_metrics
from nodules.stages.shared.settings import RunParams
from nodules.tracking.stage import stage_run

Item = tuple[Path, list[NoduleAnnotation], list[NoduleAnnotation], Path | None, list[list[float]]]


def main(*, luna_root: Path, split: Path, segmentations: Path, output: Path, metrics: Path) -> None:
    """Write the trained network with its fusion, and their areas under the ROC curve on the validation scans."""
    run, reading = params.load("run", RunParams), params.load("reading", ReadingParams)
    candidates, settings = (
        params.load("candidates", CandidateParams),
        params.load("false_positive_reduction", FalsePositiveReductionParams),
    )
    scans = pd.read_csv(split, dtype={"seriesuid": str})
    work = work_folder(
        "train_false_positive_reduction", (settings, candidates, reading, run.seed, split, segmentations)
    )
    with stage_run(
        "train_false_positive_reduction",
        {"false_positive_reduction": settings, "candidates": candidates},
        [split, segmentations],
    ) as stage:
        prepare = functools.partial(
            prepare_scan, reading=reading, candidates=candidates, cube=settings.cube, variation=settings.variation
        )
        rows = parallel.map_scans(
            prepare,
            _items(scans, luna_root, segmentations, settings.listed_negatives),
            stage="train_false_positive_reduction-cubes",
            output=work / "cubes",
            max_failures=run.max_failures,
        )
        prepared = pd.DataFrame(rows).merge(
            scans[["seriesuid", "part", "patient"]], left_on="scan", right_on="seriesuid"
        )
        training = prepared[prepared["part"] == "train"]
        sampler = CubeSampler(
            [CubeSet.load(work / "cubes" / uid) for uid in training["scan"]], settings.cube, settings.variation
        )
        with progress.epochs("train_false_positive_reduction", settings.epochs, stage.log_epoch) as log_epoch:
            network, curves = train(sampler, settings, seed=run.seed, log_epoch=log_epoch)
        reducer = FalsePositiveReducer(network, settings.network, settings.cube)
        numbers = _fuse(reducer, prepared[prepared["part"] == "validation"], work / "cubes")
        numbers |= sampler.counts | {"loss": curves["loss"].iloc[-1], "fusion": reducer.fusion.by_name()}
        stage.log_metrics(numbers)
        stage.log_headline({"false_positive_reduction_val_auc": numbers["auc_after"]})
        _replace(output, reducer, work / "false_positive_reduction")
        write_metrics(metrics, numbers)
    shutil.rmtree(work)


def _items(scans: pd.DataFrame, luna_root: Path, segmented: Path, listed_negatives: int) -> dict[str, Item]:
    """The segmented training and validation scans; only training scans have a scan file and listed false positives.

    LUNA16's table of candidates is optional. DVC has no optional dependencies, so the stage reads it undeclared.
    """
    nodules, excluded = read_annotations(luna_root / "annotations.csv"), read_excluded_beside(luna_root)
    table = candidate_table(luna_root)
    listed = read_false_positives(table) if table else {}
    items: dict[str, Item] = {}
    for row in scans[scans["part"] != "test"].itertuples():
        uid, folder = row.seriesuid, segmented / row.seriesuid
        if not folder.is_dir():
            continue
        training = row.part == "train"
        file = luna_root / f"subset{row.subset}" / f"{uid}.mhd" if training else None
        places = spread_evenly(listed[uid], listed_negatives).tolist() if training and uid in listed else []
        items[uid] = (folder, nodules.get(uid, []), excluded.get(uid, []), file, places)
    return items


def prepare_scan(
    item: Item,
    folder: Path,
    *,
    reading: ReadingParams,
    candidates: CandidateParams,
    cube: CubeParams,
    variation: VariationParams,
) -> dict[str, Any]:
    """Write the cubes of one scan to `folder/<uid>/`.

    Those of a training scan are cut from the scan's own file, with a margin. Those of a validation scan are cut from
    its stored segmentation, as at inference, and its proposals are written beside them.
    """
    stored, nodules, excluded, file, places = item
    segmentation = segmentations.load(stored)
    proposals = propose(segmentation, candidates).table
    proposals = proposals[~in_excluded_finding(proposals[["x_mm", "y_mm", "z_mm"]], nodules, excluded)]
    centres = proposals[["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=float)
    hit = inside(centres, nodules)
    listed = [
        place
        for place, nothing in zip(places, in_excluded_finding(places, nodules, excluded), strict=True)
        if not nothing
    ]
    target = folder / stored.name
    target.mkdir()
    if file is None:
        hu = cut_cubes(segmentation.scan, centres, cube.side_mm, cube.size_px)
        CubeSet(hu, hit.sum(axis=1) > 0).save(target)
        proposals.to_csv(target / "proposals.csv", index=False)
    else:
        size_px = size_with_margin_px(cube, variation)
        # A stored segmentation keeps HU around proposals only; the grid is the same.
        scan = scan_on_grid(read_scan(file, reading).volume, segmentation.scan)
        training_set(scan, centres, nodules, listed, size_px * cube.step_mm, size_px).save(target)
    found = int((hit.sum(axis=0) > 0).sum())
    return {"scan": stored.name, "proposals": len(proposals), "nodules": len(nodules), "nodules_proposed": found}


def _fuse(reducer: FalsePositiveReducer, validation: pd.DataFrame, cubes: Path) -> dict[str, Any]:
    """Fit the fusion to the proposals of the validation scans, and count and evaluate these proposals."""
    sets = [CubeSet.load(cubes / uid) for uid in validation["scan"]]
    if not sets:
        raise ValueError(
            "false-positive reduction: expected at least one segmented validation scan to fit the fusion, got none; "
            "check the split and the failures of segment_luna"
        )
    tables = [pd.read_csv(cubes / uid / "proposals.csv") for uid in validation["scan"]]
    proposals = pd.concat(tables, ignore_index=True)
    is_nodule = np.concatenate([chosen.is_nodule for chosen in sets])
    log_odds = np.concatenate([reducer.log_odds(chosen.hu) for chosen in sets])
    patients = validation["patient"].astype(str).repeat(validation["proposals"]).tolist()
    reducer.fusion, areas = score_fusion.fit_and_evaluate(log_odds, proposals, is_nodule, patients)
    nodules = int(validation["nodules"].sum())
    return {
        "scans": len(validation),
        "proposals": len(proposals),
        "nodules": nodules,
        "recall": float(validation["nodules_proposed"].sum() / nodules) if nodules else None,
        **areas,
    }


def _replace(output: Path, reducer: FalsePositiveReducer, temporary: Path) -> None:
    """Write to another folder and move it, so that an interruption leaves the output complete or absent."""
    reducer.save(temporary)
    shutil.rmtree(output, ignore_errors=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(temporary, output)


if __name__ == "__main__":
    command.run(main)
