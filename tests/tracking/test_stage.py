import itertools
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from mlflow import MlflowClient

from nodules.tracking import provenance
from nodules.tracking.provenance import PipelineExecution
from nodules.tracking.stage import TrackingError, redacted_uri, stage_run, tracking_uri

PARENT = "mlflow.parentRunId"


@dataclass(frozen=True)
class Optimizer:
    learning_rate: float


@dataclass(frozen=True)
class Settings:
    epochs: int
    optimizer: Optimizer


EXECUTIONS = itertools.count(1)  # far apart in time, hence different ones
SETTINGS = Settings(3, Optimizer(2e-5))


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Path:
    """One project for all tests: making its database takes seconds."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "dvc.yaml").touch()
    return folder


@pytest.fixture(autouse=True)
def project(store, monkeypatch) -> Path:
    monkeypatch.chdir(store)
    for name in (
        "MLFLOW_TRACKING_URI",
        "MLFLOW_EXPERIMENT_NAME",
        "MLFLOW_RUN_ID",
        "DVC_ROOT",
        "DVC_STAGE",
        "DVC_EXP_NAME",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
    monkeypatch.setattr(provenance, "pipeline_execution", lambda: None)
    return store


@pytest.fixture
def client(store) -> MlflowClient:
    return MlflowClient(f"sqlite:///{store}/mlflow.db")


def test_uri_is_the_projects_sqlite_file_from_any_folder_within(project, monkeypatch):
    (project / "deep" / "er").mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(project / "deep" / "er")
    assert tracking_uri() == f"sqlite:///{project}/mlflow.db"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql+psycopg://me:sec@ret@host/runs", "postgresql+psycopg://***@host/runs"),
        ("https://token@host:5000", "https://***@host:5000"),
        ("https://host:5000/user@home", "https://host:5000/user@home"),
        ("sqlite:////data/user@home/mlflow.db", "sqlite:////data/user@home/mlflow.db"),
    ],
)
def test_user_and_password_of_the_store_are_not_shown(monkeypatch, uri, shown):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert redacted_uri() == shown


def test_uri_without_a_project_is_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"


def test_uri_follows_dvc_root_and_then_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert tracking_uri() == "http://server:5000"


def test_stage_run_records_settings_tags_and_status(client, project, monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "train_unet@0")
    monkeypatch.setenv("DVC_EXP_NAME", "brave-owl")
    with stage_run("train_unet", SETTINGS) as run:
        assert client.get_run(run.run_id).info.status == "RUNNING"
    record = client.get_run(run.run_id)
    assert record.info.status == "FINISHED"
    assert record.info.run_name == "train_unet"
    assert record.data.params == {"epochs": "3", "optimizer.learning_rate": "2e-05"}
    assert record.data.tags["dvc.stage"] == "train_unet@0"
    assert record.data.tags["dvc.exp"] == "brave-owl"
    assert PARENT not in record.data.tags
    experiment = client.get_experiment(record.info.experiment_id)
    assert experiment.name == "lung-cancer"
    assert experiment.artifact_location == (project / "mlruns" / "lung-cancer").as_uri()


def test_experiment_name_comes_from_the_environment(client, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "other")
    with stage_run("a", {}) as run:
        pass
    assert client.get_experiment(run.experiment_id).name == "other"


def test_deleted_experiment_comes_back(client, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "deleted")
    client.delete_experiment(client.create_experiment("deleted"))
    with stage_run("a", {}) as run:
        pass
    assert client.get_run(run.run_id).info.status == "FINISHED"


@pytest.mark.parametrize(("error", "status"), [(ValueError("no lungs"), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_error_in_the_body_is_recorded_and_raised(client, error, status):
    with pytest.raises(type(error)), stage_run("a", {}) as run:
        raise error
    record = client.get_run(run.run_id)
    assert record.info.status == status
    assert record.data.tags["error"].startswith(type(error).__name__)


def test_stage_under_mlflow_run_nests_and_leaves_its_parent_open(client, monkeypatch):
    outer = client.create_run(client.create_experiment("outer"))
    monkeypatch.setenv("MLFLOW_RUN_ID", outer.info.run_id)
    with stage_run("a", {"x": 1}) as first:
        assert "MLFLOW_RUN_ID" not in os.environ
    with stage_run("a", {"x": 2}) as second:
        second.log_headline({"dice": 0.5})
    for run in (first, second):
        record = client.get_run(run.run_id)
        assert record.data.tags[PARENT] == outer.info.run_id
        assert record.info.experiment_id == outer.info.experiment_id
    parent = client.get_run(outer.info.run_id)
    assert parent.info.status == "RUNNING"
    assert parent.data.metrics == {"dice": 0.5}


@pytest.fixture
def under_dvc(monkeypatch) -> PipelineExecution:
    execution = PipelineExecution(provenance.process_name(os.getpid()), time.time() - 200 * next(EXECUTIONS))
    monkeypatch.setattr(provenance, "pipeline_execution", lambda: execution)
    return execution


def test_stages_of_one_dvc_process_share_a_parent(client, under_dvc, monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "a")
    with stage_run("a", {}) as first:
        assert client.get_run(first.parent_id).info.status == "RUNNING"
    assert client.get_run(first.parent_id).info.status == "FINISHED"
    with stage_run("b", {}) as second:
        assert client.get_run(first.parent_id).info.status == "RUNNING"
        second.log_headline({"log_loss": 0.4})
    assert first.parent_id == second.parent_id
    parent = client.get_run(first.parent_id)
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name.startswith("repro 20")
    assert parent.info.start_time == int(under_dvc.started * 1000)
    assert "dvc.stage" not in parent.data.tags
    assert parent.data.metrics == {"log_loss": 0.4}
    assert client.get_run(second.run_id).data.metrics == {"log_loss": 0.4}


def test_process_with_the_same_number_at_another_time_is_another_execution(client, under_dvc, monkeypatch):
    with stage_run("a", {}) as first:
        pass
    later = PipelineExecution(under_dvc.process, under_dvc.started + 100)
    monkeypatch.setattr(provenance, "pipeline_execution", lambda: later)
    with stage_run("a", {}) as second:
        pass
    assert first.parent_id != second.parent_id


def test_run_of_a_killed_process_is_closed_by_the_next(client):
    experiment_id = client.get_experiment_by_name("lung-cancer").experiment_id
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    names = {"dead": provenance.process_name(ended.pid), "alive": provenance.process_name(os.getpid()), "far": "moon:1"}
    runs = {name: client.create_run(experiment_id, tags={"process": process}) for name, process in names.items()}
    with stage_run("a", {}):
        pass
    status = {name: client.get_run(run.info.run_id).info.status for name, run in runs.items()}
    assert status == {"dead": "KILLED", "alive": "RUNNING", "far": "RUNNING"}


def test_parent_carries_the_experiments_name(client, under_dvc, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "brave-owl")
    with stage_run("a", {}) as run:
        pass
    assert client.get_run(run.parent_id).info.run_name == "brave-owl"


def test_pipeline_with_one_failed_stage_stays_failed(client, under_dvc):
    with pytest.raises(ValueError, match="bad"), stage_run("a", {}) as first:
        raise ValueError("bad")
    assert client.get_run(first.parent_id).info.status == "FAILED"
    with stage_run("b", {}):
        pass
    assert client.get_run(first.parent_id).info.status == "FAILED"


def test_metrics_keep_numbers_only_and_join_names(client):
    with stage_run("a", {}) as run:
        run.log_metrics(
            {"dice": {"mean": np.float32(0.5), "n": np.int64(3)}, "ok": True, "note": "x", "rows": [1], "no": None}
        )
        run.log_metrics({"sensitivity@1": 0.25, "bad": float("nan")})
        run.log_metrics({})
    metrics = client.get_run(run.run_id).data.metrics
    assert np.isnan(metrics.pop("bad"))
    assert metrics == {"dice.mean": 0.5, "dice.n": 3.0, "ok": 1.0, "sensitivity_1": 0.25}


def test_epochs_make_a_curve(client):
    with stage_run("a", {}) as run:
        for epoch in range(3):
            run.log_epoch(epoch, {"val_dice": epoch / 4})
    history = client.get_metric_history(run.run_id, "val_dice")
    assert [(point.step, point.value) for point in history] == [(0, 0.0), (1, 0.25), (2, 0.5)]


def test_long_and_many_params_are_kept(client, project, tmp_path):
    settings = {f"p{number}": number for number in range(150)} | {"long": "x" * 7000}
    with stage_run("a", settings) as run:
        pass
    params = client.get_run(run.run_id).data.params
    assert len(params) == 151
    assert len(params["long"]) == 6000
    saved = client.download_artifacts(run.run_id, "settings.json", str(tmp_path))
    assert json.loads(Path(saved).read_text())["long"] == "x" * 7000


def test_pictures_tables_and_files(client, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").write_text("a")
    figure = Figure()
    figure.subplots().plot([1, 2])
    figure.savefig(tmp_path / "x.png")
    with stage_run("a", {}) as run:
        run.log_figure(figure, "froc")
        run.log_figure(tmp_path / "x.png", "overlay")
        run.log_table(pd.DataFrame({"a": [1]}), "nodules")
        run.log_file(tmp_path / "out" / "a.txt")
        run.log_file(tmp_path / "out", "folder")
    names = {f.path for top in ("", "pictures", "tables", "folder") for f in client.list_artifacts(run.run_id, top)}
    assert names >= {"pictures/froc.png", "pictures/overlay.png", "tables/nodules.csv", "a.txt", "folder/a.txt"}


def test_children_are_closed_runs_below_the_stage(client, tmp_path):
    start = datetime(2026, 1, 2, 3, 4, 5)
    with stage_run("tune", {}) as run:
        trial = run.log_child_run(
            "trial 7",
            {"depth": 3},
            {"log_loss": 0.5},
            tags={"state": "pruned"},
            figures={"importance": Figure()},
            status="KILLED",
            started=start,
            ended=start + timedelta(seconds=9),
        )
    record = client.get_run(trial)
    assert record.data.tags[PARENT] == run.run_id
    assert record.data.tags["state"] == "pruned"
    assert record.info.status == "KILLED"
    assert record.info.run_name == "trial 7"
    assert record.data.params == {"depth": "3"}
    assert record.data.metrics == {"log_loss": 0.5}
    assert record.info.start_time == start.timestamp() * 1000
    assert record.info.end_time - record.info.start_time == 9000
    assert [file.path for file in client.list_artifacts(trial, "pictures")] == ["pictures/importance.png"]


LOCK = """
schema: '2.0'
stages:
  a:
    cmd: x
    outs:
    - {path: data/rois, md5: 0123456789abcdef0123456789abcdef.dir}
