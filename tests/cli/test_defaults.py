"""The command `nodules` where nothing is named: which parameters and which model it takes, and that it says so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click import ClickException
from click.testing import Result
from ruamel.yaml import YAML

from nodules.cli import defaults
from nodules.scans.volume_files.reader import read_mask
from nodules.scans.volume_files.writer import write_volume
from support.code_graph import PROJECT, modules, reachable
from support.command_line import nodules
from support.phantoms import simple_chest

SHIPPED = PROJECT / "params.yaml"
OF_PACKAGE = "parameters: the package's defaults, as the current folder holds no params.yaml\n"
OF_FOLDER = "parameters: params.yaml of the current folder\n"


@pytest.fixture(scope="module")
def scan(tmp_path_factory) -> Path:
    """A scan with 5 mm slices: `usable` with the default limit of 3 mm, `ok` with a limit of 10 mm."""
    file = tmp_path_factory.mktemp("scan") / "chest.mha"
    write_volume(simple_chest()[0], file)
    return file


def write_params(file: Path, max_thickness_mm: float) -> Path:
    yaml = YAML()
    content = yaml.load(SHIPPED)
    content["reading"]["max_thickness_mm"] = max_thickness_mm
    yaml.dump(content, file)
    return file


def status(result: Result) -> str:
    """Return the verdict's status, and check that stdout holds nothing else."""
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)["status"]


def test_an_empty_folder_has_the_parameters_of_the_package(scan, here):
    result = nodules("check", scan, "--json")
    assert (status(result), result.stderr) == ("usable", OF_PACKAGE)
    assert result.stdout == nodules("check", scan, "--json", "--params", SHIPPED).stdout
    assert not list(here.iterdir())


def test_params_of_the_folder_come_before_those_of_the_package(scan):
    write_params(Path("params.yaml"), 10.0)
    result = nodules("check", scan, "--json")
    assert (status(result), result.stderr) == ("ok", OF_FOLDER)


def test_the_named_file_comes_first_and_needs_no_word(scan, tmp_path):
    write_params(Path("params.yaml"), 10.0)
    result = nodules("check", scan, "--json", "--params", write_params(tmp_path / "mine.yaml", 3.0))
    assert (status(result), result.stderr) == ("usable", "")


