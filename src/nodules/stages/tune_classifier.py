"""Search XGBoost's hyperparameters with Optuna by the log-loss of held-out patients."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from nodules import params
from nodules.checkpoint import source_md5
from nodules.models.cancer.params import ClassifierParams
from nodules.models.cancer.xgboost_search import XGBoostSearch, best_xgboost, search_xgboost
from nodules.models.search.charts import trial_table
from nodules.models.search.fingerprint import fingerprint_of
from nodules.parallel import job_count
from nodules.stages.shared import command
from nodules.stages.shared.patients import Patients
from nodules.stages.shared.settings import RunParams
from nodules.stages.shared.study import log_study, trial_place
from nodules.tracking.stage import stage_run


def main(*, features: Path, labels: Path, output: Path, trials: Path) -> None:
    """Write the best settings and a table of all trials.

    The settings are chosen on all patients. To validate the choice, `train_classifier` repeats the search in each fold.
    """
    run, settings = params.load("run", RunParams), params.load("classifier", ClassifierParams)
    search = params.load("tune_classifier", XGBoostSearch)
    patients = Patients.load(features, labels)
    ranges = replace(search, trials=1, time_budget_s=None)  # a longer search of the same ranges goes on with these
    with stage_run("tune_classifier", search, [features, labels]) as stage:
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
        output.write_text(json.dumps(asdict(best_xgboost(study, settings.xgboost)), indent=2) + "\n")
        trials.parent.mkdir(parents=True, exist_ok=True)
        trial_table(study).to_csv(trials, index=False)


if __name__ == "__main__":
    command.run(main)
