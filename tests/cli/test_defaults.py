"""The command `nodules` where nothing is named: which parameters and which model it takes, and that it says so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
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
    assert defaults.model_folders() == [here / "models/diagnosis", checkout / "models/diagnosis"]


def test_the_checkout_itself_is_one_place(checkout, monkeypatch):
    monkeypatch.chdir(checkout)
    assert defaults.model_folders() == [checkout / "models/diagnosis"]


def test_installed_without_a_checkout_there_is_one_place(checkout, here):
    (checkout / "dvc.yaml").unlink()
    assert defaults.model_folders() == [here / "models/diagnosis"]


def test_without_a_model_predict_says_where_it_looked_and_what_to_do(scan, checkout, here):
    result = nodules("predict", scan, "-o", "out")
    assert result.exit_code == 1
    assert f"Error: {here}/models/diagnosis, {checkout}/models/diagnosis: no packaged model" in result.stderr
    assert "--model" in result.stderr
    assert "make repro" in result.stderr
    assert not list(here.iterdir())
