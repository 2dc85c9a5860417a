"""What `pip` makes of the project: the files of the wheel."""

from __future__ import annotations

from setuptools.dist import Distribution

from code_graph import PROJECT


def test_the_wheel_holds_the_default_parameters(monkeypatch):
    monkeypatch.chdir(PROJECT)
    wheel = Distribution({"include_package_data": False})  # else setuptools writes its list of files into src/
    wheel.parse_config_files()
    builder = wheel.get_command_obj("build_py")
    builder.ensure_finalized()
    files = {package: names for package, _, _, names in builder.data_files}
    assert files["nodules"] == ["default_params.yaml"]
