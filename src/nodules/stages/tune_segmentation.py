"""DVC stage: Optuna chooses outline, dilation of the lungs and lowest probability on the validation patients."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nodules import params
from nodules.checkpoint import source_md5
from nodules.evaluation import nodules as nodule_finding
from nodules.imaging.candidates.outline import SegmentationSettings
from nodules.imaging.candidates.proposals import CandidateParams
from nodules.models.search.charts import trial_table
from nodules.models.search.fingerprint import fingerprint_of
from nodules.models.search.study import run_study
from nodules.models.unet.outline_search import SegmentationSearch, suggest_segmentation
from nodules.scans.tables.submission import excluded_table
from nodules.stages.shared.luna_part import LunaPart, by_rescorer
from nodules.stages.shared.settings import RunParams
from nodules.stages.shared.study import log_study, trial_place
from nodules.tracking import stage as tracking

if TYPE_CHECKING:
    import optuna

FIRST_TRIAL = {"threshold": 0.5, "dilation_mm": 2.0, "min_probability": 0.5}


def main(luna_root: Path, split: Path, maps: Path, rescorer: Path, tuned: Path, plot: Path) -> None:
    """Write the best settings, and all trials for a plot."""
    run, search = params.load("run", RunParams), params.load("tune_segmentation", SegmentationSearch)
    candidates = params.load("candidates", CandidateParams)
    validation = LunaPart.load("validation", luna_root, split, maps)
    place = trial_place("tune_segmentation", [maps, split, rescorer])
    ranges = replace(search, trials=1, time_budget_s=None)  # a longer search of the same ranges goes on with these
    tables = filter(None, (luna_root / "annotations.csv", excluded_table(luna_root)))
    inputs = [*tables, split, rescorer, *validation.maps.values()]
    with tracking.stage_run("tune_segmentation", search, [split, maps, rescorer]) as stage:
        validation = validation.scored(candidates, by_rescorer(rescorer))
        study = run_study(
            _objective(validation, search, candidates),
            name="tune_segmentation",
            direction="maximize",
            trials=search.trials,
            seed=run.seed,
            first_trials=[FIRST_TRIAL],
            storage=place,
            fingerprint=fingerprint_of(ranges, candidates, source_md5(), *inputs),
            in_flight=1,  # a trial spreads its scans over all cores, so the sampler may know every trial before its own
            time_budget_s=search.time_budget_s,
        )
        log_study(stage, study, "score")
        stage.log_metrics(study.best_params)
        tuned.write_text(json.dumps(study.best_params, indent=2) + "\n")
        plot.parent.mkdir(parents=True, exist_ok=True)
        trial_table(study).to_csv(plot, index=False)


def _objective(
    validation: LunaPart, search: SegmentationSearch, candidates: CandidateParams
) -> Callable[[optuna.Trial], float]:
    def objective(trial: optuna.Trial) -> float:
        settings = SegmentationSettings(**suggest_segmentation(trial, search))
        (results,) = validation.evaluate([settings], candidates)
        return nodule_finding.tuning_score(results, search.allowed_false_positives)

    return objective


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
