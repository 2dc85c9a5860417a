"""Validation shared by the stage and the command: no leak, no patience lost on useless tables, honest importance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nodules import params
from nodules.evaluation.bootstrap import by_model
from nodules.models.cancer.nested_validation import fit_models
from nodules.models.cancer.params import ClassifierParams
from nodules.stages.shared import cancer_report
from nodules.stages.shared.cancer_validation import CHOSEN, Validated, importance, limits, tutorial_tables, validate
from nodules.stages.shared.patients import Patients
from support.feature_tables import patients, write_quick_params


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    monkeypatch.setenv("NODULES_JOBS", "1")


@pytest.fixture
def settings(tmp_path) -> ClassifierParams:
    return params.load("classifier", ClassifierParams, write_quick_params(tmp_path))


def cohort(features: pd.DataFrame, labels: pd.Series) -> Patients:
    return Patients(features, labels, None, features.iloc[:0], 0)


def skill(validated: Validated) -> dict[str, float]:
    return by_model(validated.metrics)[CHOSEN]


def test_shuffled_labels_have_no_skill(settings):
    features, labels = patients(120)
    shuffled = pd.Series(np.random.default_rng(1).permutation(labels), labels.index)
    found = skill(validate(cohort(features, shuffled), settings, 1))
    assert found["skill"] < 0.05
    assert found["skill_low"] < 0


def test_a_copied_label_is_found(settings):
    features, labels = patients(120)
    found = skill(validate(cohort(features.assign(copy=labels.astype(float)), labels), settings, 1))
    assert found["skill"] > 0.85
    assert found["auc"] > 0.999
    assert found["f1"] > 0.98


def test_features_that_say_nothing_have_charts_and_no_importance(settings, tmp_path):
    """As when no patient has a candidate: all rows are alike."""
    labels = pd.Series([0, 1] * 12, [f"p{number:02d}" for number in range(24)])
    blank = cohort(pd.DataFrame({"count": 0.0, "size": 0.0}, index=labels.index), labels)
    validated = validate(blank, settings, 1)
    fitted = replace(fit_models(blank.features, labels, settings, 1), chosen="extra_trees")
    table = importance(blank, validated, fitted, 1)
    assert skill(validated)["skill"] == pytest.approx(0, abs=0.05)
    assert not table["log_loss_increase"].any()
    cancer_report.write_tables(validated, table, tmp_path / "plots")
    for _, figure in cancer_report.pictures(validated, table).values():
        figure.draw_without_rendering()


def test_limits_by_hand():
    labels = pd.Series([1, 0, 0, 0], list("abcd"))
    known = Patients(pd.DataFrame(index=labels.index), labels, pd.Series([0.8, 0.2, 0.2, 0.2], labels.index), labels, 0)
    found = limits(known)
    assert found["bayes_log_loss"] == pytest.approx(-np.log(0.8))
    assert found["prior_log_loss"] == pytest.approx(-(np.log(0.25) + 3 * np.log(0.75)) / 4)


def test_tutorials_tables_count_every_patient_once(settings):
    features, labels = patients(60)
    tables = tutorial_tables(validate(cohort(features, labels), settings, 1))
    assert {"random_forest", "xgboost", "all_positive", "all_negative", "prior", CHOSEN} <= set(tables)
    accuracy = next(line for line in tables["all_positive"].splitlines() if "accuracy" in line)
    assert accuracy.split()[-1] == "60"
    assert accuracy.split()[1] == f"{labels.mean():.2f}"


def test_importance_ranks_what_the_labels_hang_on(settings):
    features, labels = patients(150)
    validated = validate(cohort(features, labels), settings, 1)
    fitted = replace(fit_models(features, labels, settings, 1), chosen="logistic")
    table = importance(cohort(features, labels), validated, fitted, 1)
    assert table["feature"].iloc[0] == "size"
    assert table["log_loss_increase"].iloc[0] > 0.05
    assert table["log_loss_increase"].iloc[1:].abs().max() < 0.03
