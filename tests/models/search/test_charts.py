"""A study as a table and as charts."""

from __future__ import annotations

import optuna

from nodules.models.search.charts import study_figures, trial_table
from support.bowls import bowl, study_of


def test_table_has_no_times() -> None:
    assert list(trial_table(study_of(trials=2)).columns) == ["number", "value", "state", "x", "y"]


def test_a_pruned_trial_has_no_value() -> None:
    def prunes(trial):
        trial.report(bowl(trial), 0)
        if trial.number == 1:
            raise optuna.TrialPruned
        return 2.0

    table = trial_table(study_of(prunes, trials=3))
    assert table["state"].tolist() == ["COMPLETE", "PRUNED", "COMPLETE"]
    assert table["value"].isna().tolist() == [False, True, False]
    assert table["x"].notna().all()


def test_figures() -> None:
    from matplotlib import pyplot as plt

    style = dict(plt.rcParams)
    assert set(study_figures(study_of(trials=6))) == {"history", "slice", "importances"}
    assert plt.get_fignums() == []
    assert dict(plt.rcParams) == style


def test_no_importances_from_few_trials_one_setting_or_one_value() -> None:
    assert set(study_figures(study_of(trials=3))) == {"history", "slice"}
    assert set(study_figures(study_of(lambda trial: 0 * bowl(trial), trials=6))) == {"history", "slice"}
    one = study_of(lambda trial: trial.suggest_float("x", 0, 1), trials=6, first_trials=[])
    assert set(study_figures(one)) == {"history", "slice"}


def test_figures_of_a_study_with_pruned_trials() -> None:
    def prunes(trial):
        value = bowl(trial)
        trial.report(value, 0)
        if trial.number % 2:
            raise optuna.TrialPruned
        return value

    assert set(study_figures(study_of(prunes, trials=12))) == {"history", "slice", "importances"}


def test_empty_study() -> None:
    empty = optuna.create_study()
    assert trial_table(empty).empty
    assert study_figures(empty) == {}
