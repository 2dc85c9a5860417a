"""The search for XGBoost's settings."""

from __future__ import annotations

import pickle
from dataclasses import asdict, replace

import cloudpickle
import numpy as np
import optuna
import pandas as pd
import pytest

from nodules.models.cancer import xgboost_search as objective_module
from nodules.models.cancer.params import (
    ClassifierParams,
    ExtraTreesParams,
    LogisticParams,
    RandomForestParams,
    XGBoostParams,
)
from nodules.models.cancer.xgboost_search import (
    XGBoostSearch,
    best_xgboost,
    fold_pruner,
    search_xgboost,
    searched_settings,
    suggest_xgboost,
    xgboost_objective,
    xgboost_tuner,
)
from nodules.models.search.charts import trial_table
from support.bowls import study_of, values_of

PUBLISHED = XGBoostParams(
    learning_rate=0.1,
    max_depth=3,
    n_estimators=30,
    subsample=1.0,
    colsample_bytree=1.0,
    min_child_weight=1.0,
    reg_lambda=1.0,
    scale_pos_weight=3.0,
    seeds=3,
)
PARAMS = ClassifierParams(
    folds=5,
    repeats=1,
    inner_folds=3,
    max_features=50,
    random_forest=RandomForestParams(5, 1),
    extra_trees=ExtraTreesParams(5, 1),
    logistic=LogisticParams((0.1,)),
    xgboost=PUBLISHED,
)
SEARCH = XGBoostSearch(
    trials=8,
    shuffles=2,
    learning_rate=(0.01, 0.3),
    max_depth=(1, 4),
    n_estimators=(10, 40),
    subsample=(0.5, 1.0),
    colsample_bytree=(0.3, 1.0),
    min_child_weight=(1.0, 20.0),
    reg_lambda=(1.0, 100.0),
    scale_pos_weight=(1.0, 3.0),
)


@pytest.fixture(scope="module")
def patients() -> tuple[pd.DataFrame, pd.Series]:
    """60 patients whose first feature says something, the others nothing."""
    rng = np.random.default_rng(3)
    ids = [f"p{number:02d}" for number in range(60)]
    features = pd.DataFrame(rng.normal(size=(60, 3)), index=ids, columns=list("abc"))
    return features, (features["a"] + rng.normal(size=60) > 0.5).astype(int)


class TestSettings:
    def test_best_params_rebuild_the_settings(self) -> None:
        drawn = []
        study = study_of(
            lambda trial: drawn.append(suggest_xgboost(trial, SEARCH, PUBLISHED)) or 0.0,
            trials=2,
            first_trials=[searched_settings(PUBLISHED)],
        )
        assert drawn[0] == PUBLISHED
        assert [replace(PUBLISHED, **trial.params) for trial in study.trials] == drawn
        assert best_xgboost(study, PUBLISHED) == PUBLISHED

    def test_all_but_the_number_of_seeds_is_searched(self) -> None:
        assert searched_settings(PUBLISHED) == {
            name: value for name, value in asdict(PUBLISHED).items() if name != "seeds"
        }


class TestObjective:
    def losses(self, features, labels, search=SEARCH, seed=1, **changes):
        objective = xgboost_objective(features, labels, replace(PARAMS, **changes), search, seed)
        return study_of(objective, trials=1, first_trials=[searched_settings(PUBLISHED)]).trials[0]

    def test_the_value_is_the_log_loss_of_all_held_out_patients(self, patients, monkeypatch) -> None:
        """With a model that always says 0.25: -log(0.25) for cancer, -log(0.75) for the others."""
        features, labels = patients

        class Quarter:
            def probabilities(self, values):
                return np.full(len(values), 0.25)

        monkeypatch.setattr(objective_module, "fit_variants", lambda *_: [Quarter()])
        trial = self.losses(features, labels)
        wanted = -(labels.mean() * np.log(0.25) + (1 - labels.mean()) * np.log(0.75))
        assert trial.value == pytest.approx(wanted, abs=1e-12)
        assert len(trial.intermediate_values) == 6  # two shuffles of three folds

    def test_no_model_sees_whom_it_is_judged_by(self, patients, monkeypatch) -> None:
        features, labels = patients
        seen = []

        def fit(family, values, truth, params, seed, threads):
            assert params.xgboost.seeds == 1
            seen.append({tuple(row) for row in values})

            class Model:
                def probabilities(self, held_out):
                    assert not seen[-1] & {tuple(row) for row in held_out}
                    assert len(seen[-1]) + len(held_out) == 60
                    return np.full(len(held_out), 0.5)

            return [Model()]

        monkeypatch.setattr(objective_module, "fit_variants", fit)
        assert self.losses(features, labels).value == pytest.approx(np.log(2))
        assert len(seen) == 6

    def test_columns_are_screened_by_the_training_patients_alone(self, patients, monkeypatch) -> None:
        asked = []

        def screen(values, truth, max_features):
            asked.append((len(values), len(truth), max_features))
            return np.array([0, 2])

        monkeypatch.setattr(objective_module, "screen", screen)
        self.losses(*patients)
        assert asked == [(40, 40, 50)] * 6

    def test_order_of_the_rows_does_not_matter(self, patients) -> None:
        features, labels = patients
        assert self.losses(features, labels).value == self.losses(features[::-1], labels[::-1]).value

    def test_the_seed_divides_the_patients(self, patients) -> None:
        assert self.losses(*patients).value == self.losses(*patients).value
        assert self.losses(*patients).value != self.losses(*patients, seed=2).value

    def test_one_class_is_refused(self, patients) -> None:
        features, labels = patients
        with pytest.raises(ValueError, match="at least 2 patients of each class"):
            xgboost_objective(features, labels * 0, PARAMS, SEARCH, 1)

    def test_other_patients_are_refused(self, patients) -> None:
        features, labels = patients
        with pytest.raises(ValueError, match="same patients"):
            xgboost_objective(features, labels[1:], PARAMS, SEARCH, 1)

    def test_missing_values_constant_and_empty_columns(self, patients) -> None:
        features, labels = patients
        odd = features.assign(empty=np.nan, constant=1.0, holes=features["a"].where(features["b"] > 0))
        assert np.isfinite(self.losses(odd, labels).value)


