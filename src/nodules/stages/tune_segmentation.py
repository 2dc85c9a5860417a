"""DVC stage: Optuna chooses outline, dilation of the lungs and lowest probability on the validation patients."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from nodules import params, tracking
from nodules.evaluation import nodule_finding
from nodules.imaging.candidates import SegmentationSettings
from nodules.imaging.proposals import CandidateParams
from nodules.models import tuning
from nodules.stages.luna_part import LunaPart, by_rescorer
from nodules.stages.settings import RunParams
from nodules.stages.study_log import log_study
from nodules.waiting_scans import work_folder

if TYPE_CHECKING:
    import optuna

FIRST_TRIAL = {"threshold": 0.5, "dilation_mm": 2.0, "min_probability": 0.5}


def main(luna_root: Path, split: Path, maps: Path, rescorer: Path, tuned: Path, plot: Path) -> None:
    """Write the best settings, and all trials for a plot."""
    run, search = params.load("run", RunParams), params.load("tune_segmentation", tuning.SegmentationSearch)
    candidates = params.load("candidates", CandidateParams)
    validation = LunaPart.load("validation", luna_root, split, maps)
    journal = work_folder("tune_segmentation", (maps, split, rescorer)) / "trials.log"
    with tracking.stage_run("tune_segmentation", search, [split, maps, rescorer]) as stage:
        validation = validation.scored(candidates, by_rescorer(rescorer))
        study = tuning.run_study(
            _objective(validation, search, candidates),
            name="tune_segmentation",
            direction="maximize",
            trials=search.trials,
            seed=run.seed,
            first_trials=[FIRST_TRIAL],
            journal=journal,
            fingerprint=tuning.fingerprint_of(search, candidates),
        )
        log_study(stage, study, "score")
        stage.log_metrics(study.best_params)
        tuned.write_text(json.dumps(study.best_params, indent=2) + "\n")
        plot.parent.mkdir(parents=True, exist_ok=True)
        tuning.trial_table(study).to_csv(plot, index=False)


def _objective(
    validation: LunaPart, search: tuning.SegmentationSearch, candidates: CandidateParams
) -> Callable[[optuna.Trial], float]:
    def objective(trial: optuna.Trial) -> float:
        settings = SegmentationSettings(**tuning.suggest_segmentation(trial, search))
        (results,) = validation.evaluate([settings], candidates)
        return nodule_finding.tuning_score(results, search.allowed_false_positives)

    return objective


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
