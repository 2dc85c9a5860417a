"""The tutorial's four tables: what the page prints, and what its two mistakes make of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nodules.tutorial.learning.classifiers import ReportTable, evaluate_classifiers
from nodules.tutorial.learning.settings import TutorialClassifierDefects, TutorialClassifierParams, TutorialUnetDefects
from nodules.tutorial.steps.nine_features import NINE_FEATURES

PARAMS = TutorialClassifierParams(folds=3, trees=20, scale_pos_weight=3.0)
LEARNED, CONSTANT = ("random_forest", "xgboost"), ("all_positive", "all_negative")


def cohort(healthy: int, ill: int, seed: int = 0) -> tuple[pd.DataFrame, pd.Series]:
    """Nine features, of which the first says a good deal, of patients in no particular order."""
    random = np.random.default_rng(seed)
    truth = random.permutation([0] * healthy + [1] * ill)
    values = random.normal(size=(len(truth), 9))
    values[:, 0] += 1.5 * truth
    patients = [f"p{number:03}" for number in range(len(truth))]
    return pd.DataFrame(values, patients, list(NINE_FEATURES)), pd.Series(truth, patients, name="cancer")


@pytest.fixture(scope="module")
def right() -> dict[str, ReportTable]:
    return evaluate_classifiers(*cohort(60, 20), PARAMS, seed=3)


def test_constants_score_what_the_page_prints() -> None:
    """570 patients, 107 with cancer."""
    tables = evaluate_classifiers(*cohort(463, 107), replace(PARAMS, trees=1), seed=3)
    assert list(tables) == ["random_forest", "xgboost", "all_positive", "all_negative"]
    assert tables["all_positive"].log_loss == pytest.approx(28.055831025357818, abs=1e-12)
    assert tables["all_negative"].log_loss == pytest.approx(6.4835948671148085, abs=1e-12)
    ill = tables["all_positive"].report.splitlines()[3].split()
    healthy = tables["all_negative"].report.splitlines()[2].split()
    assert ill == ["Cancer", "0.19", "1.00", "0.32", "107"]
    assert healthy == ["No", "Cancer", "0.81", "1.00", "0.90", "463"]
    assert tables["all_positive"].f1 == pytest.approx(2 * 107 / (107 + 570))
    assert tables["all_negative"].f1 == 0
    assert all(np.isnan(tables[name].roc_auc) for name in CONSTANT)


@pytest.mark.parametrize("name", LEARNED)
def test_numbers_are_those_of_the_probabilities(right, name) -> None:
    _, labels = cohort(60, 20)
    table = right[name]
    probabilities, truth = table.probabilities, labels == 1
    assert probabilities.index.tolist() == labels.index.tolist()
    clipped = probabilities.clip(1e-15, 1 - 1e-15)
    assert table.log_loss == pytest.approx(-np.log(clipped.where(truth, 1 - clipped)).mean())
    pairs = np.subtract.outer(probabilities[truth].to_numpy(), probabilities[~truth].to_numpy())
    assert table.roc_auc == pytest.approx((pairs > 0).mean() + (pairs == 0).mean() / 2)
    called = probabilities > 0.5
    assert table.f1 == pytest.approx(2 * (called & truth).sum() / (called.sum() + truth.sum()))
    recall = (called & truth).sum() / truth.sum()
    assert table.report.splitlines()[3].split()[2] == f"{recall:.2f}"
    assert table.roc_auc > 0.6


def test_patients_are_judged_by_models_that_did_not_see_them() -> None:
    """Labels without any sense: a forest would know its own patients by heart."""
    features, labels = cohort(60, 20)
    shuffled = pd.Series(np.random.default_rng(9).permutation(labels), labels.index)
    tables = evaluate_classifiers(features.drop(columns="avgArea"), shuffled, PARAMS, seed=3)
    assert all(0.3 < tables[name].roc_auc < 0.7 for name in LEARNED)


def test_the_same_seed_and_patients_in_any_order_give_the_same_numbers(right) -> None:
    features, labels = cohort(60, 20)
    again = evaluate_classifiers(features.iloc[::-1], labels.sample(frac=1, random_state=1), PARAMS, seed=3)
    other = evaluate_classifiers(features, labels, PARAMS, seed=4)
    for name in LEARNED:
        pd.testing.assert_series_equal(again[name].probabilities, right[name].probabilities)
        assert again[name].report == right[name].report
        assert (other[name].probabilities != right[name].probabilities).any()


def test_log_loss_of_hard_labels(right) -> None:
    """34.54 for each wrong patient, whatever was said: many times that of the probabilities."""
    _, labels = cohort(60, 20)
    wrong = evaluate_classifiers(*cohort(60, 20), _with(log_loss_of_hard_labels=True), seed=3)
    for name in LEARNED:
        probabilities = right[name].probabilities
        called = probabilities > 0.5
        assert wrong[name].log_loss == pytest.approx((called != (labels == 1)).mean() * 34.5388, rel=1e-3)
        assert wrong[name].log_loss > 5 * right[name].log_loss
        assert (wrong[name].roc_auc, wrong[name].report) == (right[name].roc_auc, right[name].report)


def test_folds_unshuffled() -> None:
    """From one third of the patients to the next the scanner adds 10: no fold has seen the values it is judged on."""
    truth = np.array([0, 1] * 60)
    patients = [f"p{number:03}" for number in range(120)]
    values = truth * 1.0 + 10 * np.repeat([0, 1, 2], 40) + np.random.default_rng(0).normal(0, 0.2, 120)
    features = pd.DataFrame({"avgArea": values}, patients)
    labels = pd.Series(truth, patients)
    wrong, right = (
        evaluate_classifiers(features, labels, _with(folds_unshuffled=switch), seed=3) for switch in (True, False)
    )
    for name in LEARNED:
        assert right[name].roc_auc > 0.9
        assert wrong[name].roc_auc < 0.7


@pytest.mark.parametrize(("healthy", "ill"), [(9, 2), (2, 9), (9, 0)])
def test_classes_smaller_than_the_folds_are_refused(healthy, ill) -> None:
    with pytest.raises(ValueError, match=f"at least 3 patients of each class, got {ill} with cancer and {healthy} "):
        evaluate_classifiers(*cohort(healthy, ill), PARAMS, seed=3)


def test_patients_in_only_one_table_are_named() -> None:
    features, labels = cohort(9, 9)
    with pytest.raises(ValueError, match=r"same patients, got \['p000'\] in only one"):
        evaluate_classifiers(features, labels.drop("p000"), PARAMS, seed=3)


def test_patients_without_any_region_are_judged_too() -> None:
    """Nine zeros for everybody: nothing can be learnt, and the forest says the share of cancer."""
    features, labels = cohort(30, 10)
    tables = evaluate_classifiers(features * 0, labels, PARAMS, seed=3)
    assert tables["random_forest"].probabilities.between(0.1, 0.4).all()
    assert all(np.isfinite(tables[name].log_loss) for name in tables)


def test_as_published_turns_every_switch_on() -> None:
    for defects in (TutorialClassifierDefects, TutorialUnetDefects):
        assert all(vars(defects.as_published()).values())
        assert not any(vars(defects()).values())


def _with(**defects: bool) -> TutorialClassifierParams:
    return replace(PARAMS, defects=TutorialClassifierDefects(**defects))
