"""Nested cross-validation: who sees whom, and what the numbers are worth."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nodules.models.cancer import classifier, cross_fitting, nested_validation
from nodules.models.cancer.calibration import Calibration
from nodules.models.cancer.classifier import OutOfFoldResult
from nodules.models.cancer.nested_validation import best, best_f1_threshold, fit_models, validate
from nodules.models.cancer.params import LEARNED, MODEL_NAMES
from nodules.models.cancer.xgboost_search import XGBoostSearch, xgboost_tuner
from support.fitted_classifiers import fit
from support.labelled_cohorts import QUICK, cohort, skill, telling_cohort

SMALL = replace(
    QUICK,
    random_forest=replace(QUICK.random_forest, trees=10),
    extra_trees=replace(QUICK.extra_trees, trees=10),
    xgboost=replace(QUICK.xgboost, seeds=1, n_estimators=15),
)


def of_model(nested, name):
    """One series of probabilities by patient id per repeat."""
    return [part.set_index("id")[name] for _, part in nested.table.groupby("repeat")]


@pytest.fixture(scope="module")
def told():
    features, labels = telling_cohort()
    return features, labels, validate(features, labels, replace(SMALL, repeats=2), 7)


class TestTable:
    def test_every_patient_is_judged_once_per_repeat(self, told):
        features, labels, nested = told
        table = nested.table
        columns = ["id", "repeat", "fold", "label", *MODEL_NAMES, "chosen", "chosen_model", "threshold"]
        assert list(table.columns) == columns
        for _, part in table.groupby("repeat"):
            assert part["id"].tolist() == sorted(features.index)
            assert part.set_index("id")["label"].loc[labels.index].tolist() == labels.tolist()
            assert part.groupby("fold")["label"].sum().max() - part.groupby("fold")["label"].sum().min() <= 1

    def test_repeats_are_other_folds(self, told):
        first, second = (part["fold"].tolist() for _, part in told[2].table.groupby("repeat"))
        assert first != second

    def test_chosen_is_the_column_of_the_chosen_model(self, told):
        table = told[2].table
        for _, part in table.groupby(["repeat", "fold"]):
            (name,), (threshold,) = part["chosen_model"].unique(), part["threshold"].unique()
            assert name in LEARNED
            assert part["chosen"].equals(part[name].rename("chosen"))
            assert 0 < threshold < 1

    def test_constant_models_know_the_training_patients_only(self, told):
        for _, part in told[2].table.groupby(["repeat", "fold"]):
            labels = told[1].drop(part["id"])
            assert part["prior"].to_numpy() == pytest.approx(labels.mean())
            assert set(part["all_positive"]) == {1.0}
            assert set(part["all_negative"]) == {0.0}

    def test_models_are_given_repeat_by_repeat(self, told):
        _, labels, nested = told
        first, second = of_model(nested, "chosen")
        assert set(first.index) == set(second.index) == set(labels.index)
        assert skill(labels, first) > 0.15


class TestWhatItIsWorth:
    def test_shuffled_labels_give_no_skill(self):
        features, labels = telling_cohort(patients=200)
        shuffled = pd.Series(np.random.default_rng(2).permutation(labels), index=labels.index)
        nested = validate(features, shuffled, SMALL, 1)
        assert all(skill(shuffled, of_model(nested, name)[0]) < 0.02 for name in (*LEARNED, "chosen"))

    def test_copied_label_gives_nearly_all_skill(self):
        features, labels = cohort(patients=150, positives=50)
        nested = validate(features.assign(copy=labels), labels, SMALL, 1)
        assert skill(labels, of_model(nested, "chosen")[0]) > 0.9

    def test_order_of_rows_and_number_of_processes_do_not_matter(self):
        features, labels = telling_cohort(patients=60)
        one = validate(features, labels, SMALL, 3).table
        two = validate(features[::-1], labels.sort_values(), SMALL, 3, jobs=2).table
        pd.testing.assert_frame_equal(one, two, check_exact=True)

    def test_seed_matters(self):
        features, labels = telling_cohort(patients=60)
        one, other = (validate(features, labels, SMALL, seed).table for seed in (3, 4))
        assert not one.equals(other)

    def test_each_fold_is_reported(self):
        told = []
        validate(*cohort(), replace(SMALL, repeats=2), 1, done=lambda: told.append(1))
        assert len(told) == 6


class TestWhoSeesWhom:
    def test_nothing_is_fitted_to_a_held_out_patient(self, monkeypatch):
        """Each patient's number is a feature; every fit notes the numbers it was given."""
        features, labels = cohort(patients=60, positives=24)
        features = features.assign(number=np.arange(60.0))
        seen, fit_families = [], cross_fitting.fit_families

        def noting(families, table, *rest):
            seen.append(frozenset(table.patients))
            return fit_families(families, table, *rest)

        monkeypatch.setattr(cross_fitting, "fit_families", noting)
        monkeypatch.setattr(classifier, "fit_families", noting)
        nested = validate(features, labels, SMALL, 1)
        held_out = [frozenset(part["id"]) for _, part in nested.table.groupby("fold")]
        everybody = frozenset(features.index)
        for position, fold in enumerate(held_out):
            # Three inner folds, then the fit to all the training patients.
            inner, final = seen[4 * position : 4 * position + 3], seen[4 * position + 3]
            assert final == everybody - fold
            assert all(part < final for part in inner)
            left_out = [final - part for part in inner]
            assert frozenset().union(*left_out) == final
            assert sum(map(len, left_out)) == len(final)

    def test_tuning_sees_the_training_patients_and_its_settings_are_used(self, monkeypatch):
        features, labels = telling_cohort(patients=60)
        given, used, wanted = [], [], replace(SMALL.xgboost, n_estimators=3)

        def tune(table, truth, params, seed):
            given.append((set(table.index), set(truth.index), params, seed))
            return wanted

        evaluate = nested_validation.evaluate_out_of_fold
        monkeypatch.setattr(
            nested_validation,
            "evaluate_out_of_fold",
            lambda table, params, *rest: used.append(params) or evaluate(table, params, *rest),
        )
        nested = validate(features, labels, SMALL, 1, tune=tune)
        for (patients, labelled, params, _), (_, part) in zip(given, nested.table.groupby("fold"), strict=True):
            assert patients == labelled == set(features.index) - set(part["id"])
            assert params == SMALL
        assert len({seed for *_, seed in given}) == 3
        assert all(params.xgboost == wanted for params in used)


