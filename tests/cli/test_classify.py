"""The command `nodules classify` on small tables: what it prints, writes and logs, and what it refuses."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from mlflow import MlflowClient

from nodules.cli import defaults
from nodules.cli.main import main
from nodules.models.cancer import classifier
from nodules.models.cancer import files as classifier_files
from nodules.models.cancer.params import LEARNED, MODEL_NAMES
from support.feature_tables import patients, write_quick_params

LABELLED, HELD_OUT, UNKNOWN = 150, 30, 5


@dataclass(frozen=True)
class Case:
    """A folder with features.csv.gz, labels.csv, holdout.csv and params.yaml, and what the command answered."""

    folder: Path
    answer: dict
    result: Result


def run(folder: Path, *words: str) -> Result:
    files = ["classify", "features.csv.gz", "labels.csv", *words]
    if "--params" not in words:
        files += ["--params", "params.yaml"]
    return in_folder(folder, files)


def in_folder(folder: Path, words: list[str]) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'runs.db'}")
        patch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
        patch.setenv("NODULES_JOBS", "1")
        patch.delenv("MLFLOW_RUN_ID", raising=False)
        return CliRunner().invoke(main, words)


def write_tables(folder: Path) -> None:
    features, labels = patients(LABELLED + HELD_OUT + UNKNOWN)
    features.to_csv(folder / "features.csv.gz")
    known = labels.rename_axis("id")
    known.iloc[:LABELLED].to_csv(folder / "labels.csv")
    known.iloc[LABELLED : LABELLED + HELD_OUT].to_csv(folder / "holdout.csv")
    write_quick_params(folder)


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    folder = tmp_path_factory.mktemp("table")
    write_tables(folder)
    result = run(folder, "--holdout", "holdout.csv", "--trials", "2", "--json", "-o", "out")
    assert result.exit_code == 0, result.output
    return Case(folder, json.loads(result.stdout), result)


def table(case: Case, name: str) -> pd.DataFrame:
    return pd.read_csv(case.folder / "out" / name, dtype={"id": str})


def test_json_is_one_object_with_all_models(case):
    answer = case.answer
    assert case.result.stdout.count("\n") == 1
    assert answer["chosen"] in LEARNED
    assert set(answer["validation"]) == {"chosen", *MODEL_NAMES}
    assert set(answer["holdout"]["models"]) == set(MODEL_NAMES)
    assert (answer["patients"], answer["holdout"]["patients"], answer["features"]) == (LABELLED, HELD_OUT, 3)
    for models in (answer["validation"], answer["holdout"]["models"]):
        for figures in models.values():
            assert figures["log_loss_low"] <= figures["log_loss"] <= figures["log_loss_high"]
    assert "f1_tuned" in answer["validation"]["chosen"]
    assert "f1_tuned" in answer["holdout"]["models"][answer["chosen"]]


def test_figures_are_those_of_the_predictions_on_file(case):
    written = table(case, "holdout.csv")
    labels = pd.read_csv(case.folder / "holdout.csv", dtype={"id": str}).set_index("id")["cancer"]
    assert written.set_index("id")["label"].to_dict() == labels.to_dict()
    probability = np.where(written["label"] == 1, written["xgboost"], 1 - written["xgboost"])
    assert case.answer["holdout"]["models"]["xgboost"]["log_loss"] == pytest.approx(-np.log(probability).mean())
    share = labels.mean()
    prior = -share * np.log(share) - (1 - share) * np.log(1 - share)
    assert case.answer["holdout"]["models"]["prior"]["prior_log_loss"] == pytest.approx(prior)


def test_the_strong_feature_is_found(case):
    assert case.answer["validation"]["chosen"]["skill"] > 0.1
    assert table(case, "importance.csv")["feature"].iloc[0] == "size"


def test_out_of_fold_has_every_patient_once_a_repeat(case):
    written = table(case, "out_of_fold.csv")
    assert len(written) == 2 * LABELLED
    assert not written[["id", "repeat"]].duplicated().any()
    assert set(written["chosen_model"]) <= set(LEARNED)


def test_submission_has_everybody_without_a_label_to_learn_from(case):
    submission = table(case, "submission.csv")
    assert list(submission.columns) == ["id", "cancer"]
    assert len(submission) == HELD_OUT + UNKNOWN
    both = submission.merge(table(case, "holdout.csv"), on="id")
    assert len(both) == HELD_OUT
    assert both["cancer"].to_numpy() == pytest.approx(both[case.answer["chosen"]].to_numpy(), abs=1e-6)


def test_stored_model_answers_alike(case):
    model = classifier_files.load(case.folder / "out" / "model")
    features = pd.read_csv(case.folder / "features.csv.gz", dtype={"patient": str}).set_index("patient")
    submission = table(case, "submission.csv").set_index("id")["cancer"]
    assert classifier.predict(model, features.loc[submission.index]).to_numpy() == pytest.approx(submission.to_numpy())


def test_page_names_the_holdout_and_holds_its_pictures(case):
    page = (case.folder / "out" / "report.html").read_text()
    assert "On the holdout" in page
    assert page.count("data:image/png") == 6
    assert {f"{name}.png" for name in ("roc", "precision_recall", "calibration", "confusion", "importance")} <= {
        file.name for file in (case.folder / "out").iterdir()
    }


def test_run_is_logged(case):
    client = MlflowClient(f"sqlite:///{case.folder / 'runs.db'}")
    (experiment,) = [found for found in client.search_experiments() if found.name == "lung-cancer"]
    runs = client.search_runs([experiment.experiment_id])
    (stage,) = [run for run in runs if run.info.run_name == "classify"]
    assert {run.info.run_name for run in runs} == {"classify", "chosen", *MODEL_NAMES}
    assert stage.data.metrics["holdout.log_loss"] == pytest.approx(
        case.answer["holdout"]["models"][case.answer["chosen"]]["log_loss"]
    )
    assert "report.html" in {file.path for file in client.list_artifacts(stage.info.run_id)}


def test_words_for_a_person(case):
    from nodules.cli.classify_table import summary

    text = "\n".join(summary(case.answer))
    assert f"{case.answer['holdout']['models'][case.answer['chosen']]['log_loss']:.4f}" in text
    assert "holdout: 30 patients" in text
    assert "out/submission.csv" in text


def test_same_numbers_again_and_without_a_holdout(case):
    result = run(case.folder, "--trials", "2", "--json", "-o", "again")
    answer = json.loads(result.stdout)
    assert answer["holdout"] is None
    assert answer["validation"] == case.answer["validation"], "the holdout changes nothing that is chosen or judged"
    assert answer["threshold"] == case.answer["threshold"]


def test_in_an_empty_folder(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(defaults, "PACKAGED_PARAMS", case.folder / "params.yaml")  # the shipped ones take minutes
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
    monkeypatch.setenv("NODULES_JOBS", "1")
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID", "DVC_ROOT"):
        monkeypatch.delenv(variable, raising=False)
    tables = [str(case.folder / name) for name in ("features.csv.gz", "labels.csv")]
    result = CliRunner().invoke(main, ["classify", *tables])
    assert result.exit_code == 0, result.output
    assert "parameters: the package's defaults" in result.stderr
    assert {file.name for file in tmp_path.iterdir()} == {"classify-features", "mlflow.db", "mlruns"}
    store = f"sqlite:///{tmp_path}/mlflow.db"
    said = re.search(rf"^run (\w+) of experiment lung-cancer in MLflow: {store}$", result.stdout, re.MULTILINE)
    assert MlflowClient(store).get_run(said[1]).info.run_name == "classify"


# --- what is refused ---


@pytest.fixture
def folder(tmp_path) -> Path:
    write_tables(tmp_path)
    return tmp_path


def refused(folder: Path, *words: str) -> str:
    result = run(folder, *words)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("Error: ") or "Error: " in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""
    return result.stderr


def test_holdout_that_was_learned_from_is_refused(folder):
    assert "150 of the holdout patients also have a label in LABELS" in refused(folder, "--holdout", "labels.csv")


def test_other_ids_are_refused(folder):
    (folder / "labels.csv").write_text("id,cancer\nx,1\ny,0\n")
    assert "no patient of features.csv.gz has a label in labels.csv" in refused(folder)


def test_params_of_another_project_are_refused(folder):
    (folder / "params.yaml").write_text("classifier: {model: svm}")
    result = in_folder(folder, ["classify", "features.csv.gz", "labels.csv"])
    assert result.exit_code == 1
    assert "params.yaml: classifier.model: unknown key" in result.stderr
    assert str(defaults.PACKAGED_PARAMS) in result.stderr


def test_one_class_is_refused(folder):
    labels = pd.read_csv(folder / "labels.csv").assign(cancer=1)
    labels.to_csv(folder / "labels.csv", index=False)
    assert "2 patients of each class" in refused(folder)


def test_missing_files_are_named(folder):
    (folder / "labels.csv").unlink()
    assert "labels.csv: no such file" in refused(folder)
    assert "nowhere.yaml: no such file" in refused(folder, "--params", "nowhere.yaml")


def test_features_in_words_are_named(folder):
    (folder / "features.csv.gz").unlink()
    (folder / "features.csv").write_text("id,side\np000,left\n")
    result = in_folder(folder, ["classify", "features.csv", "labels.csv"])
    assert result.exit_code == 1
    assert "got 'left' in 'side'" in result.stderr
