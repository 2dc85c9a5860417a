"""`make env`: which Python it takes, when it replaces the environment, and what it says when there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.code_graph import PROJECT

MAKE = shutil.which("make")
pytestmark = pytest.mark.skipif(MAKE is None, reason="no make")

# A fake Python that reports a given version and answers what the Makefile asks.
PYTHON = f"""#!{sys.executable} -IS
import shutil, sys
from pathlib import Path
sys.version_info = ({{version}}, 0)
sys.modules["ensurepip"] = {{ensurepip}}
if sys.argv[1] == "-c":
    exec(sys.argv[2])
elif sys.argv[1] == "--version":
    print("Python {{version}}".replace(", ", "."))
elif sys.argv[1:3] == ["-m", "venv"]:
    folder = Path(sys.argv[-1])
    if "--clear" in sys.argv and folder.exists():
        shutil.rmtree(folder)
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    if not (folder / "bin/python").exists():
        shutil.copy(__file__, folder / "bin/python")
    (folder / "bin/pip").write_text("#!/bin/sh\\n")
    (folder / "bin/pip").chmod(0o755)
"""
SHIM = """#!/bin/sh
echo "shim: no such version" >&2
exit 127
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the Makefile and its inputs; the path holds only the commands that it needs."""
    shutil.copy(PROJECT / "Makefile", tmp_path)
    for name in ("pyproject.toml", "requirements.lock"):
        (tmp_path / name).touch()
    (tmp_path / "commands").mkdir()
    for name in ("head", "touch"):
        (tmp_path / "commands" / name).symlink_to(str(shutil.which(name)))
    return tmp_path


@pytest.fixture
def has(project: Path) -> Callable[..., None]:
    """Put a command on the path: a Python of this version, or a shim that leads nowhere."""

    def put(name: str, version: str | None, *, ensurepip: bool = True) -> None:
        text = SHIM
        if version is not None:
            text = PYTHON.format(version=version.replace(".", ", "), ensurepip="sys" if ensurepip else None)
        (project / "commands" / name).write_text(text)
        (project / "commands" / name).chmod(0o755)

    return put


def make_env(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHON", "LOCKFILE", "MAKEFLAGS"}}
    return subprocess.run(
        [str(MAKE), "env", *arguments],
        cwd=project,
        env=kept | {"PATH": str(project / "commands")},
        capture_output=True,
        text=True,
        check=False,
    )


def version_of(project: Path) -> str:
    command = [str(project / ".venv/bin/python"), "-c", 'import sys; print("%d.%d" % sys.version_info[:2])']
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_oldest_supported_python_is_the_default(project, has):
    for version in ("3.10", "3.12", "3.11", "3.13", "3.14"):
        has(f"python{version}", version)
    made = make_env(project)
    assert made.returncode == 0, made.stderr
    assert version_of(project) == "3.11"


def test_shim_and_python_without_ensurepip_are_passed_over(project, has):
    has("python3.11", None)
    has("python3.12", "3.12", ensurepip=False)
    has("python3.13", "3.13")
    made = make_env(project)
    assert made.returncode == 0, made.stderr
    assert made.stderr == ""
    assert version_of(project) == "3.13"


def test_python3_serves_where_none_is_named_by_its_version(project, has):
    has("python3.11", None)
    has("python3", "3.12")
    assert make_env(project).returncode == 0
    assert version_of(project) == "3.12"


@pytest.mark.parametrize(("version", "found"), [("3.10", "python3, Python 3.10;"), ("3.14", "python3, Python 3.14;")])
def test_unsupported_python_is_refused(project, has, version, found):
    has("python3", version)
    made = make_env(project)
    assert made.returncode != 0
    for part in ("Python 3.11 to 3.13 is needed", found, "make PYTHON=/path/to/python3.13"):
        assert part in made.stderr
    assert not (project / ".venv").exists()


def test_no_python_at_all_is_told(project):
    made = make_env(project)
    assert made.returncode != 0
    assert "Python 3.11 to 3.13 is needed" in made.stderr
    assert "python3: not found" in made.stderr.replace("command not found", "not found")


def test_named_python_replaces_the_environment_of_another_and_stays(project, has):
    has("python3.11", "3.11")
    has("python3.13", "3.13")
    make_env(project)
    (project / ".venv/of_311").touch()
    named = make_env(project, "PYTHON=python3.13")
    assert named.returncode == 0, named.stderr
    assert version_of(project) == "3.13"
    assert not (project / ".venv/of_311").exists()
    assert "venv" not in make_env(project, "PYTHON=python3.13").stdout


def test_environment_keeps_its_python_when_the_lock_is_renewed(project, has):
    has("python3.11", "3.11")
    has("python3.13", "3.13")
    make_env(project, "PYTHON=python3.13")
    (project / ".venv/kept").touch()
    (project / ".venv/ready").unlink()
    assert make_env(project).returncode == 0
    assert version_of(project) == "3.13"
    assert (project / ".venv/kept").exists()


def test_python3_means_the_one_outside_of_the_environment(project, has):
    has("python3.11", "3.11")
    has("python3", "3.12")
    make_env(project)
    shutil.copy(project / ".venv/bin/python", project / ".venv/bin/python3")
    assert make_env(project, "PYTHON=python3").returncode == 0
    assert version_of(project) == "3.12"


def test_named_python_that_does_not_run_leaves_the_environment_alone(project, has):
    has("python3.11", "3.11")
    has("python3.13", None)
    make_env(project)
    made = make_env(project, "PYTHON=python3.13")
    assert made.returncode != 0
    assert "found: python3.13, shim: no such version; name another" in made.stderr
    assert version_of(project) == "3.11"
    assert (project / ".venv/ready").exists()


def test_environment_whose_python_is_gone_is_replaced(project, has):
    has("python3.11", "3.11")
    has("python3.12", "3.12")
    make_env(project)
    (project / "commands/python3.11").unlink()
    (project / ".venv/bin/python").write_text(SHIM)
    assert make_env(project).returncode == 0
    assert version_of(project) == "3.12"
