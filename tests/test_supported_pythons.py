"""The same Pythons in every file that names them, and the same packages on each."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from ruamel.yaml import YAML

from support.code_graph import PROJECT

PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())
SUPPORTED = SpecifierSet(PYPROJECT["project"]["requires-python"])
PYTHONS = [f"3.{minor}" for minor in range(30) if f"3.{minor}.0" in SUPPORTED]
LOCKS = ("requirements.lock", "requirements-gpu.lock")


def read_yaml(path: Path) -> dict:
    return YAML(typ="safe").load(path.read_text())


def locked(name: str) -> list[Requirement]:
    lines = (PROJECT / name).read_text().splitlines()
    return [Requirement(line.rstrip("\\ ")) for line in lines if line and not line.startswith((" ", "#"))]


def packages(name: str, python: str) -> dict[str, str]:
    """What pip takes from a lock on this Python."""
    environment = {"python_version": python, "python_full_version": f"{python}.99"}
    chosen = [each for each in locked(name) if each.marker is None or each.marker.evaluate(environment)]
    return {each.name: str(each.specifier) for each in chosen}


def test_makefile_looks_for_them_oldest_first():
    found = re.search(r"^PYTHONS := (.*)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert found
    assert found.group(1).split() == PYTHONS


def test_ci_tests_each_and_runs_everything_on_one():
    jobs = read_yaml(PROJECT / ".github/workflows/ci.yml")["jobs"]["ci"]["strategy"]["matrix"]["include"]
    assert [job["python"] for job in jobs] == PYTHONS
    commands = [job["run"] for job in jobs]
    assert ".ci/run" in commands
    assert all(command.startswith("make test") for command in commands if command != ".ci/run")


def test_linter_and_type_checker_hold_to_the_oldest():
    oldest = PYTHONS[0]
    assert PYPROJECT["tool"]["mypy"]["python_version"] == oldest
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"


@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "CONTRIBUTING.md"])
def test_pages_name_them(page):
    assert re.search(rf"Python {', '.join(PYTHONS[:-1])} (or|and) {PYTHONS[-1]}", (PROJECT / page).read_text())


@pytest.mark.parametrize("lock", LOCKS)
def test_every_python_gets_the_same_packages(lock):
    """Other package versions would train other models, and mypy can read NumPy's types for one Python version only."""
    oldest = packages(lock, PYTHONS[0])
    assert {"numpy", "scipy", "tensorflow"} <= set(oldest)
    for python in PYTHONS[1:]:
        assert packages(lock, python) == oldest


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_name_no_index_and_hash_everything(lock):
    text = (PROJECT / lock).read_text()
    assert "://" not in text
    assert "--index" not in text
    assert all("--hash=sha256:" in entry for entry in re.split(r"\n(?=\S)", text))


def test_mlflow_finds_what_its_environment_is_made_of():
    """MLflow installs from the project's folder, and takes its own Python where the file names none."""
    environment = read_yaml(PROJECT / read_yaml(PROJECT / "MLproject")["python_env"])
    assert "python" not in environment
    named = [entry.removeprefix("-r ") for entry in environment["dependencies"]]
    assert named == ["requirements.lock"]
    assert (PROJECT / named[0]).is_file()


def test_entry_points_find_the_package_in_an_environment_that_holds_only_the_lock():
    points = read_yaml(PROJECT / "MLproject")["entry_points"]
    assert {point["command"].split()[0] for point in points.values()} == {"PYTHONPATH=src"}
