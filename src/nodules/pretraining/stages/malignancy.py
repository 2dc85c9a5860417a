"""Train the networks that rate nodules as LIDC's readers do, and evaluate them out of fold."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from nodules import params, progress
from nodules.checkpoint import work_folder
from nodules.evaluation.malignancy import summary
from nodules.models.malignancy.cross_fitting import calibrate, cross_fit, rater_settings
from nodules.models.malignancy.rater import MalignancyRater
from nodules.models.malignancy.training import MalignancyParams, train
from nodules.pretraining.folds import FOLDS
from nodules.pretraining.rated_nodules import folds_of, out_of_fold_table, rated_cubes
from nodules.pretraining.real_data import RealData
from nodules.stages.shared import command
from nodules.stages.shared.metrics_file import write_metrics
from nodules.stages.shared.settings import RunParams
from nodules.tracking.stage import stage_run


def main(*, real_data: Path, slices: Path, output: Path, scores: Path, predictions: Path) -> None:
    """Write the rater trained on all patients, the out-of-fold figures, and the out-of-fold ratings of each nodule."""
    run, settings = params.load("run", RunParams), params.load("malignancy", MalignancyParams)
    cubes = RealData(real_data).cubes
    folds = folds_of(cubes, slices)
    work = work_folder("pretrain_malignancy", (settings, run.seed, folds.tolist(), RealData(real_data).cube_folder))
    with stage_run("pretrain_malignancy", {"malignancy": settings}) as stage:
        rated = rated_cubes(cubes, settings)
        with progress.bar("pretrain_malignancy", settings.networks * settings.epochs * (FOLDS + 1), "epoch") as shown:

            def advance(epoch: int, numbers: dict[str, float]) -> None:
                shown.set_postfix({"epoch": epoch, **numbers}, refresh=False)
                shown.update()

            outputs = cross_fit(rated, folds, settings, seed=run.seed, work=work, log_epoch=advance)
            diameters_mm = np.array([cube.diameter_mm for cube in cubes])
            fusions, probabilities = calibrate(outputs, rated.malignant, diameters_mm, folds, run.seed)
            networks = train(rated, settings, seed=run.seed, log_epoch=advance)
        table = out_of_fold_table(cubes, folds, rated.malignant, probabilities)
        figures = summary(table, list(probabilities))
        stage.log_metrics({name: of_sizes["all_sizes"]["auc"] for name, of_sizes in figures.items()})
        MalignancyRater(networks, rater_settings(settings), fusions).save(output)
    write_metrics(scores, figures)
    predictions.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(predictions, index=False, float_format="%.6g")
    shutil.rmtree(work)


if __name__ == "__main__":
    command.run(main)
