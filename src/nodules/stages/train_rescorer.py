"""DVC stage: train the network that looks at the U-Net's proposals again, and fuse its answer with the U-Net's."""

from __future__ import annotations

import functools
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nodules import parallel, params, progress
from nodules.checkpoint import work_folder
from nodules.imaging.candidates.proposals import CandidateParams, propose
from nodules.imaging.network_input.cube import CubeParams, cut_cubes
from nodules.imaging.network_input.lung_roi import scan_on_grid
from nodules.models.false_positive_reduction import score_fusion as fusion
from nodules.models.false_positive_reduction import training as rescorer_training
from nodules.models.false_positive_reduction.rescorer import Rescorer
from nodules.models.false_positive_reduction.sampling import CubeSampler, VariationParams, wide_size_px
from nodules.models.false_positive_reduction.training import RescorerParams
from nodules.models.false_positive_reduction.training_cubes import CubeSet, inside, spared, training_set
from nodules.scans.read import read_scan
from nodules.scans.result import ReadingParams
from nodules.scans.stores import segmentations as segmentation_store
from nodules.scans.tables.luna import NoduleAnnotation, read_annotations
from nodules.scans.tables.submission import candidate_table, excluded_of, read_false_positives
from nodules.stages.shared.metrics_file import write_metrics
from nodules.stages.shared.settings import RunParams
from nodules.tracking import stage as tracking

Item = tuple[Path, list[NoduleAnnotation], list[NoduleAnnotation], Path | None, list[list[float]]]


