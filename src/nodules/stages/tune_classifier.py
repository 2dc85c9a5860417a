"""DVC stage: Optuna chooses XGBoost's settings by the log-loss of patients outside the fold."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from nodules import params, tracking
from nodules.models import tuning
from nodules.models.classifier import ClassifierParams
from nodules.stages.patients import Patients
from nodules.stages.settings import RunParams
from nodules.stages.study_log import log_study
from nodules.waiting_scans import work_folder


def main(features: Path, labels: Path, tuned: Path, plot: Path) -> None:
    """Write the best settings, and all trials for a plot."""
    run, settings = params.load("run", RunParams), params.load("classifier", ClassifierParams)
    search = params.load("tune_classifier", tuning.XGBoostSearch)
    patients = Patients.load(features, labels)
    with tracking.stage_run("tune_classifier", search, [features, labels]) as stage:
        study = tuning.run_study(
            tuning.xgboost_objective(patients.features, patients.labels, settings, search, run.seed),
            name="tune_classifier",
            direction="minimize",
            trials=search.trials,
            seed=run.seed,
            first_trials=[asdict(settings.xgboost)],
            journal=work_folder("tune_classifier", (features, labels)) / "trials.log",
            fingerprint=tuning.fingerprint_of(search, settings, patients.features, patients.labels),
        )
        log_study(stage, study, "log_loss")
        stage.log_metrics(study.best_params)
        tuned.write_text(json.dumps(study.best_params, indent=2) + "\n")
        plot.parent.mkdir(parents=True, exist_ok=True)
        tuning.trial_table(study).to_csv(plot, index=False)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
