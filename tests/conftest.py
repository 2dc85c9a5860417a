"""Fixtures that several test modules share, and the option that names a packaged model."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

import tiny_project
from tiny_project import TinyProject


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--packaged-model",
        type=Path,
        default=None,
        help="Folder of a packaged model to serve in place of the tests' own small one.",
    )


@pytest.fixture(scope="session")
def tiny_pipeline(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> TinyProject:
    """The pipeline, run once whatever the number of test processes; tests that change files work on a copy."""
    shared = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        shared = shared.parent
    folder = shared / "tiny_pipeline"
    with FileLock(shared / "tiny_pipeline.lock"):
        if (folder / "done").exists():
            return tiny_project.opened(folder)
        project = tiny_project.build(folder)
        (folder / "done").touch()
        return project