def main(luna_root: Path, split: Path, maps: Path, output: Path, metrics: Path) -> None:
    """Write the rescorer and how well it tells nodules from the rest on the validation scans."""
    run, reading = params.load("run", RunParams), params.load("reading", ReadingParams)
    candidates, settings = params.load("candidates", CandidateParams), params.load("rescorer", RescorerParams)
    scans = pd.read_csv(split, dtype={"seriesuid": str})
    work = work_folder("train_rescorer", (settings, candidates, reading, run.seed, split, maps))
    with tracking.stage_run("train_rescorer", {"rescorer": settings, "candidates": candidates}, [split, maps]) as stage:
        prepare = functools.partial(
            prepare_scan, reading=reading, candidates=candidates, cube=settings.cube, variation=settings.variation
        )
        rows = parallel.map_scans(
            prepare,
            _items(scans, luna_root, maps, settings.listed_negatives),
            stage="train_rescorer-cubes",
            settings=None,
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
        with progress.epochs("train_rescorer", settings.epochs, stage.log_epoch) as log_epoch:
            network, curves = rescorer_training.train(sampler, settings, seed=run.seed, log_epoch=log_epoch)
        rescorer = Rescorer(network, settings.network, settings.cube)
        numbers = _fuse(rescorer, prepared[prepared["part"] == "validation"], work / "cubes")
        numbers |= sampler.counts | {"loss": curves["loss"].iloc[-1], "fusion": _by_name(rescorer.combine)}
        stage.log_metrics(numbers)
        stage.log_headline({"rescorer_val_auc": numbers["auc_after"]})
        _replace(output, rescorer, work / "rescorer")
        write_metrics(metrics, numbers)
    shutil.rmtree(work)


def _items(scans: pd.DataFrame, luna_root: Path, maps: Path, listed_negatives: int) -> dict[str, Item]:
    """The training and validation scans that have maps; only the training scans are read whole and shown more places.

    LUNA16's table of candidates is optional, which DVC has no word for: it is read where it lies, and is no dependency.
    """
    nodules, excluded = read_annotations(luna_root / "annotations.csv"), excluded_of(luna_root)
    table = candidate_table(luna_root)
    listed = read_false_positives(table) if table else {}
    items: dict[str, Item] = {}
    for row in scans[scans["part"] != "test"].itertuples():
        uid, folder = row.seriesuid, maps / row.seriesuid
        if not folder.is_dir():
            continue
        training = row.part == "train"
        file = luna_root / f"subset{row.subset}" / f"{uid}.mhd" if training else None
        places = _spread(listed[uid], listed_negatives) if training and uid in listed else []
        items[uid] = (folder, nodules.get(uid, []), excluded.get(uid, []), file, places)
    return items


def _spread(places: NDArray[np.float64], at_most: int) -> list[list[float]]:
    """Rows from the whole table: its systems stand one after another."""
    chosen = np.unique(np.linspace(0, len(places) - 1, min(at_most, len(places))).round().astype(int))
    rows: list[list[float]] = places[chosen].tolist()
    return rows


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

    Those of a training scan are cut with a margin, from the scan's own file; those of a validation scan from what is
    stored of it, as they will be cut of any other, and its proposals are written beside them.
    """
    maps, nodules, excluded, file, places = item
    segmentation = segmentation_store.load(maps)
    proposals = propose(segmentation, candidates).table
    proposals = proposals[~spared(proposals[["x_mm", "y_mm", "z_mm"]], nodules, excluded)]
    centres = proposals[["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=float)
    hit = inside(centres, nodules)
    listed = [place for place, nothing in zip(places, spared(places, nodules, excluded), strict=True) if not nothing]
    target = folder / maps.name
    target.mkdir()
    if file is None:
        hu = cut_cubes(segmentation.scan, centres, cube.side_mm, cube.size_px)
        CubeSet(hu, hit.sum(axis=1) > 0).save(target)
        proposals.to_csv(target / "proposals.csv", index=False)
    else:
        size_px = wide_size_px(cube, variation)
        # A stored segmentation keeps HU around proposals only; the grid is the same.
        scan = scan_on_grid(read_scan(file, reading).volume, segmentation.scan)
        training_set(scan, centres, nodules, listed, size_px * cube.step_mm, size_px).save(target)
    found = int((hit.sum(axis=0) > 0).sum())
    return {"scan": maps.name, "proposals": len(proposals), "nodules": len(nodules), "nodules_proposed": found}


def _fuse(rescorer: Rescorer, validation: pd.DataFrame, cubes: Path) -> dict[str, Any]:
    """Fit the fusion on the validation scans' proposals; how well the U-Net, the network and both tell them apart.

    The fusion is judged on patients that did not fit it, `fusion.out_of_fold`.
    """
    sets = [CubeSet.load(cubes / uid) for uid in validation["scan"]]
    if not sets:
        raise ValueError("no validation scan has maps: the rescorer's fusion has nothing to be fitted on")
    tables = [pd.read_csv(cubes / uid / "proposals.csv") for uid in validation["scan"]]
    proposals = pd.concat(tables, ignore_index=True)
    is_nodule = np.concatenate([chosen.is_nodule for chosen in sets])
    log_odds = np.concatenate([rescorer.log_odds(chosen.hu) for chosen in sets])
    evidence = fusion.evidence(log_odds, proposals)
    patients = validation["patient"].astype(str).repeat(validation["proposals"]).tolist()
    rescorer.combine = fusion.fit(evidence, is_nodule)
    nodules = int(validation["nodules"].sum())
    return {
        "scans": len(validation),
        "proposals": len(proposals),
        "nodules": nodules,
        "recall": float(validation["nodules_proposed"].sum() / nodules) if nodules else None,
        "auc_before": fusion.auc(is_nodule, proposals["mean_probability"]),
        "auc_network": fusion.auc(is_nodule, log_odds),
        "auc_after": fusion.auc(is_nodule, fusion.out_of_fold(evidence, is_nodule, patients)),
    }


def _by_name(combine: fusion.Fusion) -> dict[str, float]:
    names = ("network", "mean_probability", "max_probability", "diameter")
    return dict(zip(names, combine.weights, strict=True)) | {"intercept": combine.intercept}


def _replace(output: Path, rescorer: Rescorer, waiting: Path) -> None:
    """Write elsewhere first: a kill leaves the folder whole or absent."""
    rescorer.save(waiting)
    shutil.rmtree(output, ignore_errors=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(waiting, output)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