"""


def test_inputs_are_data_sets_under_dvcs_hashes(client, tmp_path):
    lock = tmp_path / "dvc.lock"
    lock.write_text(LOCK)
    with stage_run("b", {}, [Path("data/rois"), Path("data/raw")], lock) as run:
        pass
    record = client.get_run(run.run_id)
    digests = {entry.dataset.name: entry.dataset.digest for entry in record.inputs.dataset_inputs}
    assert digests == {"data/rois": "0123456789abcdef0123456789abcdef.dir", "data/raw": "unknown"}
    assert len(record.data.tags["dvc.lock.md5"]) == 32


def test_system_load_is_sampled(client, monkeypatch):
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true")
    monkeypatch.setattr("nodules.tracking.stage.SYSTEM_SAMPLING_S", 0.05)
    with stage_run("a", {}) as run:
        for _ in range(100):
            time.sleep(0.1)
            if "system/cpu_utilization_percentage" in client.get_run(run.run_id).data.metrics:
                break
        else:
            pytest.fail("no system metrics")


MODEL = """
import mlflow
from mlflow.models import set_model

class Doubler(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input: list[float], params=None) -> list[float]:
        return [2 * value for value in model_input]

set_model(Doubler())
"""


def test_registered_model_loads_by_its_alias(client, tmp_path):
    import mlflow

    (tmp_path / "doubler.py").write_text(MODEL)
    folder = tmp_path / "saved"
    mlflow.pyfunc.save_model(str(folder), python_model=str(tmp_path / "doubler.py"), pip_requirements=["mlflow"])
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with stage_run("package", {}) as run:
        assert run.register(folder, {"log_loss": 0.4}) == "1"
        assert run.register(folder, {"log_loss": 0.6}, alias=None) == "2"
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    version = client.get_model_version_by_alias("lung-cancer-diagnosis", "champion")
    assert (version.version, version.run_id) in {("1", run.run_id), (1, run.run_id)}
    model = client.get_logged_model(version.source.removeprefix("models:/"))
    assert {metric.key: metric.value for metric in model.metrics} == {"log_loss": 0.4}
    loaded = mlflow.pyfunc.load_model("models:/lung-cancer-diagnosis@champion")  # the folder's own mlflow.db
    assert loaded.predict([1.5, 2.0]) == [3.0, 4.0]


def test_challenger_says_why_and_leaves_the_champion_where_it_is(client, tmp_path):
    import mlflow

    (tmp_path / "doubler.py").write_text(MODEL)
    folder = tmp_path / "saved"
    mlflow.pyfunc.save_model(str(folder), python_model=str(tmp_path / "doubler.py"), pip_requirements=["mlflow"])
    with stage_run("package", {}) as run:
        assert run.registered_text("champion", "judged_on.csv", "gate") is None
        first = run.register(folder, {}, "gate", "champion", "it is the first")
        assert run.registered_text("champion", "judged_on.csv", "gate") == (first, None)
        run.log_text("id,label\na,1\n", "judged_on.csv")
    with stage_run("package", {}) as later:
        second = later.register(folder, {}, "gate", "challenger", "it is worse " * 60)
        assert later.registered_text("champion", "judged_on.csv", "gate") == (first, "id,label\na,1\n")
    assert str(client.get_model_version_by_alias("gate", "champion").version) == first
    version = client.get_model_version_by_alias("gate", "challenger")
    assert str(version.version) == second
    assert version.description == "it is worse " * 60
    assert version.tags["alias.reason"] == version.description[:500]


def test_absent_server_is_told_at_once(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with (
        pytest.raises(TrackingError, match=r"does not answer at http://127\.0\.0\.1:9 .*MLFLOW_TRACKING_URI"),
        stage_run("a", {}),
    ):
        pass
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


def test_absent_server_is_told_without_the_password_that_its_address_holds(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with (
        pytest.raises(TrackingError, match=r"does not answer at http://\*\*\*@127\.0\.0\.1:9 ") as caught,
        stage_run("a", {}),
    ):
        pass
    assert "secret" not in str(caught.value)
