"""Studies that are killed and resumed end as if they had not been."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from nodules.models.classifier import ClassifierParams, RandomForestParams, XGBoostParams
from nodules.models.tuning import (
    SegmentationSearch,
    XGBoostSearch,
    fingerprint_of,
    run_study,
    study_figures,
    suggest_segmentation,
    suggest_xgboost,
    trial_table,
    xgboost_objective,
)

PUBLISHED = XGBoostParams(
    learning_rate=0.1,
    max_depth=3,
    n_estimators=100,
    subsample=1.0,
    colsample_bytree=1.0,
    min_child_weight=1.0,
    reg_lambda=1.0,
    scale_pos_weight=3.0,
)
SEARCH = XGBoostSearch(
    trials=3,
    shuffles=2,
    learning_rate=(0.01, 0.3),
    max_depth=(1, 4),
    n_estimators=(20, 100),
    subsample=(0.5, 1.0),
    colsample_bytree=(0.3, 1.0),
    min_child_weight=(1.0, 20.0),
    reg_lambda=(1.0, 100.0),
    scale_pos_weight=(1.0, 3.0),
)
FIRST = {"x": 3.0, "y": 1.0}


def bowl(trial):
    """Smallest, 0, at x = 1, y = -2."""
    return (trial.suggest_float("x", -5, 5) - 1) ** 2 + (trial.suggest_float("y", -5, 5) + 2) ** 2


def study_of(objective=bowl, trials=15, **changes):
    settings = {"name": "bowl", "direction": "minimize", "trials": trials, "seed": 7, "first_trials": [FIRST]}
    return run_study(objective, **(settings | changes))


def values_of(study):
    return trial_table(study).round(12).to_dict("list")


class TestRunStudy:
    def test_published_settings_are_trial_0_and_the_best_is_no_worse(self):
        study = study_of()
        assert study.trials[0].params == FIRST
        assert study.trials[0].value == 4 + 9
        assert study.best_value < 13

    def test_exactly_the_trials_asked_for(self):
        study = study_of()
        assert [trial.number for trial in study.trials] == list(range(15))
        assert {trial.state.name for trial in study.trials} == {"COMPLETE"}

    def test_seed_decides(self):
        assert values_of(study_of()) == values_of(study_of())
        assert values_of(study_of()) != values_of(study_of(seed=8))

    def test_trials_differ_from_each_other(self):
        assert trial_table(study_of())["x"].nunique() == 15

    def test_maximize(self):
        study = study_of(lambda trial: -bowl(trial), direction="maximize")
        assert study.best_value == max(trial.value for trial in study.trials)

    def test_first_trial_outside_the_space_is_refused(self):
        with pytest.warns(UserWarning, match="out of range"), pytest.raises(ValueError, match=r"x = 9\.0"):
            study_of(first_trials=[{"x": 9.0}])

    def test_refused_first_trial_is_refused_again(self, tmp_path):
        for _ in range(2):
            with (
                pytest.warns(UserWarning, match="out of range"),
                pytest.raises(ValueError, match="in the search space"),
            ):
                study_of(first_trials=[{"x": 9.0}], journal=tmp_path / "journal.log")

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_objective_without_a_number_is_refused(self, value):
        with pytest.raises(ValueError, match="finite number"):
            study_of(lambda trial: value + bowl(trial))

    def test_first_trial_with_an_unknown_setting_is_refused(self):
        with pytest.raises(ValueError, match="'z'"):
            study_of(first_trials=[{"z": 1.0}])


class TestJournal:
    def test_finished_study_is_found_again_without_a_trial(self, tmp_path):
        done = study_of(journal=tmp_path / "deep" / "journal.log")

        def forbidden(trial):
            raise RuntimeError("a finished study must not run again")

        again = study_of(forbidden, journal=tmp_path / "deep" / "journal.log")
        assert values_of(again) == values_of(done)

    def test_more_trials_extend_and_fewer_cut(self, tmp_path):
        journal = tmp_path / "journal.log"
        study_of(trials=12, journal=journal)
        assert values_of(study_of(trials=14, journal=journal)) == values_of(study_of(trials=14))
        assert values_of(study_of(trials=5, journal=journal)) == values_of(study_of(trials=5))

    def test_other_data_start_anew(self, tmp_path):
        journal = tmp_path / "journal.log"
        study_of(trials=3, journal=journal, fingerprint="old data")
        study = study_of(lambda trial: 0 * bowl(trial), trials=3, journal=journal, fingerprint="new data")
        assert [trial.value for trial in study.trials] == [0.0] * 3

    @pytest.mark.parametrize("suggested", [0, 1, 2])
    @pytest.mark.parametrize("finished", [0, 4, 12])
    def test_trial_left_running_is_tried_again_with_the_same_values(self, tmp_path, finished, suggested):
        class Killed(BaseException):
            """Not an Exception, so that Optuna leaves the trial running as a kill does."""

        calls = []

        def dies(trial):
            calls.append(trial.number)
            if len(calls) == finished + 1:
                for name in ("x", "y")[:suggested]:
                    trial.suggest_float(name, -5, 5)
                raise Killed
            return bowl(trial)

        journal = tmp_path / "journal.log"
        with pytest.raises(Killed):
            study_of(dies, journal=journal)
        assert values_of(study_of(journal=journal)) == values_of(study_of())

    def test_trial_left_waiting_is_not_tried_twice(self, tmp_path):
        journal = tmp_path / "journal.log"
        study_of(trials=1, journal=journal)
        storage = JournalStorage(JournalFileBackend(str(journal)))
        optuna.load_study(study_name=None, storage=storage).enqueue_trial(FIRST)
        assert values_of(study_of(trials=4, journal=journal)) == values_of(study_of(trials=4))

    def test_failed_objective_ends_the_study_and_a_later_run_takes_it_up(self, tmp_path):
        def fails(trial):
            raise RuntimeError("disk full")

        with pytest.raises(RuntimeError, match="disk full"):
            study_of(fails, journal=tmp_path / "journal.log")
        assert values_of(study_of(journal=tmp_path / "journal.log")) == values_of(study_of())

    def test_half_written_line_is_dropped(self, tmp_path):
        journal = tmp_path / "journal.log"
        study_of(trials=4, journal=journal)
        with journal.open("a") as file:
            file.write('{"op_code":4,"worker')
        assert values_of(study_of(trials=6, journal=journal)) == values_of(study_of(trials=6))

    def test_process_killed_in_its_sixth_trial(self, tmp_path):
        journal = tmp_path / "journal.log"
        program = """
