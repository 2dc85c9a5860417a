"""Search the segmentation's threshold, lung dilation and lowest probability with Optuna on the validation patients."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nodules import params
from nodules.checkpoint import source_md5
from nodules.evaluation.nodules import tuning_score
from nodules.imaging.candidates.outline import SegmentationSettings
from nodules.imaging.candidates.proposals import CandidateParams
from nodules.models.search.charts import trial_table
from nodules.models.search.fingerprint import fingerprint_of
from nodules.models.search.study import run_study
from nodules.models.unet.outline_search import SegmentationSearch, suggest_segmentation
from nodules.scans.tables.submission import excluded_table
from nodules.stages.shared import command
from nodules.stages.shared.cached_reducer import reducer_scorer
from nodules.stages.shared.settings import RunParams
from nodules.stages.shared.split_part import SplitPart
from nodules.stages.shared.study import log_study, trial_place
from nodules.tracking.stage import stage_run

if TYPE_CHECKING:
    import optuna

FIRST_TRIAL = {"threshold": 0.5, "dilation_mm": 2.0, "min_probability": 0.5}


def main(*, luna_root: Path, split: Path, segmentations: Path, reducer: Path, output: Path, trials: Path) -> None:
    """Write the best settings and a table of all trials."""
    run, search = params.load("run", RunParams), params.load("tune_segmentation", SegmentationSearch)
    candidates = params.load("candidates", CandidateParams)
    validation = SplitPart.load("validation", luna_root, split, segmentations)
    place = trial_place("tune_segmentation", [segmentations, split, reducer])
    ranges = replace(search, trials=1, time_budget_s=None)  # a longer search of the same ranges goes on with these
    tables = filter(None, (luna_root / "annotations.csv", excluded_table(luna_root)))
    inputs = [*tables, split, reducer, *validation.segmentations.values()]
    with stage_run("tune_segmentation", search, [split, segmentations, reducer]) as stage:
        validation = validation.scored(candidates, reducer_scorer(reducer))
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
        output.write_text(json.dumps(study.best_params, indent=2) + "\n")
        trials.parent.mkdir(parents=True, exist_ok=True)
        trial_table(study).to_csv(trials, index=False)


def _objective(
    validation: SplitPart, search: SegmentationSearch, candidates: CandidateParams
) -> Callable[[optuna.Trial], float]:
    def objective(trial: optuna.Trial) -> float:
        settings = SegmentationSettings(**suggest_segmentation(trial, search))
        (results,) = validation.evaluate([settings], candidates)
        return tuning_score(results, search.allowed_false_positives)

    return objective


if __name__ == "__main__":
    command.run(main)
