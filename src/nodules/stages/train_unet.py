"""Train the U-Net and keep the epoch with the lowest validation loss; an interrupted run resumes."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from nodules import parallel, params, progress
from nodules.checkpoint import work_folder
from nodules.imaging.network_input.lung_roi import LungRoiParams
from nodules.imaging.network_input.slice_context import ContextParams
from nodules.models.unet import training
from nodules.models.unet.sampling import PatchSampler
from nodules.models.unet.segmenter import Segmenter, SegmenterParams, SegmenterSettings, initial_weights
from nodules.models.unet.training_slices import SliceSet, slice_set
from nodules.pictures.detection_charts import training_curves
from nodules.scans.stores import slices
from nodules.scans.volume_files.reader import read_mask
from nodules.stages.shared import command
from nodules.stages.shared.metrics_file import write_metrics
from nodules.stages.shared.settings import RunParams
from nodules.tracking.stage import stage_run


def main(*, slices: Path, lungs: Path, split: Path, output: Path, metrics: Path, curves: Path) -> None:
    """Write the trained segmenter, the metrics of its best epoch and the training curves."""
    run, settings = params.load("run", RunParams), params.load("unet", training.TrainingParams).from_start()
    roi, context = params.load("lung_roi", LungRoiParams), params.load("context", ContextParams)
    inference = params.load("segmenter", SegmenterParams)
    scans = pd.read_csv(split, dtype={"seriesuid": str})
    earlier = Path(settings.start_from) if settings.start_from else None
    start_from = initial_weights(earlier, settings.network, roi, context) if earlier else None
    work = work_folder("train_unet", (settings, roi, context, run.seed, slices, lungs, split, earlier))
    used = {"unet": settings, "lung_roi": roi, "context": context, "segmenter": inference}
    with stage_run("train_unet", used, [slices, lungs, split]) as stage:
        sets = _prepare(
            scans[scans["part"] != "test"],
            slices,
            lungs,
            functools.partial(prepare_scan, roi=roi, context=context),
            run,
            work / "slices",
        )
        samplers = [
            PatchSampler(
                [sets[uid] for uid in scans["seriesuid"][scans["part"] == part] if uid in sets],
                settings.sampling,
                roi,
            )
            for part in ("train", "validation")
        ]
        with progress.epochs("train_unet", settings.epochs, stage.log_epoch) as log_epoch:
            network, history = training.train(
                samplers[0],
                samplers[1],
                context.slices,
                settings,
                seed=run.seed,
                work=work / "epochs",
                start_from=start_from,
                log_epoch=log_epoch,
            )
        Segmenter([network], SegmenterSettings(settings.network, roi, context, inference)).save(output)
        best = history.iloc[training.best_epoch(history["val_loss"].tolist(), settings.mining_epochs) - 1].to_dict()
        stage.log_figure(training_curves(history), "training_curves")
        stage.log_headline({"unet_val_dice": best["val_dice"]})
        write_metrics(metrics, best)
        curves.parent.mkdir(parents=True, exist_ok=True)
        history.to_csv(curves, index=False)
    shutil.rmtree(work)


def _prepare(
    scans: pd.DataFrame, slices: Path, lungs: Path, prepare: parallel.ProcessScan, run: RunParams, output: Path
) -> dict[str, SliceSet]:
    """Resample the slices of all scans to the network's grid, once, into files that training memory-maps."""
    items = {
        row.seriesuid: (
            slices / f"subset{row.subset}" / f"{row.seriesuid}.npz",
            lungs / f"subset{row.subset}" / f"{row.seriesuid}.mha",
        )
        for row in scans.itertuples()
    }
    rows = parallel.map_scans(
        prepare,
        items,
        stage="train_unet-slices",
        output=output,
        max_failures=run.max_failures,
    )
    return {row["scan"]: SliceSet.load(output / row["scan"]) for row in rows}


def prepare_scan(
    item: tuple[Path, Path], folder: Path, *, roi: LungRoiParams, context: ContextParams
) -> dict[str, Any]:
    """Write the slices of one scan on the network's grid."""
    stored, lungs = item
    prepared = slice_set(slices.load(stored), read_mask(lungs), roi, context)
    (folder / stored.stem).mkdir()
    prepared.save(folder / stored.stem)
    return {"scan": stored.stem, "slices": len(prepared.hu), "sections": len(prepared.centres)}


if __name__ == "__main__":
    command.run(main)