import os, signal, sys
from pathlib import Path
from nodules.models.tuning import run_study

def objective(trial):
    x, y = trial.suggest_float("x", -5, 5), trial.suggest_float("y", -5, 5)
    if trial.number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return (x - 1) ** 2 + (y + 2) ** 2

run_study(objective, name="bowl", direction="minimize", trials=15, seed=7, first_trials=[{"x": 3.0, "y": 1.0}],
          journal=Path(sys.argv[1]))
"""
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        died = subprocess.run([sys.executable, "-c", program, str(journal)], env=environment, check=False)
        assert died.returncode == -9
        calls = []
        study = study_of(lambda trial: calls.append(trial.number) or bowl(trial), journal=journal)
        assert len(calls) == 10
        assert values_of(study) == values_of(study_of())


class TestTablesAndFigures:
    def test_table_has_no_times(self):
        assert list(trial_table(study_of(trials=2)).columns) == ["number", "value", "state", "x", "y"]

    def test_figures(self):
        from matplotlib import pyplot as plt

        style = dict(plt.rcParams)
        assert set(study_figures(study_of(trials=6))) == {"history", "slice", "importances"}
        assert plt.get_fignums() == []
        assert dict(plt.rcParams) == style

    def test_no_importances_from_few_trials_one_setting_or_one_value(self):
        assert set(study_figures(study_of(trials=3))) == {"history", "slice"}
        assert set(study_figures(study_of(lambda trial: 0 * bowl(trial), trials=6))) == {"history", "slice"}
        one = study_of(lambda trial: trial.suggest_float("x", 0, 1), trials=6, first_trials=[])
        assert set(study_figures(one)) == {"history", "slice"}

    def test_empty_study(self):
        empty = optuna.create_study()
        assert trial_table(empty).empty
        assert study_figures(empty) == {}


class TestSpaces:
    def test_segmentation_keeps_to_its_ranges(self):
        ranges = SegmentationSearch(
            trials=5,
            allowed_false_positives=1.0,
            threshold=(0.3, 0.4),
            dilation_mm=(0.0, 0.0),
            min_probability=(0.6, 0.7),
        )
        drawn = []
        study_of(lambda trial: drawn.append(suggest_segmentation(trial, ranges)) or 0.0, trials=5, first_trials=[])
        assert all(0.3 <= one["threshold"] <= 0.4 and one["dilation_mm"] == 0 for one in drawn)
        assert all(0.6 <= one["min_probability"] <= 0.7 for one in drawn)

    def test_best_params_rebuild_the_settings(self):
        drawn = []
        first = [vars(PUBLISHED)]
        study = study_of(
            lambda trial: drawn.append(suggest_xgboost(trial, SEARCH)) or 0.0, trials=2, first_trials=first
        )
        assert drawn[0] == PUBLISHED
        assert [XGBoostParams(**trial.params) for trial in study.trials] == drawn

    def test_xgboost_study_is_not_worse_than_the_published_settings(self):
        rng = np.random.default_rng(3)
        ids = [f"p{number}" for number in range(60)]
        features = pd.DataFrame(rng.normal(size=(60, 3)), index=ids, columns=list("abc"))
        labels = (features["a"] + rng.normal(size=60) > 0.5).astype(int)
        params = ClassifierParams(3, RandomForestParams(5, 1), PUBLISHED)
        objective = xgboost_objective(features, labels, params, SEARCH, seed=1)
        study = study_of(objective, trials=SEARCH.trials, first_trials=[vars(PUBLISHED)])
        assert study.best_value <= study.trials[0].value
        once = xgboost_objective(features, labels, params, replace(SEARCH, shuffles=1), seed=1)
        assert study_of(once, trials=1, first_trials=[vars(PUBLISHED)]).trials[0].value != study.trials[0].value


class TestFingerprint:
    def test_equal_parts_are_equal_and_any_change_shows(self):
        table = pd.DataFrame({"a": [1.0, 2.0]}, index=["p", "q"])
        fingerprint = fingerprint_of(table, table["a"], SEARCH)
        assert fingerprint == fingerprint_of(table.copy(), table["a"].copy(), replace(SEARCH))
        changed = [table * 2, table.rename(columns={"a": "b"}), table.rename(index={"p": "z"})]
        others = {fingerprint_of(other, table["a"], SEARCH) for other in changed}
        others.add(fingerprint_of(table, table["a"], replace(SEARCH, trials=4)))
        assert len(others | {fingerprint}) == 5