def test_lungs_in_an_empty_folder(scan, here):
    result = nodules("lungs", scan, "-o", "lungs.nii.gz")
    assert result.exit_code == 0
    assert result.stderr.startswith(OF_PACKAGE)
    assert [file.name for file in here.iterdir()] == ["lungs.nii.gz"]
    found, true = read_mask(here / "lungs.nii.gz").voxels_zyx, simple_chest()[1]
    for label in (1, 2):
        assert np.count_nonzero(found == label) == pytest.approx(np.count_nonzero(true == label), rel=0.1)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("train: {epochs: 3}", "params.yaml: reading: unknown section; "),
        ("reading: {delimiter: ';'}", "params.yaml: reading.delimiter: unknown key; "),
        ("", "params.yaml: expected sections of parameters, got NoneType"),
    ],
)
@pytest.mark.parametrize("command", ["check", "lungs"])
def test_params_of_another_project_are_refused_with_a_remedy(scan, here, command, content, problem):
    Path("params.yaml").write_text(content)
    result = nodules(command, scan, *(("-o", "lungs.mha") if command == "lungs" else ()))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"{OF_FOLDER}Error: ")
    assert problem in result.stderr
    remedy = f"Use another file with --params; the package's defaults are in {defaults.PACKAGED_PARAMS}\n"
    assert result.stderr.endswith(remedy)
    assert status(nodules("check", scan, "--json", "--params", defaults.PACKAGED_PARAMS)) == "usable"
    assert [file.name for file in here.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize("named", ["nowhere.yaml", "."])
def test_a_named_file_that_is_not_there_is_named_whole(scan, here, named):
    write_params(Path("params.yaml"), 10.0)
    result = nodules("check", scan, "--params", named)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {here / named}: no such file\n")


@pytest.mark.parametrize("stage", [name for name in modules() if name.startswith("nodules.stages.")])
def test_no_stage_falls_back_on_the_package(stage):
    assert "nodules.cli.defaults" not in reachable(stage)


# --- the model ---


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A checkout from which nodules is installed."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "dvc.yaml").touch()
    monkeypatch.setattr(defaults, "CHECKOUT", folder)
    return folder


def test_the_model_is_looked_for_here_and_then_in_the_checkout(checkout, here):
    diagnosis, pretrained = ([here / f"models/{name}", checkout / f"models/{name}"] for name in defaults.MODELS)
    assert defaults.model_folders() == [*diagnosis, *pretrained]
    assert defaults.model_folders(["diagnosis"]) == diagnosis
    assert defaults.model_folders(["pretrained"]) == pretrained


def test_the_checkout_itself_is_one_place(checkout, monkeypatch):
    monkeypatch.chdir(checkout)
    assert defaults.model_folders() == [checkout / "models/diagnosis", checkout / "models/pretrained"]


def test_installed_without_a_checkout_there_is_one_place(checkout, here):
    (checkout / "dvc.yaml").unlink()
    assert defaults.model_folders() == [here / "models/diagnosis", here / "models/pretrained"]


def test_without_a_model_predict_says_where_it_looked_and_what_to_do(scan, checkout, here):
    result = nodules("predict", scan, "-o", "out")
    assert result.exit_code == 1
    places = [f"{folder}/models/{name}" for name in ("diagnosis", "pretrained") for folder in (here, checkout)]
    assert f"Error: {', '.join(places)}: no packaged model" in result.stderr
    assert "--model" in result.stderr
    assert "make repro" in result.stderr
    assert "an installed package alone does not" in result.stderr
    assert not list(here.iterdir())


def model(folder: Path, *parts: str) -> Path:
    """A chain with these parts, all of them empty."""
    for part in ("segmenter", "false_positive_reduction", *parts):
        (folder / part).mkdir(parents=True)
    (folder / "diagnosis.json").touch()
    return folder


def test_the_trained_model_comes_before_the_pretrained_one(checkout, here, capsys):
    pretrained = model(here / "models/pretrained", "malignancy")
    assert defaults.chain_folder(None, says_what_is_missing=True) == pretrained
    assert capsys.readouterr().err.startswith(f"model: {pretrained}, without a classifier of cancer: `probability`")
    trained = model(checkout / "models/diagnosis/artifacts/chain", "classifier")
    assert defaults.chain_folder(None, says_what_is_missing=True) == trained
    assert capsys.readouterr().err == f"model: {checkout}/models/diagnosis\n"


def test_models_by_name(checkout, here):
    trained = model(here / "models/diagnosis", "classifier")
    pretrained = model(checkout / "models/pretrained", "malignancy")
    assert defaults.chain_folder("diagnosis") == trained
    assert defaults.chain_folder("pretrained") == pretrained
    assert defaults.segmenter_folder(None) == trained / "segmenter"
    assert defaults.segmenter_folder("pretrained") == pretrained / "segmenter"
    with pytest.raises(ClickException, match=f"^{here}/pretrained: no packaged model"):
        defaults.chain_folder("./pretrained")


def test_a_named_folder_needs_no_word_unless_it_lacks_a_classifier(here, capsys):
    assert defaults.chain_folder(str(model(here / "mine", "classifier")), says_what_is_missing=True) == here / "mine"
    assert capsys.readouterr().err == ""
    defaults.chain_folder(str(model(here / "other", "malignancy")), says_what_is_missing=True)
    assert capsys.readouterr().err.startswith(f"model: {here}/other, without a classifier of cancer")
    defaults.chain_folder(str(model(here / "finds")), says_what_is_missing=True)
    assert capsys.readouterr().err.startswith(f"model: {here}/finds, which finds nodules and does not judge them")


@pytest.mark.parametrize("command", ["predict", "evaluate-cubes"])
@pytest.mark.parametrize("model", [[], ["--model", "pretrained"], ["--model", "nowhere"]])
def test_a_missing_model_is_reported_before_slow_libraries_are_loaded(here, command, model):
    words = [command, "something", *(["-o", "out"] if command == "predict" else []), *model]
    code = f"""
import sys
from pathlib import Path
from click.testing import CliRunner
from nodules.cli import defaults
from nodules.cli.main import main
defaults.CHECKOUT = Path("nowhere")
result = CliRunner().invoke(main, {words})
print("no packaged model" in result.output, {{"keras", "tensorflow", "mlflow", "sklearn"}} & set(sys.modules))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "True set()"
