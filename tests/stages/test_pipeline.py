"""All stages of dvc.yaml, run by their own commands on chests of 80 pixels: what they leave behind."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nodules.imaging.candidates.outline import SegmentationSettings
from nodules.models.cancer import classifier
from nodules.models.cancer import files as classifier_files
from nodules.models.cancer.params import LEARNED, MODEL_NAMES, XGBoostParams
from nodules.models.chain import chain_folder
from nodules.models.diagnosis import Diagnoser
from nodules.scans.read import read_scan
from nodules.scans.tables.dsb import patient_folders
from nodules.scans.tables.luna import series_files
from support.tiny_project import TinyProject

MODELS = set(MODEL_NAMES)


def table(project: TinyProject, name: str) -> pd.DataFrame:
    return pd.read_csv(project.path(name), dtype={"scan": str, "seriesuid": str, "id": str})


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def series(project: TinyProject, subset: int) -> set[str]:
    return set(series_files(project.path("data/phantoms/luna16"), subset))


def patients(project: TinyProject) -> set[str]:
    return set(patient_folders(project.path("data/phantoms/dsb")))


def test_every_declared_output_is_there(tiny_pipeline):
    for stage in tiny_pipeline.stages:
        for name in stage.outputs:
            output = tiny_pipeline.path(name)
            assert output.exists(), f"{stage.name} left no {name}"
            assert any(output.iterdir()) if output.is_dir() else output.stat().st_size > 0


@pytest.mark.parametrize("subset", [0, 1])
@pytest.mark.parametrize("kind", ["slices", "lungs"])
def test_manifests_list_every_scan(tiny_pipeline, kind, subset):
    manifest = table(tiny_pipeline, f"data/luna16/{kind}/subset{subset}/manifest.csv")
    assert set(manifest["scan"]) == series(tiny_pipeline, subset)
    assert len(manifest) == 4
    assert table(tiny_pipeline, f"data/luna16/{kind}/subset{subset}/failures.csv").empty


def test_every_patient_has_maps_features_and_a_label(tiny_pipeline):
    ids = patients(tiny_pipeline)
    assert len(ids) == 8
    assert set(table(tiny_pipeline, "data/dsb/segmentations/manifest.csv")["scan"]) == ids
    assert set(table(tiny_pipeline, "data/dsb/features/features.csv")["id"]) == ids
    assert set(table(tiny_pipeline, "data/dsb/labels.csv")["id"]) == ids
    assert set(table(tiny_pipeline, "data/dsb/features/candidates.csv")["id"]) <= ids
    for name in ("segmentations", "features"):
        assert table(tiny_pipeline, f"data/dsb/{name}/failures.csv").empty


def test_split_does_not_leak(tiny_pipeline):
    split = table(tiny_pipeline, "data/luna16/split.csv")
    assert set(split["seriesuid"]) == series(tiny_pipeline, 0) | series(tiny_pipeline, 1)
    assert split["seriesuid"].is_unique
    assert (split.groupby("patient")["part"].nunique() == 1).all()
    assert set(split["part"]) == {"train", "validation", "test"}
    segmented = set(table(tiny_pipeline, "data/luna16/segmentations/manifest.csv")["scan"])
    assert segmented == set(split["seriesuid"])
    judged = set(table(tiny_pipeline, "models/plots/nodules.csv")["seriesuid"])
    assert judged
    assert judged <= set(split["seriesuid"][split["part"] == "test"])


def test_phantom_nodules_reach_training(tiny_pipeline):
    """As many nodules in the manifests as in annotations.csv: no series was lost on the way."""
    annotated = len(table(tiny_pipeline, "data/phantoms/luna16/annotations.csv"))
    split = table(tiny_pipeline, "data/luna16/split.csv")
    assert split["nodules"].sum() == annotated > 8


def test_metrics_of_the_network(tiny_pipeline):
    numbers = json.loads(tiny_pipeline.path("models/metrics/unet.json").read_text())
    shares = ("dice_mean", "dice_pooled", "hit_rate", "sensitivity")
    assert {*shares, "false_positives_per_scan", "panoptic_quality"} <= set(numbers)
    assert all(0 <= numbers[name] <= 1 for name in shares)
    assert numbers["scans"] == numbers["whole_scans"] == 2
    assert numbers["nodules"] == len(table(tiny_pipeline, "models/plots/nodules.csv"))
    assert numbers["dice_mean"] > 0, "the small network must find something, or little below is tested"


def test_training_curves_and_their_best_epoch(tiny_pipeline):
    curves = table(tiny_pipeline, "models/plots/training.csv")
    best = json.loads(tiny_pipeline.path("models/metrics/unet_training.json").read_text())
    assert list(curves["epoch"]) == [1, 2]
    # false positives are looked up after the first epoch, so only the second may be the best
    assert best["epoch"] == 2
    assert best["val_loss"] == pytest.approx(curves["val_loss"][1], abs=1e-6)
    assert not list(tiny_pipeline.path(".work").glob("train_unet/*")), "the work folder is left behind"


def test_metrics_of_the_reducer(tiny_pipeline):
    numbers = json.loads(tiny_pipeline.path("models/metrics/false_positive_reduction.json").read_text())
    split = table(tiny_pipeline, "data/luna16/split.csv")
    annotated = table(tiny_pipeline, "data/phantoms/luna16/annotations.csv")["seriesuid"]
    training, validation = (set(split["seriesuid"][split["part"] == part]) for part in ("train", "validation"))
    assert numbers["scans"] == len(validation) == 2
    assert numbers["nodules"] == annotated.isin(validation).sum()
    assert numbers["training_nodules"] >= annotated.isin(training).sum(), "each annotated nodule, found or not"
    assert numbers["training_others"] > 0
    assert 0 <= numbers["recall"] <= 1
    assert numbers["proposals"] > 0
    for name in ("auc_before", "auc_network", "auc_after"):
        assert numbers[name] is None or 0 <= numbers[name] <= 1
    stored = json.loads(
        tiny_pipeline.path("models/false_positive_reduction/false_positive_reduction.json").read_text()
    )["fusion"]
    assert numbers["fusion"]["network"] == pytest.approx(stored["weights"][0], abs=1e-6)
    assert not list(tiny_pipeline.path(".work").glob("train_false_positive_reduction*/*")), (
        "the work folder is left behind"
    )


def test_metrics_of_the_classifiers(tiny_pipeline):
    numbers = json.loads(tiny_pipeline.path("models/metrics/classifier.json").read_text())
    assert numbers["chosen"] in LEARNED
    assert set(numbers["inner_log_loss"]) == set(LEARNED)
    for name in ("log_loss", "skill", "auc", "brier", "ece", "f1_tuned"):
        assert numbers["validated"][f"{name}_low"] <= numbers["validated"][f"{name}_high"]
    assert numbers["models"]["prior"]["log_loss_low"] <= numbers["models"]["prior"]["log_loss"]
    assert set(numbers["models"]) == MODELS
    for metrics in numbers["models"].values():
        assert {"log_loss", "f1", "auc", "precision", "recall"} <= set(metrics)
    labels = table(tiny_pipeline, "data/dsb/labels.csv").set_index("id")
    share = labels["cancer"].mean()
    assert numbers["prior_log_loss"] == pytest.approx(
        -share * np.log(share) - (1 - share) * np.log(1 - share), abs=1e-6
    )
    probability = np.where(labels["cancer"] == 1, labels["true_probability"], 1 - labels["true_probability"])
    assert numbers["bayes_log_loss"] == pytest.approx(-np.log(probability).mean(), abs=1e-5)
    assert numbers["models"]["all_positive"]["recall"] == 1
    assert numbers["models"]["all_positive"]["precision"] == pytest.approx(share, abs=1e-6)
    assert numbers["models"]["all_negative"]["f1"] == 0


def test_tuned_values_lie_in_their_ranges(tiny_pipeline):
    tuned = json.loads(tiny_pipeline.path("models/tuned_segmentation.json").read_text())
    assert set(tuned) == set(SegmentationSettings.__dataclass_fields__)
    assert 0.2 <= tuned["threshold"] <= 0.8
    assert 0 <= tuned["dilation_mm"] <= 8
    boosted = json.loads(tiny_pipeline.path("models/tuned_classifier.json").read_text())
    assert set(boosted) == set(XGBoostParams.__dataclass_fields__)
    for name in ("segmentation", "classifier"):
        assert len(table(tiny_pipeline, f"models/plots/{name}_trials.csv")) == 2


@pytest.fixture(scope="module")
def diagnoser(tiny_pipeline) -> Diagnoser:
    return Diagnoser.load(chain_folder(tiny_pipeline.path("models/diagnosis")))


def test_stages_and_packaged_chain_measure_alike(tiny_pipeline, diagnoser):
    rows = table(tiny_pipeline, "data/dsb/features/features.csv").set_index("id")
    listed = table(tiny_pipeline, "data/dsb/features/candidates.csv").set_index("id")
    model = classifier_files.load(tiny_pipeline.path("models/classifier"))
    busiest = rows["candidate_count"].sort_values().index if "candidate_count" in rows else rows.index
    for patient in (busiest[0], busiest[-1]):
        folder = tiny_pipeline.path(f"data/phantoms/dsb/{patient}")
        diagnosis = diagnoser.diagnose(read_scan(folder, diagnoser.reading))
        assert set(diagnosis.features) == set(rows.columns)
        for name, value in diagnosis.features.items():
            assert value == pytest.approx(rows.loc[patient, name], abs=1e-9, rel=1e-9), f"{patient}: {name}"
        expected = classifier.predict(model, rows.loc[[patient]]).iloc[0]
        assert diagnosis.probability == pytest.approx(expected, abs=1e-9)
        log_odds = np.log(diagnosis.probability / (1 - diagnosis.probability))
        assert sum(diagnosis.contributions.values()) == pytest.approx(log_odds, abs=1e-6)
        pd.testing.assert_frame_equal(
            diagnosis.candidates.reset_index(drop=True),
            listed.loc[listed.index == patient].reset_index(drop=True),
            check_dtype=False,
            rtol=1e-9,
        )
    assert len(listed) > 0


def test_runs_are_tracked(tiny_pipeline, tmp_path):
    from mlflow import MlflowClient

    client = MlflowClient(tiny_pipeline.tracking_uri)
    experiment = client.get_experiment_by_name("lung-cancer").experiment_id
    runs = {run.info.run_id: run for run in client.search_runs([experiment], max_results=1000)}
    parents = {key: run.data.tags.get("mlflow.parentRunId") for key, run in runs.items()}
    names = {key: run.info.run_name for key, run in runs.items()}
    stages = {names[key]: key for key, parent in parents.items() if parent is None}
    tracked = {stage.name for stage in tiny_pipeline.stages if not stage.name.startswith("check_dataset")}
    assert set(stages) == tracked
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    children = {stage: {names[k] for k, parent in parents.items() if parent == key} for stage, key in stages.items()}
    assert children["train_classifier"] == MODELS | {"chosen"}
    assert children["tune_segmentation"] == children["tune_classifier"] == {"trial 000", "trial 001"}

    def files(stage: str, folder: str) -> set[str]:
        return {Path(found.path).name for found in client.list_artifacts(stages[stage], folder)}

    assert "training_curves.png" in files("train_unet", "pictures")
    assert "nodules.png" in files("evaluate_unet", "pictures")
    charts = ("roc", "precision_recall", "calibration", "confusion", "importance", "models")
    assert {f"{name}.png" for name in charts} <= files("train_classifier", "pictures")
    assert {"report.html", "out_of_fold.csv"} <= files("train_classifier", "")
    assert {"optuna_history.png", "optuna_slice.png"} <= files("tune_segmentation", "pictures")
    for stage, name in (("train_unet", "val_dice"), ("train_false_positive_reduction", "accuracy")):
        assert [point.step for point in client.get_metric_history(stages[stage], name)] == [1, 2]
    for key, parent in parents.items():
        if parent == stages["train_classifier"]:
            report = client.download_artifacts(key, "classification_report.txt", str(tmp_path))
            assert "precision" in Path(report).read_text()
            assert "log_loss" in runs[key].data.metrics
    assert runs[stages["train_unet"]].data.params["unet.network.filters"] == "4"
    assert runs[stages["train_false_positive_reduction"]].data.params["false_positive_reduction.cube.size_px"] == "8"
    validated = json.loads(tiny_pipeline.path("models/metrics/classifier.json").read_text())["validated"]
    alias = "champion" if validated["skill"] > 0 else "challenger"
    version = client.get_model_version_by_alias("lung-cancer-diagnosis", alias)
    assert version.run_id == stages["package"]
    assert "skill" in version.description
    assert version.tags["alias.reason"] == version.description


def test_second_run_gives_the_same_bytes(tiny_pipeline, tiny_copy):
    for stage in ("segment_dsb", "features"):
        tiny_copy.run(stage)
        for name in tiny_copy.stage(stage).outputs:
            before, after = (project.path(name) for project in (tiny_pipeline, tiny_copy))
            if before.is_dir():
                assert content(after) == content(before)
            else:
                assert after.read_bytes() == before.read_bytes()


def test_two_processes_give_the_same_bytes_as_one(tiny_pipeline, tiny_copy):
    command = shlex.split(tiny_copy.stage("lung_masks@0").command)
    environment = os.environ | tiny_copy.environment() | {"NODULES_JOBS": "2"}
    command[0] = sys.executable
    done = subprocess.run(
        command, cwd=tiny_copy.folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    output = "data/luna16/lungs/subset0"
    assert content(tiny_copy.path(output)) == content(tiny_pipeline.path(output))
