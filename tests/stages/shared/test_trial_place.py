"""Trials lie in the stage's work folder, or in the database that the environment names."""

from __future__ import annotations

from pathlib import Path

from nodules.stages.shared.study import trial_place


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
