"""Results read back from MLflow are those that stages logged."""

import pytest
from mlflow import MlflowClient

from nodules.tracking import provenance
from nodules.tracking.registry import RegisteredModel, newest_file, newest_model
from nodules.tracking.stage import TrackingError, stage_run


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Making a database takes seconds: one for all."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "dvc.yaml").touch()
    return folder


@pytest.fixture(autouse=True)
def project(store, monkeypatch):
    monkeypatch.chdir(store)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID", "DVC_ROOT", "DVC_STAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
    monkeypatch.setattr(provenance, "pipeline_execution", lambda: None)
    return store


def test_nothing_is_found_and_nothing_made_without_a_database(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert newest_model() is None
    assert newest_file("a", "report.html") is None
    assert list(tmp_path.iterdir()) == []


def test_newest_version_counts_as_a_number(store):
    with stage_run("package", {}) as run:
        client: MlflowClient = run.client
        assert newest_model("counted") is None
        client.create_registered_model("counted")
        for number in range(1, 11):
            client.create_model_version("counted", f"{store}/model{number}", description=f"reason {number}")
        client.set_registered_model_alias("counted", "champion", "9")
    assert newest_model("counted") == RegisteredModel("10", (), "reason 10")
    for alias in ("zeroth", "challenger"):
        client.set_registered_model_alias("counted", alias, "10")
    assert newest_model("counted") == RegisteredModel("10", ("challenger", "zeroth"), "reason 10")


def test_file_is_of_the_last_run_of_that_stage_that_finished():
    with stage_run("train", {}) as first:
        first.log_text("old", "report.html")
    with stage_run("train", {}) as second:
        second.log_text("new", "report.html")
    with stage_run("other", {}) as other:
        other.log_text("other", "report.html")
    with pytest.raises(ValueError, match="bad"), stage_run("train", {}) as failed:
        failed.log_text("failed", "report.html")
        raise ValueError("bad")
    found = newest_file("train", "report.html")
    assert found is not None
    assert found.read_text() == "new"
    assert newest_file("train", "absent.html") is None
    assert newest_file("absent", "report.html") is None


def test_absent_server_is_told_at_once(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    for ask in (newest_model, lambda: newest_file("a", "b")):
        with pytest.raises(TrackingError, match="does not answer"):
            ask()
