"""What `make repro` says at its end: numbers as the files have them, and what is missing by name."""

import json
from pathlib import Path

import pytest

from nodules.cli.summary import lines
from nodules.tracking import registry as tracked_results
from nodules.tracking import stage as tracking
from nodules.tracking.registry import RegisteredModel
from support.command_line import nodules

UNET = {
    "scans": 18,
    "nodules": 69,
    "dice_mean": 0.7027,
    "dice_median": 0.8102,
    "hit_rate": 0.8696,
    "sensitivity": 0.8551,
    "false_positives_per_scan": 0.9444,
    "cpm": 0.8654,
    "cpm_low": 0.7986,
    "cpm_high": 0.9199,
}
CLASSIFIER = {
    "chosen": "extra_trees",
    "prior_log_loss": 0.5419,
    "bayes_log_loss": 0.3475,
    "patients": 56,
    "positives": 13,
    "validated": {
        "log_loss": 0.4392,
        "log_loss_low": 0.2898,
        "log_loss_high": 0.6248,
        "auc": 0.809,
        "auc_low": 0.657,
        "auc_high": 0.928,
    },
}


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A project after a run, without a tracker."""
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "models/metrics").mkdir(parents=True)
    (tmp_path / "models/plots").mkdir()
    (tmp_path / "models/plots/nodules.png").touch()
    for name, numbers in (("unet", UNET), ("classifier", CLASSIFIER)):
        (tmp_path / f"models/metrics/{name}.json").write_text(json.dumps(numbers))
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_ROOT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def summary() -> list[str]:
    result = nodules("summary")
    assert result.exit_code == 0, result.output
    assert all(len(line) < 80 for line in result.stdout.splitlines())
    return [" ".join(line.split()) for line in result.stdout.splitlines()]


def test_numbers_of_both_files_are_told(project):
    assert summary()[:13] == [
        "U-Net on 18 test scans with 69 nodules",
        "Dice per nodule, mean (median) 0.703 (0.810)",
        "nodules hit 0.870",
        "sensitivity 0.855 at 0.94 false positives per scan",
        "CPM 0.865 (95 %: 0.799 to 0.920)",
        "",
        "Cancer: 56 patients, 13 with cancer, each predicted from outside the fold",
        "log-loss of the model chosen 0.439 (95 %: 0.290 to 0.625)",
        "prior, all patients alike 0.542",
        "limit: true probabilities 0.347",
        "AUC 0.809 (95 %: 0.657 to 0.928)",
        "fitted to all patients ExtraTrees",
        "registered no model yet on this machine",
    ]


def test_next_come_pictures_that_are_there_and_commands(project):
    told = summary()
    assert "models/plots/nodules.png test nodules: annotated and found" in told
    assert any(line.startswith("make ui ") and "localhost:5000" in line for line in told)
    (project / "models/plots/nodules.png").unlink()
    assert not any("nodules.png" in line for line in summary())


def test_asking_makes_no_database(project):
    summary()
    assert not (project / "mlflow.db").exists()


def test_real_patients_have_no_known_limit(project):
    real = {name: value for name, value in CLASSIFIER.items() if name != "bayes_log_loss"}
    (project / "models/metrics/classifier.json").write_text(json.dumps(real))
    assert not any("true probabilities" in line for line in summary())


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "is missing"), ("{", "cannot be read"), ("[1]", "no table of numbers"), ("\xff", "cannot be read")],
)
def test_a_bad_file_is_named_and_the_rest_told(project, content, said):
    file = project / "models/metrics/unet.json"
    file.unlink()
    if content:
        file.write_bytes(content.encode("latin-1"))
    told = summary()
    assert told[0].startswith("models/metrics/unet.json")
    assert said in " ".join(told[:2])
    assert "AUC 0.809 (95 %: 0.657 to 0.928)" in told


def test_missing_numbers_are_said(project):
    (project / "models/metrics/unet.json").write_text('{"dice_mean": NaN, "cpm": null, "scans": "many"}')
    (project / "models/metrics/classifier.json").write_text('{"validated": null, "chosen": "new_kind"}')
    told = summary()
    assert "Dice per nodule, mean (median) nan (missing)" in told
    assert "CPM missing" in told
    assert "log-loss of the model chosen missing" in told
    assert "fitted to all patients new_kind" in told


def test_registered_model_and_its_reason_are_told(project, monkeypatch):
    model = RegisteredModel("3", ("challenger",), "its skill, -0.121, is not shown to lie above 0")
    monkeypatch.setattr(tracked_results, "newest_model", lambda: model)
    assert "registered version 3, challenger: its skill, -0.121" in " ".join(summary())


def test_silent_tracker_is_told_in_its_place(project, monkeypatch):
    def silent(*_):
        raise tracking.TrackingError("MLflow does not answer at http://far:5000")

    monkeypatch.setattr(tracked_results, "newest_model", silent)
    monkeypatch.setattr(tracked_results, "newest_file", silent)
    assert any("registered MLflow does not answer" in line for line in summary())


def test_a_long_path_stays_in_one_piece(project, monkeypatch):
    report = project / "mlruns" / ("run" * 20) / "report.html"
    monkeypatch.setattr(tracked_results, "newest_file", lambda *_: report)
    assert any("mlruns/" + "run" * 20 + "/report.html" in line for line in lines())


def test_summary_outside_the_project_is_refused(here):
    result = nodules("summary")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: {here} holds no dvc.yaml; run `nodules summary` in the project folder\n"
