"""Where the trials of a study are kept, and what the tracker is given of them."""

from __future__ import annotations

from pathlib import Path

from optuna.pruners import ThresholdPruner

from nodules.stages.shared.study import log_study, trial_place
from support.bowls import FIRST, stepwise, study_of


class Recorder:
    """Takes what a stage's run would be given."""

    def __init__(self) -> None:
        self.children, self.pictures, self.metrics = [], [], {}

    def log_child_run(self, name, params, metrics, **rest) -> None:
        self.children.append((name, params, metrics, rest))

    def log_figure(self, figure, name) -> None:
        self.pictures.append(name)

    def log_metrics(self, metrics) -> None:
        self.metrics |= metrics


def test_each_trial_is_a_run_and_the_charts_are_pictures() -> None:
    study = study_of(stepwise, trials=20, pruner=ThresholdPruner(upper=20))
    stage = Recorder()
    log_study(stage, study, "loss")
    name, params, metrics, rest = stage.children[0]
    assert (name, params, metrics) == ("trial 000", FIRST, {"loss": 13.0})
    assert rest["status"] == "FINISHED"
    assert rest["tags"] == {"optuna.trial": "0"}
    assert rest["started"] <= rest["ended"]
    pruned = [child for child in stage.children if child[3]["status"] == "KILLED"]
    assert 0 < len(pruned) < 20
    assert all(metrics == {} for _, _, metrics, _ in pruned)
    assert len(stage.children) == 20
    assert set(stage.pictures) == {"optuna_history", "optuna_slice", "optuna_importances"}
    assert stage.metrics == {"best_loss": study.best_value}


def test_journal_in_the_work_folder_of_these_inputs(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("NODULES_OPTUNA", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    table = tmp_path / "features.csv"
    table.write_text("a")
    before = trial_place("tune_classifier", [table])
    assert isinstance(before, Path)
    assert before.parents[1] == tmp_path / ".work" / "tune_classifier"
    assert trial_place("tune_classifier", [table]) == before
    table.write_text("ab")
    assert trial_place("tune_classifier", [table]) != before


def test_database_of_the_environment(monkeypatch) -> None:
    monkeypatch.setenv("NODULES_OPTUNA", "postgresql+psycopg://me@host/trials")
    assert trial_place("tune_classifier", []) == "postgresql+psycopg://me@host/trials"
