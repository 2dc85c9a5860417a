"""Fixtures that several test modules share, and the option that names a packaged model."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from filelock import FileLock
from threadpoolctl import threadpool_limits

import nodules.models  # noqa: F401 - sets the user's keras.json aside, before a test imports Keras
from support import tiny_project
from support.tiny_project import TinyProject

# One thread a process, also for the processes that tests start. With several processes on two cores, more threads slow
# a small matrix product from 0.3 ms to 9 ms, and the suite from minutes to a quarter of an hour.
for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
    os.environ.setdefault(variable, "1")
threadpool_limits(limits=int(os.environ["OMP_NUM_THREADS"]))

# The same examples every time: a suite that passed on a commit passes on it again. HYPOTHESIS_PROFILE=explore looks on.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--packaged-model",
        type=Path,
        default=None,
        help="Folder of a packaged model to serve in place of the tests' own small one.",
    )


@pytest.fixture(autouse=True)
def no_store_left_behind() -> Iterator[None]:
    """A store set for the whole process outlives its test, and the next tests of that process would register there."""
    yield
    mlflow = sys.modules.get("mlflow.tracking._tracking_service.utils")
    if mlflow and (pinned := mlflow._tracking_uri) is not None:
        mlflow.set_tracking_uri(None)
        raise AssertionError(f"the test left {pinned} as the store of its whole process")


@pytest.fixture(scope="session")
def tiny_pipeline(tmp_path_factory: pytest.TempPathFactory) -> TinyProject:
    """The pipeline, run once whatever the number of test processes; tests that change its files take a copy."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "tiny_pipeline"
    with FileLock(shared / "tiny_pipeline.lock"):
        if (folder / "done").exists():
            return tiny_project.opened(folder)
        project = tiny_project.build(folder)
        (folder / "done").touch()
        return project


@pytest.fixture(scope="session")
def keen_model(tiny_pipeline: TinyProject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny pipeline's packaged model, told to keep all that its network sees.

    What so short a training sees surely depends on how the processor rounds, and may be nothing.
    """
    from nodules.models.chain import chain_folder

    folder = tmp_path_factory.mktemp("keen") / "diagnosis"
    shutil.copytree(tiny_pipeline.path("models/diagnosis"), folder)
    file = chain_folder(folder) / "diagnosis.json"
    settings = json.loads(file.read_text())
    settings["candidates"]["proposal_peak"] = settings["candidates"]["proposal_threshold"]
    settings["segmentation"]["min_probability"] = 0.0
    file.write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="session")
def rating_chain(keen_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chain of `keen_model` without a classifier and with an untrained network for malignancy."""
    from nodules.models.chain import chain_folder
    from support.raters import write_rater  # loads Keras

    folder = tmp_path_factory.mktemp("rating") / "pretrained"
    shutil.copytree(chain_folder(keen_model), folder)
    shutil.rmtree(folder / "classifier")
    shutil.rmtree(folder / "malignancy", ignore_errors=True)
    write_rater(folder / "malignancy")
    return folder


@pytest.fixture
def tiny_copy(tiny_pipeline: TinyProject, tmp_path: Path) -> TinyProject:
    """The same project in a folder of its own, to be changed and run again."""
    return tiny_pipeline.copy(tmp_path / "project")
