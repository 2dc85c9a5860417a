"""Parts of a probability add up to it and name the features that made it."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from nodules.models.cancer import classifier
from nodules.models.cancer.calibration import fit_kind
from nodules.models.cancer.classifier import Classifier
from nodules.models.cancer.estimators import Forest, fit_variants
from nodules.models.cancer.explanation import BASE, contributions, permutation_importance
from nodules.models.cancer.params import LEARNED
from support.fitted_classifiers import fit
from support.labelled_cohorts import QUICK, cohort, telling_cohort


@pytest.fixture(scope="module")
def fitted():
    features, labels = telling_cohort(patients=200)
    return {name: fit(name, features, labels, QUICK, 1) for name in LEARNED}


@pytest.mark.parametrize("name", LEARNED)
class TestEveryModel:
    def test_row_adds_up_to_the_log_odds(self, fitted, name):
        features, _ = telling_cohort(patients=50, seed=9)
        parts = contributions(fitted[name], features)
        assert list(parts.columns) == [*fitted[name].features, BASE]
        assert parts.index.equals(features.index)
        said = classifier.predict(fitted[name], features)
        assert parts.sum(axis=1).to_numpy() == pytest.approx(logit(said.to_numpy()), abs=1e-9)

    def test_base_is_the_same_for_everybody(self, fitted, name):
        features, _ = telling_cohort(patients=50, seed=9)
        assert contributions(fitted[name], features)[BASE].std() < 1e-5

    def test_features_that_tell_move_most_and_the_right_way(self, fitted, name):
        features, _ = telling_cohort(patients=100, seed=9)
        parts = contributions(fitted[name], features).drop(columns=BASE)
        assert parts.abs().mean().idxmax() == "a"
        assert np.corrcoef(parts["a"], features["a"])[0, 1] > 0.7
        assert np.corrcoef(parts["b"], features["b"])[0, 1] < -0.5

    def test_no_patients(self, fitted, name):
        features, _ = telling_cohort(patients=50)
        assert contributions(fitted[name], features[:0]).shape == (0, len(fitted[name].features) + 1)

    def test_importance_finds_what_tells(self, fitted, name):
        features, labels = telling_cohort(patients=100, seed=9)
        found = permutation_importance(fitted[name], features, labels, seed=0, repeats=5)
        assert found["feature"].tolist()[0] == "a"
        assert found["log_loss_increase"].iloc[0] > 0.1
        assert found["log_loss_increase"].is_monotonic_decreasing
        again = permutation_importance(fitted[name], features[::-1], labels, seed=0, repeats=5)
        pd.testing.assert_frame_equal(found, again, check_exact=True)


def test_ways_down_one_known_tree():
    # One split: left leaf 1 of 4 ill, right leaf 3 of 4 ill, 4 of 8 at the root.
    values = np.array([[0.0], [0.0], [0.0], [0.0], [1.0], [1.0], [1.0], [1.0]])
    truth = np.array([0, 0, 0, 1, 0, 1, 1, 1])
    (forest,) = fit_variants("extra_trees", values, truth, QUICK, 0)
    assert isinstance(forest, Forest)
    one = Classifier("extra_trees", ("size",), {"extra_trees": forest}, fit_kind("none", truth, truth * 0.5))
    parts = contributions(one, pd.DataFrame({"size": [0.0, 1.0]}))
    assert parts[BASE].to_numpy() == pytest.approx([0.0, 0.0], abs=1e-12)
    assert parts["size"].to_numpy() == pytest.approx([-np.log(3), np.log(3)], abs=1e-12)


def test_terms_of_a_logistic_model_without_calibration_are_its_own(fitted):
    model = fitted["logistic"]
    plain = Classifier("logistic", model.features, model.members, fit_kind("none", np.zeros(10**6), np.zeros(10**6)))
    features, _ = telling_cohort(patients=20, seed=9)
    parts = contributions(plain, features)
    terms = model.members["logistic"].terms(features[list(model.features)].to_numpy())
    assert parts.drop(columns=BASE).to_numpy() == pytest.approx(terms, abs=1e-9)
    assert parts[BASE].to_numpy() == pytest.approx(model.members["logistic"].intercept, abs=1e-9)


def test_flat_calibration_is_all_base():
    features, labels = telling_cohort(patients=100)
    model = fit("xgboost", features, labels, QUICK, 1)
    truth = labels.to_numpy()
    flat = Classifier(model.name, model.features, model.members, fit_kind("platt", truth, 1 - truth))
    parts = contributions(flat, features)
    assert (parts.drop(columns=BASE) == 0).all(axis=None)
    assert parts[BASE].to_numpy() == pytest.approx(logit(truth.mean()), abs=0.05)


def test_model_that_looks_at_nothing():
    features, labels = cohort(patients=50, positives=20)
    parts = contributions(fit("prior", features, labels, QUICK, 1), features)
    assert list(parts.columns) == [BASE]
    assert parts[BASE].to_numpy() == pytest.approx(logit(0.4))
    assert permutation_importance(fit("prior", features, labels, QUICK, 1), features, labels, 0, 2).empty


def test_importance_of_the_features_that_move_most_only(fitted):
    features, labels = telling_cohort(patients=100, seed=9)
    found = permutation_importance(fitted["logistic"], features, labels, seed=0, repeats=2, max_features=2)
    assert set(found["feature"]) == {"a", "b"}
