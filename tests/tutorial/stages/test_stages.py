"""The tutorial's four stages, run by their own commands on chests of 80 pixels under both methods."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nodules.scans.read import read_scan
from nodules.scans.result import ReadingParams
from nodules.scans.tables.dsb import patient_folders
from nodules.scans.volume_files.reader import read_mask
from nodules.tutorial.learning.training_arrays import ScanArrays
from nodules.tutorial.steps.nine_features import NINE_FEATURES
from support.tiny_project import TinyProject, under_method

KINDS = ("slices", "unet", "dsb", "classifiers")
# The published steps find no lungs in so small a chest, and would drop all its slices.
KEPT = "tutorial.steps.defects.slices_without_lungs_dropped=false"
RECIPES = {"tutorial": ("method=tutorial",), "as_published": ("method=tutorial_as_published", KEPT)}


@pytest.fixture(scope="module", params=RECIPES)
def recipe(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def done(recipe: str, tiny_pipeline: TinyProject, tmp_path_factory: pytest.TempPathFactory) -> TinyProject:
    project = under_method(tiny_pipeline, tmp_path_factory.mktemp(recipe) / "project", *RECIPES[recipe])
    for kind in KINDS:
        project.run(f"tutorial_{kind}@{recipe}")
    return project


def table(project: TinyProject, name: str) -> pd.DataFrame:
    return pd.read_csv(project.path(name), dtype={"scan": str, "seriesuid": str, "id": str})


def numbers(project: TinyProject, recipe: str, name: str) -> dict:
    return json.loads(project.path(f"models/metrics/tutorial/{recipe}/{name}.json").read_text())


def test_every_declared_output_is_there(done: TinyProject, recipe: str) -> None:
    stages = [stage for stage in done.stages if stage.name.startswith("tutorial_")]
    assert [stage.name for stage in stages] == [f"tutorial_{kind}@{recipe}" for kind in KINDS]
    for stage in stages:
        for name in stage.outputs:
            output = done.path(name)
            assert any(output.iterdir()) if output.is_dir() else output.stat().st_size > 0, name


def test_every_scan_has_slices_and_those_that_may_test_are_judged(done: TinyProject, recipe: str) -> None:
    split = table(done, "data/luna16/split.csv")
    folder = done.path(f"data/tutorial/{recipe}/slices")
    assert {file.stem for file in folder.glob("*.npz")} == set(split["seriesuid"])
    assert table(done, f"data/tutorial/{recipe}/slices/failures.csv").empty
    tested = set(split["seriesuid"]) if recipe == "as_published" else set(split["seriesuid"][split["part"] == "test"])
    assert {file.stem for file in (folder / "judged").glob("*.npz")} == tested


def test_slices_that_train_do_not_judge(done: TinyProject, recipe: str) -> None:
    """By patient, or by slice where slices are dealt."""
    judged = table(done, f"models/plots/tutorial/{recipe}/test_slices.csv")
    if recipe == "tutorial":
        split = table(done, "data/luna16/split.csv")
        assert set(judged["seriesuid"]) <= set(split["seriesuid"][split["part"] == "test"])
    with np.load(done.path(f"data/tutorial/{recipe}/test_masks.npz")) as stored:
        tested = set(zip(stored["seriesuid"].tolist(), stored["z"].tolist(), strict=True))
        assert stored["answers"].shape == stored["masks"].shape == (len(stored["z"]), 32, 32)
    scans = [ScanArrays.load(file) for file in done.path(f"data/tutorial/{recipe}/slices").glob("*.npz")]
    cut = {(scan.seriesuid, z) for scan in scans for z in scan.z.tolist()}
    assert not set(zip(judged["seriesuid"], judged["z"], strict=True)) & (cut - tested)


def test_metrics_of_the_network(done: TinyProject, recipe: str) -> None:
    found = numbers(done, recipe, "unet")
    assert 0 <= found["own_dice"] <= 1
    assert found["nodule_slices"] + found["nodule_free_slices"] == len(
        table(done, f"models/plots/tutorial/{recipe}/test_slices.csv")
    )
    curves = table(done, f"models/plots/tutorial/{recipe}/training.csv")
    assert curves["epoch"].tolist() == [1, 2]
    if recipe == "tutorial":
        assert found["train_slices"] > found["validation_slices"] > 0


def test_every_patient_has_the_nine_features_and_a_map(done: TinyProject, recipe: str) -> None:
    features = table(done, f"data/tutorial/{recipe}/dsb/features.csv").set_index("id")
    patients = set(patient_folders(done.path("data/phantoms/dsb")))
    assert tuple(features.columns) == NINE_FEATURES
    assert set(features.index) == patients
    assert np.isfinite(features.to_numpy()).all()
    patient = sorted(patients)[0]
    answers = read_mask(done.path(f"data/tutorial/{recipe}/dsb/{patient}.mha"))
    scan = read_scan(done.path(f"data/phantoms/dsb/{patient}"), done.params("reading", ReadingParams)).volume
    assert answers.voxels_zyx.dtype == np.uint8
    assert answers.shape_zyx == scan.shape_zyx
    np.testing.assert_allclose(answers.spacing_zyx_mm, scan.spacing_zyx_mm, rtol=1e-6)
    np.testing.assert_allclose(answers.origin_xyz_mm, scan.origin_xyz_mm, atol=1e-4)


def test_the_four_tables(done: TinyProject, recipe: str) -> None:
    found = numbers(done, recipe, "classifiers")
    labels = table(done, "data/dsb/labels.csv")["cancer"]
    share = labels.mean()
    assert found["patients"] == len(labels)
    prior = -share * np.log(share) - (1 - share) * np.log(1 - share)
    assert found["prior_log_loss"] == pytest.approx(prior, abs=1e-6)
    certain = -np.log(1e-15)
    assert found["all_positive"]["log_loss"] == pytest.approx(certain * (1 - share), rel=1e-4)
    assert found["all_negative"]["log_loss"] == pytest.approx(certain * share, rel=1e-4)
    assert found["all_negative"]["f1"] == 0
    assert "roc_auc" not in found["all_negative"]
    page = done.path(f"models/plots/tutorial/{recipe}/classifiers.md").read_text()
    assert [page.count(word) for word in ("precision", "logloss", "No Cancer", "## ")] == [4, 4, 4, 4]
    if recipe == "as_published":  # hard labels: whole patients times 34.54 over their number
        wrong = found["random_forest"]["log_loss"] / certain * len(labels)
        assert wrong == pytest.approx(round(wrong), abs=1e-3)


def test_runs_are_tracked(done: TinyProject, recipe: str) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(done.tracking_uri)
    experiment = client.get_experiment_by_name("lung-cancer").experiment_id
    runs = {run.info.run_name: run for run in client.search_runs([experiment], max_results=1000)}
    for kind in KINDS:
        assert runs[f"tutorial_{kind}@{recipe}"].info.status == "FINISHED"
    unet = runs[f"tutorial_unet@{recipe}"]
    on = str(recipe == "as_published")
    assert unet.data.params["steps.defects.node_mask_divided_by_255"] == on
    assert unet.data.params["unet.defects.split_by_slice"] == on
    assert unet.data.metrics["own_dice"] == pytest.approx(numbers(done, recipe, "unet")["own_dice"], abs=1e-6)
    pictures = {Path(found.path).name for found in client.list_artifacts(unet.info.run_id, "pictures")}
    assert pictures == {"training_curves.png", "test_slices.png"}


def test_one_defect_can_be_turned_on(tiny_pipeline: TinyProject, tmp_path: Path) -> None:
    """Masks of 1 / 255 in the training arrays, and nothing else of what is published."""
    switch = "tutorial.steps.defects.node_mask_divided_by_255=true"
    project = under_method(tiny_pipeline, tmp_path / "project", "method=tutorial", switch)
    project.run("tutorial_slices@tutorial")
    scans = [ScanArrays.load(file) for file in project.path("data/tutorial/tutorial/slices").glob("*.npz")]
    largest = max(float(scan.masks.max(initial=0.0)) for scan in scans)
    assert 0.5 / 255 < largest <= np.float32(1 / 255)
