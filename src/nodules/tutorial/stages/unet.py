"""Train the tutorial's U-Net, and evaluate it by the tutorial's own metric and on held-out slices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nodules import params, progress
from nodules.pictures.detection_charts import training_curves
from nodules.pictures.overlay import save_figure
from nodules.stages.shared import command
from nodules.stages.shared.metrics_file import write_metrics
from nodules.stages.shared.settings import RunParams
from nodules.tracking.stage import stage_run
from nodules.tutorial.evaluation.predictions import draw_predictions, mean_scores, predict_slices, score_predictions
from nodules.tutorial.evaluation.slice_detection import OperatingPoint, mean_soft_dice
from nodules.tutorial.learning import training
from nodules.tutorial.learning.training_arrays import ScanArrays, slice_positions, slices_by_series, split_slices
from nodules.tutorial.stages.section import TutorialSection

HEADLINE = ("own_dice", "dice", "hit", "dice_of_hits", "false_positives", "false_positives_nodule_free", "blank")


def main(
    *,
    recipe: str,
    slices: Path,
    split: Path,
    output: Path,
    metrics: Path,
    curves: Path,
    test_slices: Path,
    overlay: Path,
    test_masks: Path,
) -> None:
    """Write the network, its metrics and curves, and a table, an overlay and the predicted masks of the test slices."""
    run, section = params.load("run", RunParams), params.load("tutorial", TutorialSection)
    part_of = pd.read_csv(split, dtype={"seriesuid": str}).set_index("seriesuid")["part"].to_dict()
    point = OperatingPoint(section.steps.min_probability, peak=section.steps.min_probability, min_mm2=0.0)
    used = {"steps": section.steps, "unet": section.unet}
    with stage_run(f"tutorial_unet@{recipe}", used, [slices, split]) as stage:
        scans = [ScanArrays.load(file) for file in sorted(slices.glob("*.npz"))]
        rows = split_slices(scans, part_of, section.unet, run.seed)
        images, masks = (np.concatenate([getattr(scan, name) for scan in scans]) for name in ("images", "masks"))
        with progress.epochs(f"tutorial_unet@{recipe}", section.unet.epochs, stage.log_epoch) as log_epoch:
            unet, history = training.train(
                images[rows["train"]],
                masks[rows["train"]],
                images[rows["validation"]],
                masks[rows["validation"]],
                section.unet,
                run.seed,
                log_epoch=log_epoch,
            )
        unet.save(output)
        predicted, test_masks_of_slices = unet.predict(images[rows["test"]]), masks[rows["test"]]
        _save_predictions(test_masks, scans, rows["test"], predicted, test_masks_of_slices)
        trained_on = slices_by_series(scans, np.concatenate([rows["train"], rows["validation"]]))
        rows_of_slices, shown = score_predictions(predict_slices(slices / "judged", unet.predict, trained_on), point)
        numbers = (
            {f"{part}_slices": float(len(chosen)) for part, chosen in rows.items()}
            | {"own_dice": mean_soft_dice(test_masks_of_slices, predicted)}
            | mean_scores(rows_of_slices, section.steps.min_probability)
        )
        stage.log_metrics(numbers)
        stage.log_headline({f"tutorial_{name}": numbers[name] for name in HEADLINE if name in numbers})
        write_metrics(metrics, numbers)
        for table, file in ((history, curves), (rows_of_slices, test_slices)):
            file.parent.mkdir(parents=True, exist_ok=True)
            table.to_csv(file, index=False)
            stage.log_file(file)
        stage.log_figure(training_curves(history), "training_curves")
        figure = draw_predictions(shown, point)
        save_figure(figure, overlay)
        stage.log_figure(figure, overlay.stem)


def _save_predictions(
    path: Path,
    scans: Sequence[ScanArrays],
    rows: NDArray[np.intp],
    predicted: NDArray[np.float32],
    masks: NDArray[np.float32],
) -> None:
    uids, indices = slice_positions(scans)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, seriesuid=uids[rows], z=indices[rows], answers=predicted, masks=masks)


if __name__ == "__main__":
    command.run(main)
