"""Classifiers on small tables whose answer is known: no leak, no order, no pickle."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from skops import io as skops_io

from nodules.models import classifier
from nodules.models.classifier import ClassifierParams, RandomForestParams, XGBoostParams

PARAMS = ClassifierParams(
    folds=3,
    random_forest=RandomForestParams(trees=20, min_samples_leaf=2),
    xgboost=XGBoostParams(
        learning_rate=0.1,
        max_depth=2,
        n_estimators=20,
        subsample=0.8,
        colsample_bytree=0.8,
        min_child_weight=1.0,
        reg_lambda=1.0,
        scale_pos_weight=1.0,
    ),
)
TREES = ("random_forest", "xgboost")


def cohort(patients=60, positives=20, seed=0):
    """Noise features, one constant column, labels independent of both."""
    rng = np.random.default_rng(seed)
    ids = [f"p{number:03d}" for number in rng.permutation(patients)]
    features = pd.DataFrame(rng.normal(size=(patients, 4)), index=ids, columns=list("abcd")).assign(constant=1.0)
    labels = pd.Series(rng.permutation(np.repeat([1, 0], [positives, patients - positives])), index=ids)
    return features, labels


def skill(labels, chances):
    prior = np.full(len(labels), labels.mean())
    return 1 - log_loss(labels, chances.loc[labels.index]) / log_loss(labels, prior)


class TestOutOfFold:
    @pytest.mark.parametrize("name", TREES)
    def test_copied_label_is_learned(self, name):
        features, labels = cohort(patients=200, positives=60)
        chances = classifier.out_of_fold(name, features.assign(copy=labels), labels, PARAMS, seed=1)
        assert skill(labels, chances) > 0.5

    @pytest.mark.parametrize("name", TREES)
    def test_labels_without_any_link_give_no_skill(self, name):
        features, labels = cohort(patients=200, positives=60)
        assert skill(labels, classifier.out_of_fold(name, features, labels, PARAMS, seed=1)) < 0.05

    def test_a_patients_own_label_never_reaches_its_prediction(self):
        # A fitted tree knows every training label by the patient's number; out of fold it may not.
        _, labels = cohort(patients=100, positives=50)
        features = pd.DataFrame({"number": np.arange(100.0)}, index=labels.index)
        params = replace(PARAMS, random_forest=RandomForestParams(trees=20, min_samples_leaf=1))
        fitted = classifier.predict(classifier.fit("random_forest", features, labels, params, 1), features)
        held_out = classifier.out_of_fold("random_forest", features, labels, params, 1)
        assert skill(labels, fitted) > 0.5
        assert skill(labels, held_out) < 0.05

    @pytest.mark.parametrize("name", classifier.MODEL_NAMES)
    def test_order_of_rows_does_not_matter(self, name):
        features, labels = cohort()
        chances = classifier.out_of_fold(name, features, labels, PARAMS, seed=1)
        shuffled = classifier.out_of_fold(name, features[::-1], labels.sort_values(), PARAMS, seed=1)
        assert shuffled.index.tolist() == features.index[::-1].tolist()
        pd.testing.assert_series_equal(chances, shuffled.loc[chances.index], check_exact=True)

    @pytest.mark.parametrize("name", TREES)
    def test_seed_decides_and_threads_do_not(self, name):
        features, labels = cohort()
        chances = classifier.out_of_fold(name, features, labels, PARAMS, seed=1)
        threaded = classifier.out_of_fold(name, features, labels, PARAMS, seed=1, threads=2)
        pd.testing.assert_series_equal(chances, threaded, check_exact=True)
        assert not chances.equals(classifier.out_of_fold(name, features, labels, PARAMS, seed=2))

    def test_constant_models(self):
        features, labels = cohort(patients=30, positives=9)
        assert set(classifier.out_of_fold("all_positive", features, labels, PARAMS, 1)) == {1.0}
        assert set(classifier.out_of_fold("all_negative", features, labels, PARAMS, 1)) == {0.0}
        # Three stratified folds of 30 with 9 positives leave 6 of 20 to fit on, each time.
        assert classifier.out_of_fold("prior", features, labels, PARAMS, 1).tolist() == pytest.approx([0.3] * 30)

    def test_missing_values_are_taken(self):
        features, labels = cohort()
        features.iloc[::2, 0] = np.nan
        for name in TREES:
            assert classifier.out_of_fold(name, features, labels, PARAMS, 1).between(0, 1).all()


class TestFewPatients:
    def test_folds_shrink_to_the_rarer_class(self):
        _, labels = cohort(patients=6, positives=2)
        assert classifier.usable_folds(labels, 5) == 2
        assert classifier.usable_folds(labels, 2) == 2

    def test_six_patients_with_two_positives(self):
        features, labels = cohort(patients=6, positives=2)
        assert len(classifier.out_of_fold("random_forest", features, labels, PARAMS, 1)) == 6

    @pytest.mark.parametrize("positives", [0, 1, 6])
    def test_class_with_less_than_two_is_refused(self, positives):
        features, labels = cohort(patients=6, positives=positives)
        with pytest.raises(ValueError, match=rf"at least 2 patients of each class, got .*1: {positives}"):
            classifier.out_of_fold("random_forest", features, labels, PARAMS, 1)


class TestRefusals:
    def test_duplicated_patient(self):
        features, labels = cohort()
        with pytest.raises(ValueError, match=f"once in the features, got {features.index[0]} twice"):
            classifier.out_of_fold("prior", pd.concat([features, features[:1]]), labels, PARAMS, 1)
        with pytest.raises(ValueError, match="once in the labels"):
            classifier.fit("prior", features, pd.concat([labels, labels[:1]]), PARAMS, 1)

    def test_patient_without_label(self):
        features, labels = cohort()
        with pytest.raises(ValueError, match=features.index[0]):
            classifier.fit("prior", features, labels[1:], PARAMS, 1)

    def test_wrong_labels(self):
        features, labels = cohort()
        with pytest.raises(ValueError, match="0 or 1, got"):
            classifier.fit("prior", features, labels + 1, PARAMS, 1)

    def test_words_and_infinity_are_named(self):
        features, labels = cohort()
        with pytest.raises(ValueError, match="'side'"):
            classifier.fit("prior", features.assign(side="left"), labels, PARAMS, 1)
        with pytest.raises(ValueError, match="'a'"):
            classifier.fit("prior", features.assign(a=np.inf), labels, PARAMS, 1)

    def test_unknown_model(self):
        with pytest.raises(ValueError, match="one of random_forest, xgboost"):
            classifier.build("svm", PARAMS, 1)


class TestPredict:
    def test_columns_are_taken_by_name(self):
        features, labels = cohort()
        fitted = classifier.fit("random_forest", features, labels, PARAMS, 1)
        mixed = features.assign(unknown=9.0)[["unknown", *features.columns[::-1]]]
        pd.testing.assert_series_equal(classifier.predict(fitted, features), classifier.predict(fitted, mixed))

    def test_missing_column_is_named(self):
        features, labels = cohort()
        fitted = classifier.fit("xgboost", features, labels, PARAMS, 1)
        with pytest.raises(ValueError, match=r"\['b'\]"):
            classifier.predict(fitted, features.drop(columns="b"))

    def test_column_twice_is_named(self):
        features, labels = cohort()
        fitted = classifier.fit("prior", features, labels, PARAMS, 1)
        with pytest.raises(ValueError, match="'a' appears twice"):
            classifier.predict(fitted, pd.concat([features, features[["a"]]], axis=1))

    def test_no_patients(self):
        features, labels = cohort()
        for name in classifier.MODEL_NAMES:
            assert classifier.predict(classifier.fit(name, features, labels, PARAMS, 1), features[:0]).empty


class TestSaveLoad:
    @pytest.mark.parametrize("name", classifier.MODEL_NAMES)
    def test_round_trip_gives_the_same_probabilities(self, name, tmp_path):
        features, labels = cohort()
        fitted = classifier.fit(name, features, labels, PARAMS, 1)
        classifier.save(fitted, tmp_path / "model")
        loaded = classifier.load(tmp_path / "model")
        assert (loaded.name, loaded.features) == (name, tuple(features.columns))
        before, after = classifier.predict(fitted, features), classifier.predict(loaded, features)
        pd.testing.assert_series_equal(before, after, check_exact=True)

    @pytest.mark.parametrize("name", TREES)
    def test_files_hold_no_pickle(self, name, tmp_path):
        classifier.save(classifier.fit(name, *cohort(), PARAMS, 1), tmp_path)
        names = {path.name for path in tmp_path.iterdir()}
        assert names == {"classifier.json", "xgboost.json" if name == "xgboost" else "random_forest.skops"}
        if name == "random_forest":
            members = zipfile.ZipFile(tmp_path / "random_forest.skops").namelist()
            assert all(member == "schema.json" or member.endswith(".npy") for member in members)

    def test_untrusted_type_is_refused(self, tmp_path):
        features, labels = cohort()
        fitted = classifier.fit("random_forest", features, labels, PARAMS, 1)
        classifier.save(fitted, tmp_path)
        fitted.estimator.surprise = classifier.ConstantModel()
        skops_io.dump(fitted.estimator, tmp_path / "random_forest.skops")
        with pytest.raises(ValueError, match="ConstantModel"):
            classifier.load(tmp_path)

    def test_other_model_in_the_file_is_refused(self, tmp_path):
        features, labels = cohort()
        classifier.save(classifier.fit("random_forest", features, labels, PARAMS, 1), tmp_path)
        skops_io.dump(LogisticRegression().fit(features, labels), tmp_path / "random_forest.skops")
        with pytest.raises(ValueError, match="LogisticRegression"):
            classifier.load(tmp_path)

    @pytest.mark.parametrize("change", [{"model": "svm"}, {"classes": [1, 0]}, {"features": None}])
    def test_description_of_something_else_is_refused(self, change, tmp_path):
        classifier.save(classifier.fit("prior", *cohort(), PARAMS, 1), tmp_path)
        path = tmp_path / "classifier.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        with pytest.raises(ValueError, match=r"classifier\.json"):
            classifier.load(tmp_path)

    @pytest.mark.parametrize("name", TREES)
    def test_features_that_do_not_fit_the_trees_are_refused(self, name, tmp_path):
        classifier.save(classifier.fit(name, *cohort(), PARAMS, 1), tmp_path)
        path = tmp_path / "classifier.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"features": ["a"]}))
        with pytest.raises(ValueError, match="fitted to 5 features"):
            classifier.load(tmp_path)