class TestSearch:
    def test_it_is_not_worse_than_the_published_settings(self, patients) -> None:
        study = search_xgboost(*patients, PARAMS, SEARCH, 1)
        assert study.trials[0].params == searched_settings(PUBLISHED)
        assert len(study.trials) == 8
        assert study.best_value <= study.trials[0].value

    def test_workers_and_journal_find_the_same(self, patients, tmp_path) -> None:
        wanted = trial_table(search_xgboost(*patients, PARAMS, SEARCH, 1))
        found = search_xgboost(*patients, PARAMS, SEARCH, 1, storage=tmp_path / "trials.log", workers=2)
        pd.testing.assert_frame_equal(trial_table(found), wanted, check_exact=True)

    def test_a_longer_search_goes_on_from_a_shorter_one(self, patients, tmp_path, monkeypatch) -> None:
        journal = tmp_path / "trials.log"
        search_xgboost(*patients, PARAMS, replace(SEARCH, trials=4), 1, storage=journal)
        begun = []
        suggest = objective_module.suggest_xgboost

        def counted(trial, *rest):
            begun.append(trial.number)
            return suggest(trial, *rest)

        monkeypatch.setattr(objective_module, "suggest_xgboost", counted)
        search_xgboost(*patients, PARAMS, replace(SEARCH, trials=6, time_budget_s=600.0), 1, storage=journal)
        assert begun == [4, 5]
        features, labels = patients
        search_xgboost(features * 2, labels, PARAMS, replace(SEARCH, trials=1), 1, storage=journal)
        assert begun == [4, 5, 0]

    def test_published_settings_outside_the_ranges_are_refused(self, patients) -> None:
        outside = replace(PARAMS, xgboost=replace(PUBLISHED, max_depth=9))
        with pytest.warns(UserWarning, match="out of range"), pytest.raises(ValueError, match="max_depth = 9"):
            search_xgboost(*patients, outside, SEARCH, 1)

    def test_time_budget(self, patients) -> None:
        assert len(search_xgboost(*patients, PARAMS, replace(SEARCH, time_budget_s=1e-9), 1).trials) == 1


class TestTuner:
    def test_it_is_the_search_and_keeps_the_seeds(self, patients) -> None:
        search = replace(SEARCH, trials=4)
        found = xgboost_tuner(search)(*patients, PARAMS, 1)
        assert found == best_xgboost(search_xgboost(*patients, PARAMS, search, 1), PUBLISHED)
        assert found.seeds == 3

    def test_it_travels_to_another_process(self, patients) -> None:
        search = replace(SEARCH, trials=1)
        travelled = pickle.loads(cloudpickle.dumps(xgboost_tuner(search)))  # noqa: S301 - made here
        assert travelled(*patients, PARAMS, 1) == PUBLISHED


class TestPruner:
    @staticmethod
    def stepwise(losses):
        def objective(trial):
            trial.suggest_float("x", 0, 1)
            for step, loss in enumerate(losses(trial.number)):
                trial.report(loss, step)
                if trial.should_prune():
                    raise optuna.TrialPruned
            return float(np.mean(losses(trial.number)))

        return objective

    def test_what_is_worse_in_each_of_five_folds_is_given_up_after_them(self) -> None:
        folds = np.tile([0.3, 0.6, 0.4, 0.5, 0.45], 2)
        objective = self.stepwise(lambda number: folds + 0.01 * (number > 0))
        study = study_of(objective, trials=6, in_flight=1, first_trials=[], pruner=fold_pruner())
        assert [trial.state.name for trial in study.trials] == ["COMPLETE"] + ["PRUNED"] * 5
        assert {len(trial.intermediate_values) for trial in study.trials[1:]} == {5}

    def test_what_is_worse_in_half_of_them_is_not(self) -> None:
        folds = np.tile([0.3, 0.6, 0.4, 0.5, 0.45], 2)
        alternating = 0.01 * (-1.0) ** np.arange(10)
        objective = self.stepwise(lambda number: folds + alternating * (number > 0))
        study = study_of(objective, trials=6, in_flight=1, first_trials=[], pruner=fold_pruner())
        assert {trial.state.name for trial in study.trials} == {"COMPLETE"}

    def test_the_best_of_a_pruned_search_is_a_whole_trial(self, patients) -> None:
        search = replace(SEARCH, trials=12)
        study = search_xgboost(*patients, PARAMS, search, 1)
        table = trial_table(study)
        assert study.best_trial.state.name == "COMPLETE"
        assert study.best_value == table["value"].min()
        assert values_of(study)["number"] == list(range(12))
