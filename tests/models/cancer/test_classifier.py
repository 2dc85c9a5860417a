"""Classifiers on small tables whose answer is known: no leak, no order, columns of every kind."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nodules.models.cancer import classifier
from nodules.models.cancer.params import LEARNED, MODEL_NAMES, RandomForestParams
from nodules.models.cancer.table import usable_folds
from support.fitted_classifiers import fit, out_of_fold
from support.labelled_cohorts import QUICK, cohort, skill, telling_cohort

CONSTANT = ("all_positive", "all_negative", "prior")
FAMILIES = [name for name in LEARNED if name != "average"]


class TestOutOfFold:
    @pytest.mark.parametrize("name", LEARNED)
    def test_copied_label_is_learned(self, name):
        features, labels = cohort(patients=200, positives=60)
        probabilities = out_of_fold(name, features.assign(copy=labels), labels, QUICK, seed=1)
        assert skill(labels, probabilities) > 0.5

    @pytest.mark.parametrize("name", LEARNED)
    def test_labels_without_any_link_give_no_skill(self, name):
        features, labels = cohort(patients=200, positives=60)
        assert skill(labels, out_of_fold(name, features, labels, QUICK, seed=1)) < 0.02

    def test_a_patients_own_label_never_reaches_its_prediction(self):
        # A fitted tree knows every training label by the patient's number; out of fold it may not.
        _, labels = cohort(patients=100, positives=50)
        features = pd.DataFrame({"number": np.arange(100.0)}, index=labels.index)
        params = replace(QUICK, random_forest=RandomForestParams(trees=20, min_samples_leaf=1))
        fitted = fit("random_forest", features, labels, params, 1)
        stated = pd.Series(fitted.uncalibrated(features.to_numpy()), index=features.index)
        assert skill(labels, stated) > 0.5
        assert skill(labels, out_of_fold("random_forest", features, labels, params, 1)) < 0.05

    def test_many_columns_of_noise_screened_by_label_give_no_skill(self):
        # Chosen outside the folds, the ten of 2,000 columns most like the labels would look telling.
        rng = np.random.default_rng(3)
        _, labels = cohort(patients=80, positives=40)
        features = pd.DataFrame(rng.normal(size=(80, 2000)), index=labels.index, columns=map(str, range(2000)))
        probabilities = out_of_fold("extra_trees", features, labels, replace(QUICK, max_features=10), 1)
        assert skill(labels, probabilities) < 0.05

    @pytest.mark.parametrize("name", LEARNED)
    def test_order_of_rows_does_not_matter(self, name):
        features, labels = cohort()
        probabilities = out_of_fold(name, features, labels, QUICK, seed=1)
        shuffled = out_of_fold(name, features[::-1], labels.sort_values(), QUICK, seed=1)
        assert shuffled.index.tolist() == features.index[::-1].tolist()
        pd.testing.assert_series_equal(probabilities, shuffled.loc[probabilities.index], check_exact=True)

    @pytest.mark.parametrize("name", ["random_forest", "xgboost", "extra_trees"])
    def test_seed_decides_and_threads_do_not(self, name):
        features, labels = cohort()
        probabilities = out_of_fold(name, features, labels, QUICK, seed=1)
        assert not probabilities.equals(out_of_fold(name, features, labels, QUICK, seed=2))
        alone, threaded = (fit(name, features, labels, QUICK, seed=1, threads=threads) for threads in (1, 2))
        assert alone.features == threaded.features
        values = features[list(alone.features)].to_numpy()
        np.testing.assert_array_equal(alone.uncalibrated(values), threaded.uncalibrated(values))

    def test_average_is_the_mean_of_its_members(self):
        features, labels = telling_cohort()
        of = {name: out_of_fold(name, features, labels, QUICK, 1) for name in LEARNED}
        mean = (of["logistic"] + of["extra_trees"] + of["xgboost"]) / 3
        assert of["average"].to_numpy() == pytest.approx(mean.to_numpy(), abs=1e-12)


class TestFit:
    def test_constant_models(self):
        features, labels = cohort(patients=30, positives=9)
        for name, probability in zip(CONSTANT, (1.0, 0.0, 0.3), strict=True):
            fitted = fit(name, features, labels, QUICK, 1)
            assert classifier.predict(fitted, features[["a"]]).tolist() == pytest.approx([probability] * 30)

    @pytest.mark.parametrize("name", LEARNED)
    def test_what_tells_is_learned_and_holds_for_others(self, name):
        fitted = fit(name, *telling_cohort(patients=300), QUICK, 1)
        features, labels = telling_cohort(patients=300, seed=5)
        assert skill(labels, classifier.predict(fitted, features)) > 0.15

    @pytest.mark.parametrize("name", LEARNED)
    def test_sixty_patients_by_nine_features(self, name):
        features, labels = telling_cohort(patients=60, width=9)
        assert classifier.predict(fit(name, features, labels, QUICK, 1), features).between(0.0, 1.0).all()

    @pytest.mark.parametrize("name", LEARNED)
    def test_constant_missing_and_collinear_columns_change_nothing(self, name):
        features, labels = telling_cohort()
        odd = features.assign(void=np.nan, none=0.0, twin=3 * features["a"] + 1, opposite=-features["b"])
        odd["rare"] = np.where(np.arange(len(odd)) < 3, 5.0, np.nan)
        plain, fitted = (fit(name, table, labels, QUICK, 1) for table in (features, odd))
        assert fitted.features == plain.features == ("a", "b", "c", "d")
        pd.testing.assert_series_equal(
            classifier.predict(plain, features), classifier.predict(fitted, odd), check_exact=True
        )

    @pytest.mark.parametrize("name", LEARNED)
    def test_table_that_says_nothing_gives_the_share_of_cancer(self, name):
        features, labels = cohort(patients=50, positives=20)
        fitted = fit(name, features[["constant"]].assign(void=np.nan), labels, QUICK, 1)
        assert fitted.features == ()
        assert classifier.predict(fitted, features).to_numpy() == pytest.approx(0.4, abs=0.02)

    @pytest.mark.parametrize("name", LEARNED)
    def test_column_that_is_only_there_for_the_ill_is_used(self, name):
        features, labels = cohort(patients=100, positives=40)
        features["found"] = np.where(labels == 1, 1.0, np.nan)
        fitted = fit(name, features, labels, QUICK, 1)
        assert skill(labels, classifier.predict(fitted, features)) > 0.4

    def test_more_features_than_patients(self):
        features, labels = telling_cohort(patients=40)
        rng = np.random.default_rng(1)
        wide = pd.DataFrame(rng.normal(size=(40, 300)), index=features.index, columns=[f"n{i}" for i in range(300)])
        wide = pd.concat([features, wide], axis=1)
        fitted = fit("logistic", wide, labels, replace(QUICK, max_features=200), 1)
        assert len(fitted.features) == 200
        assert classifier.predict(fitted, wide).between(0, 1).all()

    @pytest.mark.parametrize("name", FAMILIES)
    def test_one_patient_of_a_class_is_fitted_without_inner_folds(self, name):
        features, labels = cohort(patients=8, positives=1)
        fitted = fit(name, features, labels, QUICK, 1)
        assert fitted.calibration.kind == "none"
        assert classifier.predict(fitted, features).between(0, 1).all()


class TestFewPatients:
    def test_folds_shrink_to_the_rarer_class(self):
        _, labels = cohort(patients=6, positives=2)
        assert usable_folds(labels, 5) == 2
        assert usable_folds(labels, 2) == 2

    def test_six_patients_with_two_positives(self):
        features, labels = cohort(patients=6, positives=2)
        assert len(out_of_fold("random_forest", features, labels, QUICK, 1)) == 6

    @pytest.mark.parametrize("positives", [0, 1, 6])
    def test_class_with_less_than_two_is_refused(self, positives):
        _, labels = cohort(patients=6, positives=positives)
        with pytest.raises(ValueError, match=rf"at least 2 patients of each class, got .*1: {positives}"):
            usable_folds(labels, 5)


class TestRefusals:
    def test_duplicated_patient(self):
        features, labels = cohort()
        with pytest.raises(ValueError, match=f"once in the features, got {features.index[0]} twice"):
            out_of_fold("logistic", pd.concat([features, features[:1]]), labels, QUICK, 1)
        with pytest.raises(ValueError, match="once in the labels"):
            fit("prior", features, pd.concat([labels, labels[:1]]), QUICK, 1)

    def test_patient_without_label(self):
        features, labels = cohort()
        with pytest.raises(ValueError, match=features.index[0]):
            fit("prior", features, labels[1:], QUICK, 1)

    def test_wrong_labels(self):
        features, labels = cohort()
        with pytest.raises(ValueError, match="0 or 1, got"):
            fit("prior", features, labels + 1, QUICK, 1)

    def test_words_and_infinity_are_named(self):
        features, labels = cohort()
        with pytest.raises(ValueError, match="'side'"):
            fit("prior", features.assign(side="left"), labels, QUICK, 1)
        with pytest.raises(ValueError, match="'a'"):
            fit("prior", features.assign(a=np.inf), labels, QUICK, 1)

    def test_unknown_model(self):
        with pytest.raises(ValueError, match="one of random_forest, xgboost"):
            fit("svm", *cohort(), QUICK, 1)


class TestPredict:
    def test_columns_are_taken_by_name(self):
        features, labels = cohort()
        fitted = fit("random_forest", features, labels, QUICK, 1)
        mixed = features.assign(unknown=9.0)[["unknown", *features.columns[::-1]]]
        pd.testing.assert_series_equal(classifier.predict(fitted, features), classifier.predict(fitted, mixed))

    def test_missing_column_is_named(self):
        features, labels = cohort()
        fitted = fit("xgboost", features, labels, QUICK, 1)
        with pytest.raises(ValueError, match=r"\['b'\]"):
            classifier.predict(fitted, features.drop(columns="b"))

    def test_column_twice_is_named(self):
        features, labels = cohort()
        fitted = fit("logistic", features, labels, QUICK, 1)
        with pytest.raises(ValueError, match="'a' appears twice"):
            classifier.predict(fitted, pd.concat([features, features[["a"]]], axis=1))

    @pytest.mark.parametrize("name", MODEL_NAMES)
    def test_no_patients(self, name):
        features, labels = cohort()
        assert classifier.predict(fit(name, features, labels, QUICK, 1), features[:0]).empty

    @pytest.mark.parametrize("name", LEARNED)
    def test_value_missing_for_the_first_time_and_value_far_out(self, name):
        features, labels = telling_cohort()
        fitted = fit(name, features, labels, QUICK, 1)
        strange = features[:3].assign(a=[np.nan, 1e30, -1e30])
        probabilities = classifier.predict(fitted, strange)
        assert probabilities.between(0.001, 0.999).all()
        assert probabilities.iloc[1] > probabilities.iloc[2]