class TestFewPatients:
    # Held out are 1 of 2 or 3 patients in 3 folds and more, 1 of 2 and 2 of 3 or 4 in 2 folds. A search divides the
    # others once more and so wants 2 of each class.
    @pytest.mark.parametrize(("folds", "tuned", "wanted"), [(2, False, 2), (5, False, 2), (2, True, 4), (5, True, 3)])
    def test_as_many_of_each_class_as_the_message_wants_are_enough(self, folds, tuned, wanted):
        params = replace(SMALL, folds=folds)
        search = XGBoostSearch(1, 1, (0.1, 0.2), (1, 2), (5, 20), (0.5, 1.0), (0.5, 1.0), (1, 2), (1, 2), (1.0, 1.0))
        tune = xgboost_tuner(search) if tuned else None
        for inverted in (False, True):
            features, labels = cohort(patients=15, positives=wanted - 1)
            few = 1 - labels if inverted else labels
            with pytest.raises(
                ValueError, match=rf"with {folds} folds.* at least {wanted} .* got 15 patients, {few.sum()} "
            ):
                validate(features, few, params, 1, tune=tune)
            features, labels = cohort(patients=15, positives=wanted)
            table = validate(features, 1 - labels if inverted else labels, params, 1, tune=tune).table
            assert sorted(table["id"]) == sorted(features.index)

    def test_folds_are_lowered_to_the_rarer_class(self):
        labels = pd.Series([1] * 4 + [0] * 9)
        wide = replace(SMALL, folds=10)
        assert nested_validation.outer_folds(labels, wide, tuned=True) == 4
        assert nested_validation.outer_folds(1 - labels, wide, tuned=False) == 4
        assert nested_validation.outer_folds(labels, SMALL, tuned=True) == SMALL.folds

    def test_the_search_is_named_where_it_is_the_reason(self):
        two = np.array([1, 1, 0, 0, 0])
        assert nested_validation.outer_folds(two, SMALL, tuned=False) == 2
        with pytest.raises(ValueError, match="and a search for XGBoost's settings inside each"):
            nested_validation.outer_folds(two, SMALL, tuned=True)


