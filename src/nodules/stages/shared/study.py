"""Where a stage keeps the trials of its study, and the study in the tracker: charts, and one child run per trial."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nodules.checkpoint import work_folder
from nodules.models.search.charts import study_figures, trial_table
from nodules.tracking.stage import StageRun

if TYPE_CHECKING:
    import optuna


def trial_place(stage: str, inputs: Sequence[Path]) -> Path | str:
    """URL of the database that NODULES_OPTUNA names, else a journal file in the stage's work folder.

    With the database (``postgresql+psycopg://user@host/name``) the same stage, started on several machines at once,
    shares its trials out. The database is no parameter, because the machines must not change a result. In it, only the
    study's fingerprint tells other data and other code apart.
    """
    return os.environ.get("NODULES_OPTUNA") or work_folder(stage, tuple(inputs)) / "trials.log"


def log_study(stage: StageRun, study: optuna.Study, value_name: str) -> None:
    """Log all trials, a pruned one without a value; `value_name` is what the study optimises."""
    for row, trial in zip(trial_table(study).to_dict(orient="records"), study.trials, strict=True):
        number, value, state = row.pop("number"), row.pop("value"), row.pop("state")
        complete = state == "COMPLETE"
        stage.log_child_run(
            f"trial {number:03d}",
            row,
            {value_name: value} if complete else {},
            tags={"optuna.trial": str(number)},
            status="FINISHED" if complete else "KILLED",
            started=trial.datetime_start,
            ended=trial.datetime_complete,
        )
    for name, figure in study_figures(study).items():
        stage.log_figure(figure, f"optuna_{name}")
    stage.log_metrics({f"best_{value_name}": study.best_value})
