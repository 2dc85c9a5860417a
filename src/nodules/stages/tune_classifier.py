"""DVC stage: Optuna chooses XGBoost's settings for the final model by the log-loss of patients outside the fold."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

from nodules import params
from nodules.checkpoint import source_md5
from nodules.models.cancer.params import ClassifierParams
from nodules.models.cancer.xgboost_search import XGBoostSearch, best_xgboost, search_xgboost
from nodules.models.search.charts import trial_table
from nodules.models.search.fingerprint import fingerprint_of
from nodules.parallel import job_count
from nodules.stages.shared.patients import Patients
from nodules.stages.shared.settings import RunParams
from nodules.stages.shared.study import log_study, trial_place
from nodules.tracking import stage as tracking


def main(features: Path, labels: Path, tuned: Path, plot: Path) -> None:
    """Write the best settings, and all trials for a plot.

    They have seen every patient: `train_classifier` searches anew in each fold to judge them.
    """
    run, settings = params.load("run", RunParams), params.load("classifier", ClassifierParams)
    search = params.load("tune_classifier", XGBoostSearch)
    patients = Patients.load(features, labels)
    ranges = replace(search, trials=1, time_budget_s=None)  # a longer search of the same ranges goes on with these
    with tracking.stage_run("tune_classifier", search, [features, labels]) as stage:
        study = search_xgboost(
            patients.features,
            patients.labels,
            settings,
            search,
            run.seed,
            storage=trial_place("tune_classifier", [features, labels]),
            fingerprint=fingerprint_of(ranges, settings, source_md5(), patients.features, patients.labels),
            workers=job_count(),
        )
        log_study(stage, study, "log_loss")
        stage.log_metrics(study.best_params)
        tuned.write_text(json.dumps(asdict(best_xgboost(study, settings.xgboost)), indent=2) + "\n")
        plot.parent.mkdir(parents=True, exist_ok=True)
        trial_table(study).to_csv(plot, index=False)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