class TestScansEnteredTwice:
    def test_one_scan_under_two_ids_is_refused(self):
        features, labels = cohort()
        features.iloc[7] = features.iloc[30]
        names = sorted([features.index[7], features.index[30]])
        with pytest.raises(ValueError, match=f"patients {names[0]}, {names[1]}"):
            validate(features, labels, SMALL, 1)

    def test_missing_values_are_alike(self):
        features, labels = cohort()
        features.iloc[:20, 3] = np.nan
        features.iloc[7] = features.iloc[10]
        with pytest.raises(ValueError, match="entered once"):
            validate(features, labels, SMALL, 1)

    def test_patients_without_findings_and_coarse_values_are_alike_by_nature(self):
        features, labels = cohort(patients=40, positives=15)
        features.iloc[:12] = 0.0
        coarse = (features * 0.8).round().clip(-1, 1)
        for table in (features, coarse):
            assert len(validate(table, labels, SMALL, 1).table) == 40


class TestFitModels:
    def test_all_are_fitted_to_everybody(self):
        features, labels = telling_cohort()
        fitted = fit_models(features, labels, SMALL, 1)
        losses = fitted.inner_log_loss
        assert set(losses) == set(LEARNED)
        assert 0 < fitted.threshold < 1
        assert skill(labels, classifier.predict(fitted.classifiers[fitted.chosen], features)) > 0.15
        for name in ("random_forest", "logistic", "prior"):
            alone = fit(name, features, labels, SMALL, 1)
            pd.testing.assert_series_equal(
                classifier.predict(fitted.classifiers[name], features), classifier.predict(alone, features)
            )

    def test_processes_do_not_matter(self):
        features, labels = telling_cohort(patients=60)
        one, two = (fit_models(features, labels, SMALL, 1, jobs=jobs) for jobs in (1, 2))
        assert (one.chosen, one.inner_log_loss, one.threshold) == (two.chosen, two.inner_log_loss, two.threshold)
        for name in MODEL_NAMES:
            first, second = (classifier.predict(fitted.classifiers[name], features) for fitted in (one, two))
            pd.testing.assert_series_equal(first, second, check_exact=True)

    def test_tuned_settings_are_used(self):
        features, labels = telling_cohort(patients=60)
        slow = replace(SMALL.xgboost, n_estimators=1, learning_rate=0.001)
        tuned = fit_models(features, labels, SMALL, 1, tune=lambda *_: slow)
        plain = fit_models(features, labels, SMALL, 1)
        assert tuned.settings.xgboost == slow
        assert tuned.inner_log_loss["xgboost"] != plain.inner_log_loss["xgboost"]
        assert tuned.inner_log_loss["random_forest"] == plain.inner_log_loss["random_forest"]


class TestBest:
    def results(self, **losses: list[float]) -> dict[str, OutOfFoldResult]:
        nothing = Calibration("none", 0.01)
        return {name: OutOfFoldResult(nothing, np.full(4, 0.5), np.array(values)) for name, values in losses.items()}

    def test_a_gain_within_chance_is_none(self):
        # gains 0.9, -0.6, 0.9, -0.6: mean 0.15, standard deviation sqrt(0.75), standard error 0.43
        found = self.results(average=[1.0, 1.0, 1.0, 1.0], xgboost=[0.1, 1.6, 0.1, 1.6])
        assert found["xgboost"].log_loss == pytest.approx(0.85)
        assert best(found) == "average"

    def test_a_gain_beyond_chance_counts(self):
        # gains 0.2, 0.1, 0.2, 0.1: mean 0.15, standard deviation sqrt(0.01 / 3), standard error 0.029
        found = self.results(
            average=[1.0, 1.0, 1.0, 1.0], logistic=[0.95, 0.95, 0.95, 0.95], xgboost=[0.8, 0.9, 0.8, 0.9]
        )
        assert best(found) == "xgboost"

    def test_equals_leave_the_average(self):
        assert best(self.results(logistic=[0.5] * 4, average=[0.5] * 4)) == "average"


def test_threshold_of_the_best_f1():
    # Called at 0.4: two of two ill and one well, F1 0.8; at 0.6 one of two, F1 2/3; at 0.1 F1 2/3.
    truth, probabilities = np.array([0, 0, 1, 0, 1]), np.array([0.1, 0.2, 0.4, 0.5, 0.6])
    assert best_f1_threshold(truth, probabilities) == 0.4
