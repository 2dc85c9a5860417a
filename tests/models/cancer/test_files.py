"""Classifiers on disk: no pickle, nothing executed, the same probabilities again."""

import copy
import json
import time
import zipfile

import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from skops import io as skops_io

from nodules.models.cancer import classifier
from nodules.models.cancer.estimators import ConstantModel
from nodules.models.cancer.explanation import contributions
from nodules.models.cancer.files import load, save
from nodules.models.cancer.params import LEARNED, MODEL_NAMES
from support.fitted_classifiers import fit
from support.labelled_cohorts import QUICK, telling_cohort

FILES = {
    "random_forest": {"random_forest.skops"},
    "extra_trees": {"extra_trees.skops"},
    "xgboost": {"xgboost_0.json", "xgboost_1.json"},
    "logistic": set(),
    "average": {"extra_trees.skops", "xgboost_0.json", "xgboost_1.json"},
}


@pytest.fixture(scope="module")
def fitted():
    features, labels = telling_cohort()
    return {name: fit(name, features, labels, QUICK, 1) for name in MODEL_NAMES}


def changed(folder, **changes):
    path = folder / "classifier.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_round_trip_gives_the_same_probabilities(name, fitted, tmp_path):
    features, _ = telling_cohort(seed=3)
    save(fitted[name], tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert (loaded.name, loaded.features) == (name, fitted[name].features)
    assert loaded.calibration == fitted[name].calibration
    before, after = classifier.predict(fitted[name], features), classifier.predict(loaded, features)
    pd.testing.assert_series_equal(before, after, check_exact=True)
    if name in LEARNED:
        pd.testing.assert_frame_equal(contributions(fitted[name], features), contributions(loaded, features))


def test_table_that_says_nothing_makes_a_model_that_can_be_stored(tmp_path):
    features, labels = telling_cohort()
    for name in LEARNED:
        empty = fit(name, features[["constant"]], labels, QUICK, 1)
        save(empty, tmp_path / name)
        assert classifier.predict(load(tmp_path / name), features).equals(classifier.predict(empty, features))


@pytest.mark.parametrize("name", LEARNED)
def test_the_same_model_gives_the_same_bytes(name, fitted, tmp_path, monkeypatch):
    """Also at another time, and with its objects at other places in memory."""
    save(fitted[name], tmp_path / "first")
    monkeypatch.setattr(time, "time", lambda: 1.7e9)
    save(copy.deepcopy(fitted[name]), tmp_path / "second")
    for file in sorted((tmp_path / "first").iterdir()):
        assert file.read_bytes() == (tmp_path / "second" / file.name).read_bytes(), file.name


@pytest.mark.parametrize("name", LEARNED)
def test_files_hold_no_pickle(name, fitted, tmp_path):
    save(fitted[name], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"classifier.json"} | FILES[name]
    for path in tmp_path.glob("*.skops"):
        members = zipfile.ZipFile(path).namelist()
        assert all(member == "schema.json" or member.endswith(".npy") for member in members)


def test_untrusted_type_is_refused(fitted, tmp_path):
    save(fitted["extra_trees"], tmp_path)
    trees = load(tmp_path).members["extra_trees"].trees
    trees.surprise = ConstantModel(0.5)
    skops_io.dump(trees, tmp_path / "extra_trees.skops")
    with pytest.raises(ValueError, match="ConstantModel"):
        load(tmp_path)


def test_other_model_in_the_file_is_refused(fitted, tmp_path):
    features, labels = telling_cohort()
    save(fitted["random_forest"], tmp_path)
    skops_io.dump(LogisticRegression().fit(features[["a"]], labels), tmp_path / "random_forest.skops")
    with pytest.raises(ValueError, match="LogisticRegression"):
        load(tmp_path)
    skops_io.dump(fitted["extra_trees"].members["extra_trees"].trees, tmp_path / "random_forest.skops")
    with pytest.raises(ValueError, match="must hold a RandomForestClassifier, got ExtraTreesClassifier"):
        load(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "svm"},
        {"model": "prior"},
        {"classes": [1, 0]},
        {"features": None},
        {"features": ["a", 1]},
        {"members": None},
        {"members": {}},
        {"members": {"logistic": 3}},
        {"members": {"logistic": {"weights": [1.0]}}},
        {"calibration": None},
        {"calibration": {"kind": "none"}},
    ],
)
def test_description_of_something_else_is_refused(change, fitted, tmp_path):
    save(fitted["logistic"], tmp_path)
    changed(tmp_path, **change)
    with pytest.raises(ValueError, match=r"classifier\.json|calibration"):
        load(tmp_path)


@pytest.mark.parametrize("name", LEARNED)
def test_features_that_do_not_fit_the_model_are_refused(name, fitted, tmp_path):
    save(fitted[name], tmp_path)
    changed(tmp_path, features=["a"])
    with pytest.raises(ValueError, match="fitted to 4 features"):
        load(tmp_path)


def test_torn_booster_is_refused(fitted, tmp_path):
    save(fitted["xgboost"], tmp_path)
    path = tmp_path / "xgboost_0.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(ValueError, match=r"xgboost_0\.json"):
        load(tmp_path)


def test_logistic_model_of_no_numbers_is_refused(fitted, tmp_path):
    save(fitted["logistic"], tmp_path)
    members = json.loads((tmp_path / "classifier.json").read_text())["members"]
    members["logistic"]["weights"][0] = float("nan")
    changed(tmp_path, members=members)
    with pytest.raises(ValueError, match="finite"):
        load(tmp_path)
