"""What ends a trial or a study early: a pruner, and a budget of time."""

import time
from types import SimpleNamespace

from optuna.pruners import ThresholdPruner

from nodules.models.search.charts import trial_table
from support.bowls import bowl, stepwise, study_of, values_of


class TestPruning:
    def test_pruned_trials_count_and_have_no_value(self):
        study = study_of(stepwise, trials=20, pruner=ThresholdPruner(upper=20))
        table = trial_table(study)
        assert len(table) == 20
        assert set(table["state"]) == {"COMPLETE", "PRUNED"}
        assert table["value"].isna().tolist() == (table["state"] == "PRUNED").tolist()
        assert study.best_value == table["value"].min()

    def test_first_trials_are_not_pruned(self):
        study = study_of(stepwise, trials=20, pruner=ThresholdPruner(upper=0))
        assert [trial.state.name for trial in study.trials] == ["COMPLETE"] + ["PRUNED"] * 19

    def test_another_pruner_is_another_study(self, tmp_path):
        journal = tmp_path / "journal.log"
        study_of(stepwise, trials=6, pruner=ThresholdPruner(upper=0), storage=journal)
        study = study_of(stepwise, trials=6, pruner=ThresholdPruner(upper=99), storage=journal)
        assert {trial.state.name for trial in study.trials} == {"COMPLETE"}


class TestTimeBudget:
    def test_no_trial_starts_after_it(self, monkeypatch):
        """Each trial takes ten seconds of a clock that stands still otherwise: the third begins after 20."""
        calls = []
        clock = SimpleNamespace(monotonic=lambda: 10.0 * len(calls), sleep=time.sleep)
        monkeypatch.setattr("nodules.models.search.study.time", clock)

        def slow(trial):
            calls.append(trial.number)
            return bowl(trial)

        study = study_of(slow, trials=100, time_budget_s=25.0)
        assert len(study.trials) == len(calls) == 3
        assert values_of(study) == values_of(study_of(trials=3))

    def test_one_trial_is_always_run(self):
        assert len(study_of(time_budget_s=1e-9).trials) == 1

    def test_what_is_left_can_be_run_later(self, tmp_path):
        journal = tmp_path / "journal.log"
        assert len(study_of(time_budget_s=1e-9, storage=journal).trials) == 1
        assert values_of(study_of(storage=journal)) == values_of(study_of())
