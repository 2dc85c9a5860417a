"""An Optuna study in the tracker: its charts, and one child run a trial."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodules.models.search.charts import study_figures, trial_table
from nodules.tracking.stage import StageRun

if TYPE_CHECKING:
    import optuna


def log_study(stage: StageRun, study: optuna.Study, value_name: str) -> None:
    """Log all trials, a pruned one without a value; `value_name` is what the study optimises."""
    for row, trial in zip(trial_table(study).to_dict(orient="records"), study.trials, strict=True):
        number, value, state = row.pop("number"), row.pop("value"), row.pop("state")
        complete = state == "COMPLETE"
        stage.child(
            f"trial {number:03d}",
            row,
            {value_name: value} if complete else {},
            tags={"optuna.trial": str(number)},
            status="FINISHED" if complete else "KILLED",
            started=trial.datetime_start,
            ended=trial.datetime_complete,
        )
    for name, figure in study_figures(study).items():
        stage.log_picture(figure, f"optuna_{name}")
    stage.log_metrics({f"best_{value_name}": study.best_value})
