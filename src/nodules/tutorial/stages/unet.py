"""DVC stage: train the tutorial's U-Net, and judge it by its own numbers and by honest ones."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nodules import params, progress
from nodules.pictures.detection_charts import training_curves
from nodules.pictures.overlay import save_figure
from nodules.stages.shared.metrics_file import write_metrics
from nodules.stages.shared.settings import RunParams
from nodules.tracking import stage as tracking
from nodules.tutorial.evaluation.predictions import draw_predictions, mean_scores, predict_slices, score_predictions
from nodules.tutorial.evaluation.slice_detection import OperatingPoint, mean_soft_dice
from nodules.tutorial.learning import training
from nodules.tutorial.learning.training_arrays import ScanArrays, parts, places, slices_of
from nodules.tutorial.stages.section import TutorialSection

HEADLINE = ("own_dice", "dice", "hit", "dice_of_hits", "false_positives", "false_positives_nodule_free", "blank")


def main(
    recipe: str,
    slices: Path,
    split: Path,
    output: Path,
    metrics: Path,
    history: Path,
    test_slices: Path,
    pictures: Path,
    test_masks: Path,
) -> None:
    """Write the network, metrics, curves, one row a judged slice, pictures, and the answers to the recipe's test."""
    run, section = params.load("run", RunParams), params.load("tutorial", TutorialSection)
    part_of = pd.read_csv(split, dtype={"seriesuid": str}).set_index("seriesuid")["part"].to_dict()
    point = OperatingPoint(section.steps.min_probability, peak=section.steps.min_probability, min_mm2=0.0)
    used = {"steps": section.steps, "unet": section.unet}
    with tracking.stage_run(f"tutorial_unet@{recipe}", used, [slices, split]) as stage:
        scans = [ScanArrays.load(file) for file in sorted(slices.glob("*.npz"))]
        rows = parts(scans, part_of, section.unet, run.seed)
        images, masks = (np.concatenate([getattr(scan, name) for scan in scans]) for name in ("images", "masks"))
        with progress.epochs(f"tutorial_unet@{recipe}", section.unet.epochs, stage.log_epoch) as log_epoch:
            unet, curves = training.train(
                images[rows["train"]],
                masks[rows["train"]],
                images[rows["validation"]],
                masks[rows["validation"]],
                section.unet,
                run.seed,
                log_epoch=log_epoch,
            )
        unet.save(output)
        answers, asked = unet.predict(images[rows["test"]]), masks[rows["test"]]
        _save_answers(test_masks, scans, rows["test"], answers, asked)
        trained_on = slices_of(scans, np.concatenate([rows["train"], rows["validation"]]))
        predicted = predict_slices(slices / "judged", unet.predict, trained_on)
        judged, shown = score_predictions(predicted, point)
        numbers = (
            {f"{part}_slices": float(len(chosen)) for part, chosen in rows.items()}
            | {"own_dice": mean_soft_dice(asked, answers)}
            | mean_scores(judged, section.steps.min_probability)
        )
        stage.log_metrics(numbers)
        stage.log_headline({f"tutorial_{name}": numbers[name] for name in HEADLINE if name in numbers})
        write_metrics(metrics, numbers)
        for table, file in ((curves, history), (judged, test_slices)):
            file.parent.mkdir(parents=True, exist_ok=True)
            table.to_csv(file, index=False)
            stage.log_file(file)
        stage.log_picture(training_curves(curves), "training_curves")
        figure = draw_predictions(shown, point)
        save_figure(figure, pictures)
        stage.log_picture(figure, pictures.stem)


def _save_answers(
    path: Path,
    scans: Sequence[ScanArrays],
    rows: NDArray[np.intp],
    answers: NDArray[np.float32],
    masks: NDArray[np.float32],
) -> None:
    uids, indices = places(scans)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, seriesuid=uids[rows], z=indices[rows], answers=answers, masks=masks)


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
