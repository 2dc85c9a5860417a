"""DVC stage: what U-Net, rescorer and tuned settings are worth on patients that neither trained nor tuned them."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nodules import params
from nodules.evaluation import nodules as nodule_finding
from nodules.evaluation.detection import DRAWS, froc_points
from nodules.evaluation.nodules import ScanResult
from nodules.imaging.candidates.outline import SegmentationSettings, find_candidates
from nodules.imaging.candidates.proposals import CandidateParams
from nodules.imaging.geometry.volume import Volume
from nodules.imaging.network_input.lung_roi import resample_slices
from nodules.pictures import detection_charts as figures
from nodules.pictures.overlay import nodule_overlay, save_figure
from nodules.scans.stores import segmentations as segmentation_store
from nodules.scans.stores import slices as slice_store
from nodules.scans.tables.submission import COORDINATES, write_submission
from nodules.stages.shared.luna_part import LunaPart, by_rescorer
from nodules.stages.shared.metrics_file import write_metrics
from nodules.stages.shared.settings import RunParams
from nodules.tracking import stage as tracking

PICTURES = 8
CLOSE_UP_PX, CLOSE_UP_MM = 160, 0.4  # 64 mm around the nodule

HEADLINE = ("dice_mean", "dice_pooled", "hit_rate", "sensitivity", "false_positives_per_scan", "cpm")


def main(
    luna_root: Path,
    slices: Path,
    split: Path,
    maps: Path,
    rescorer: Path,
    tuned: Path,
    metrics: Path,
    nodules: Path,
    froc: Path,
    pictures: Path,
    submission: Path,
) -> None:
    """Write metrics, one row a nodule, the FROC, overlays of truth and prediction, and all candidates for LUNA16."""
    run, candidates = params.load("run", RunParams), params.load("candidates", CandidateParams)
    settings = SegmentationSettings(**json.loads(tuned.read_text()))
    test, inputs = LunaPart.load("test", luna_root, split, maps), [split, maps, rescorer]
    with tracking.stage_run("evaluate_unet", {"tuned": settings, "candidates": candidates}, inputs) as stage:
        test = test.scored(candidates, by_rescorer(rescorer))
        # For the FROC all candidates count, the doubtful ones last.
        results, everything = test.evaluate([settings, replace(settings, min_probability=0.0)], candidates)
        points = froc_points(
            [result.detections for result in everything if result.is_whole], draws=DRAWS, seed=run.seed
        )
        numbers = nodule_finding.metrics(results) | _froc_metrics(points)
        stage.log_metrics(numbers)
        stage.log_headline({f"unet_test_{name}": numbers[name] for name in HEADLINE if name in numbers})
        write_metrics(metrics, numbers)
        for table, file in ((_nodules(results), nodules), (points.iloc[:-1], froc)):
            file.parent.mkdir(parents=True, exist_ok=True)
            table.to_csv(file, index=False)
            stage.log_file(file)
        write_submission(_candidates(everything), submission)
        stage.log_picture(figures.froc(points), froc.stem)
        figure = _overlay(test, slices, split, settings, candidates)
        save_figure(figure, pictures)
        stage.log_picture(figure, pictures.stem)


def _nodules(results: list[ScanResult]) -> pd.DataFrame:
    rows = [
        {"seriesuid": result.seriesuid, **asdict(score), "fate": fate}
        for result in results
        for score, fate in zip(result.scores, result.fates, strict=True)
    ]
    return pd.DataFrame(rows)


def _froc_metrics(points: pd.DataFrame) -> dict[str, float]:
    """The points of the FROC and their mean, the CPM, with its interval."""
    if points.empty:
        return {}
    cpm = points.iloc[-1]
    rates = points.iloc[:-1][["false_positives_per_scan", "sensitivity"]]
    found = {f"froc_sensitivity_at_{rate:g}": sensitivity for rate, sensitivity in rates.itertuples(index=False)}
    return found | {"cpm": cpm["sensitivity"], "cpm_low": cpm["low"], "cpm_high": cpm["high"]}


def _candidates(results: list[ScanResult]) -> pd.DataFrame:
    tables = [result.candidates.assign(seriesuid=result.seriesuid) for result in results]
    places = dict(zip(("x_mm", "y_mm", "z_mm"), COORDINATES, strict=True))
    return pd.concat(tables, ignore_index=True).rename(columns=places)


def _overlay(
    test: LunaPart, slices: Path, split: Path, settings: SegmentationSettings, candidates: CandidateParams
) -> Figure:
    """Truth and prediction on the middle slice of the largest nodule of the first test scans that have one."""
    subsets = pd.read_csv(split, dtype={"seriesuid": str}).set_index("seriesuid")["subset"]
    shown = []
    for uid in [uid for uid, found in test.nodules.items() if found][:PICTURES]:
        stored = slice_store.load(slices / f"subset{subsets[uid]}" / f"{uid}.npz")
        found = segmentation_store.load(test.maps[uid])
        labels = find_candidates(found, settings, candidates, test.scorer(uid)).labels_zyx
        shown += _close_up(stored, found.scan.with_voxels(labels))
    images, truths, predictions, titles = zip(*shown, strict=True) if shown else ((), (), (), ())
    shape = (-1, CLOSE_UP_PX, CLOSE_UP_PX)
    hu, true, answer = (np.asarray(part).reshape(shape) for part in (images, truths, predictions))
    return nodule_overlay(hu, true, answer, (CLOSE_UP_MM, CLOSE_UP_MM), titles)


def _close_up(stored: slice_store.ScanSlices, predicted: Volume) -> list[tuple[NDArray, NDArray, NDArray, str]]:
    """HU, true and predicted mask around the largest nodule, all on the same small grid; nothing if it has no slice."""
    largest = int(stored.diameter_mm.argmax())
    rows = [int(row) for row, nodule in stored.nodule_numbers if nodule == largest]
    if not rows:
        return []
    row = rows[len(rows) // 2]
    index = int(stored.target_indices[row])
    scan = Volume(
        np.empty((stored.scan_slices, *stored.voxels_zyx.shape[1:]), dtype=np.uint8),
        stored.spacing_zyx_mm,
        stored.origin_xyz_mm,
        stored.direction_xyz,
    )
    _, y, x = scan.world_to_voxel(stored.centre_world_xyz[largest])
    half_y, half_x = (CLOSE_UP_MM * CLOSE_UP_PX / 2 / spacing for spacing in stored.spacing_zyx_mm[1:])
    corner_x, corner_y, corner_z = (float(v) for v in scan.voxel_to_world([index, y - half_y, x - half_x]))
    grid = Volume(
        np.empty((1, CLOSE_UP_PX, CLOSE_UP_PX), dtype=np.uint8),
        (stored.spacing_zyx_mm[0], CLOSE_UP_MM, CLOSE_UP_MM),
        (corner_x, corner_y, corner_z),
        stored.direction_xyz,
    )
    hu = stored.voxels_zyx[[list(stored.slice_indices).index(index)]]
    z = round(float(predicted.world_to_voxel(grid.origin_xyz_mm)[0]))
    found = (
        predicted.voxels_zyx[z : z + 1] if 0 <= z < predicted.shape_zyx[0] else np.zeros_like(predicted.voxels_zyx[:1])
    )
    return [
        (
            resample_slices(hu, scan, grid)[0],
            resample_slices(stored.nodule_masks_zyx[[row]], scan, grid, nearest=True)[0] == slice_store.INSIDE,
            resample_slices(found, predicted, grid, nearest=True)[0] > 0,
            f"{stored.diameter_mm[largest]:.0f} mm nodule, series ...{stored.seriesuid[-6:]}",
        )
    ]


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
