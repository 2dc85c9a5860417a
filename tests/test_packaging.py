"""What `pip` makes of the project: the files of the wheel, and the extras that errors and pages name."""

from __future__ import annotations

import re
import tomllib

import pytest
from setuptools.dist import Distribution

from support.code_graph import PROJECT

METADATA = tomllib.loads((PROJECT / "pyproject.toml").read_text())


def test_the_wheel_holds_the_default_parameters(monkeypatch):
    monkeypatch.chdir(PROJECT)
    wheel = Distribution({"include_package_data": False})  # else setuptools writes its list of files into src/
    wheel.parse_config_files()
    builder = wheel.get_command_obj("build_py")
    builder.ensure_finalized()
    files = {package: names for package, _, _, names in builder.data_files}
    assert files["nodules"] == ["default_params.yaml"]


@pytest.mark.parametrize(("extra", "package"), [("cluster", "distributed"), ("rdb", "psycopg-binary")])
@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-gpu.lock"])
def test_the_locked_environment_holds_what_an_extra_adds(extra, package, lock):
    (requirement,) = METADATA["project"]["optional-dependencies"][extra]
    assert requirement in METADATA["dependency-groups"]["dev"]
    assert re.search(rf"^{package}==", (PROJECT / lock).read_text(), re.MULTILINE)
