"""An Optuna study in the tracker: its charts, and one child run a trial."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodules.models import tuning
from nodules.tracking import StageRun

if TYPE_CHECKING:
    import optuna


def log_study(stage: StageRun, study: optuna.Study, value_name: str) -> None:
    """Log all complete trials; `value_name` is what the study optimises."""
    for row in tuning.trial_table(study).to_dict(orient="records"):
        number, value = row.pop("number"), row.pop("value")
        row.pop("state")
        stage.child(f"trial {number:03d}", row, {value_name: value}, tags={"optuna.trial": str(number)})
    for name, figure in tuning.study_figures(study).items():
        stage.log_picture(figure, f"optuna_{name}")
    stage.log_metrics({f"best_{value_name}": study.best_value})
