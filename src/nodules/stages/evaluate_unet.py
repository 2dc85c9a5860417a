"""Evaluate the segmentation and detection of nodules on the test patients."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd

from nodules import params
from nodules.evaluation.detection import DRAWS, froc_points
from nodules.evaluation.nodules import ScanResult
from nodules.evaluation.nodules import metrics as nodule_metrics
from nodules.imaging.candidates.outline import SegmentationSettings, find_candidates
from nodules.imaging.candidates.proposals import CandidateParams
from nodules.pictures import detection_charts
from nodules.pictures.close_up import CloseUp, close_up_overlay, largest_nodule
from nodules.pictures.overlay import save_figure
from nodules.scans.stores import segmentations, slices
from nodules.scans.tables.submission import COORDINATES, write_submission
from nodules.stages.shared import command
from nodules.stages.shared.cached_reducer import reducer_scorer
from nodules.stages.shared.metrics_file import write_metrics
from nodules.stages.shared.settings import RunParams
from nodules.stages.shared.split_part import SplitPart
from nodules.tracking.stage import stage_run

PICTURES = 8
HEADLINE = ("dice_mean", "dice_pooled", "hit_rate", "sensitivity", "false_positives_per_scan", "cpm")


def main(
    *,
    luna_root: Path,
    slices: Path,
    split: Path,
    segmentations: Path,
    reducer: Path,
    tuned: Path,
    metrics: Path,
    nodules: Path,
    froc: Path,
    overlay: Path,
    submission: Path,
) -> None:
    """Write metrics, a table of nodules, the FROC, an overlay of annotations and predictions, a LUNA16 submission."""
    run, candidates = params.load("run", RunParams), params.load("candidates", CandidateParams)
    settings = SegmentationSettings(**json.loads(tuned.read_text()))
    test, inputs = SplitPart.load("test", luna_root, split, segmentations), [split, segmentations, reducer]
    with stage_run("evaluate_unet", {"tuned": settings, "candidates": candidates}, inputs) as stage:
        test = test.scored(candidates, reducer_scorer(reducer))
        # The FROC needs all candidates, including those of low probability.
        results, everything = test.evaluate([settings, replace(settings, min_probability=0.0)], candidates)
        points = froc_points(
            [result.detections for result in everything if result.is_whole], draws=DRAWS, seed=run.seed
        )
        numbers = nodule_metrics(results) | _froc_metrics(points)
        stage.log_metrics(numbers)
        stage.log_headline({f"unet_test_{name}": numbers[name] for name in HEADLINE if name in numbers})
        write_metrics(metrics, numbers)
        for table, file in ((_nodules(results), nodules), (points.iloc[:-1], froc)):
            file.parent.mkdir(parents=True, exist_ok=True)
            table.to_csv(file, index=False)
            stage.log_file(file)
        write_submission(_candidates(everything), submission)
        stage.log_figure(detection_charts.froc(points), froc.stem)
        figure = close_up_overlay(_close_ups(test, slices, split, settings, candidates))
        save_figure(figure, overlay)
        stage.log_figure(figure, overlay.stem)


def _nodules(results: list[ScanResult]) -> pd.DataFrame:
    rows = [
        {"seriesuid": result.seriesuid, **asdict(score), "fate": fate}
        for result in results
        for score, fate in zip(result.scores, result.fates, strict=True)
    ]
    return pd.DataFrame(rows)


def _froc_metrics(points: pd.DataFrame) -> dict[str, float]:
    """Sensitivities of the FROC, and their mean (the CPM) with its interval."""
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


def _close_ups(
    test: SplitPart, slice_folder: Path, split: Path, settings: SegmentationSettings, candidates: CandidateParams
) -> list[CloseUp]:
    """Close-ups of the largest nodule in each of the first test scans with nodules."""
    subsets = pd.read_csv(split, dtype={"seriesuid": str}).set_index("seriesuid")["subset"]
    shown = []
    for uid in [uid for uid, found in test.nodules.items() if found][:PICTURES]:
        stored = slices.load(slice_folder / f"subset{subsets[uid]}" / f"{uid}.npz")
        segmentation = segmentations.load(test.segmentations[uid])
        labels = find_candidates(segmentation, settings, candidates, test.scorer(uid)).labels_zyx
        close_up = largest_nodule(stored, segmentation.scan.with_voxels(labels))
        shown += [close_up] if close_up else []
    return shown


if __name__ == "__main__":
    command.run(main)
