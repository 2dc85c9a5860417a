"""The whole pipeline of dvc.yaml on chests of 80 pixels: commands taken from dvc.yaml, run in this process."""

from __future__ import annotations

import os
import runpy
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import joblib
import pytest

from nodules import params
from nodules.scans.phantom.patient import PhantomParams, draw_truth
from support.code_graph import PROJECT

SEGMENTER = Path(__file__).parents[1] / "data" / "tiny_segmenter"  # made by tiny_segmenter.py

OVERRIDES = [
    "phantoms.grid_px=80",
    "phantoms.pixel_spacing_mm=[4.2,4.6]",
    "phantoms.slice_thickness_mm=[6.0,7.0]",
    "phantoms.luna_scans=8",
    "phantoms.dsb_patients=8",
    "phantoms.nodule_diameter_mm=[10.0,30.0]",
    "split.validation_share=0.25",
    "extract.slices_per_nodule=3",
    "extract.nodule_free_slices=2",
    "lung_mask.working_spacing_mm=4.0",
    "context.distance_mm=2.5",
    "lung_roi.spacing_mm=4.0",
    "lung_roi.masked_input=true",
    "lung_roi.window_hu=[-1000.0,400.0]",
    "candidates.min_diameter_mm=5.0",
    "false_positive_reduction.epochs=2",
    "false_positive_reduction.steps_per_epoch=25",
    "false_positive_reduction.batch_size=8",
    "false_positive_reduction.cube.size_px=8",
    "false_positive_reduction.network.filters=4",
    f"unet.start_from={SEGMENTER}",
    "unet.fine_tuning=null",
    "unet.epochs=2",
    "unet.steps_per_epoch=4",
    "unet.batch_size=8",
    "unet.validation_patches=8",
    "unet.learning_rate=1.0e-5",
    "unet.network.depth=2",
    "unet.network.stem_stride=1",
    "unet.network.filters=4",
    "phantoms.luna_extra_nodules=0",
    "unet.sampling.nodule_share=0.8",
    "unet.sampling.hard_share=0.1",
    "unet.mining_epochs=[1]",
    "unet.sampling.patch_px=32",
    "unet.sampling.jitter_px=8",
    "tune_segmentation.trials=2",
    "tune_segmentation.min_probability=[0.001,0.5]",
    "classifier.folds=3",
    "classifier.repeats=1",
    "classifier.inner_folds=2",
    "classifier.random_forest.trees=10",
    "classifier.random_forest.min_samples_leaf=1",
    "classifier.extra_trees.trees=10",
    "classifier.extra_trees.min_samples_leaf=1",
    "classifier.logistic.inverse_penalties=[0.1]",
    "classifier.xgboost.n_estimators=20",
    "classifier.xgboost.seeds=1",
    "tune_classifier.trials=2",
    "tune_classifier.shuffles=1",
]

# At 4 mm a pixel the tutorial's fixed footprints leave little of the lungs; the stages must not mind.
TUTORIAL_OVERRIDES = [
    "tutorial.steps.size_px=32",
    "tutorial.unet.filters=2",
    "tutorial.unet.depth=2",
    "tutorial.unet.epochs=2",
    "tutorial.unet.batch_size=8",
    "tutorial.classifiers.trees=5",
]


@dataclass(frozen=True)
class Stage:
    """One stage of dvc.yaml with all variables filled in, as DVC itself resolves it."""

    name: str
    command: str
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class TinyProject:
    """A folder in which the pipeline has run."""

    folder: Path
    stages: tuple[Stage, ...]

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{self.folder / 'runs.db'}"

    def path(self, name: str) -> Path:
        return self.folder / name

    def params(self, section: str, cls: type):
        return params.load(section, cls, self.folder / "params.yaml")

    def stage(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)

    def environment(self) -> dict[str, str]:
        return {
            "MLFLOW_TRACKING_URI": self.tracking_uri,
            "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false",
            "MLFLOW_REGISTRY_URI": self.tracking_uri,
            "NODULES_JOBS": "1",
            "MPLBACKEND": "Agg",
        }

    def run(self, name: str) -> None:
        """Run the command of a stage in this process, as `python -m` would."""
        run_module(shlex.split(self.stage(name).command), self.folder, self.environment())

    def copy(self, folder: Path) -> TinyProject:
        """Another project with the same files, for tests that change them."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return replace(self, folder=folder)


def build(folder: Path) -> TinyProject:
    """Compose the parameters and run every stage."""
    project = prepare(folder, OVERRIDES)
    for stage in project.stages:
        project.run(stage.name)
    return project


def under_method(project: TinyProject, folder: Path, *overrides: str) -> TinyProject:
    """The same files under other parameters, `method=...` among them; its own stages have not run yet."""
    project.copy(folder)
    seed = project.params("phantoms", PhantomParams).seed
    _compose(folder, [*OVERRIDES, f"phantoms.seed={seed}", *TUTORIAL_OVERRIDES, *overrides])
    return opened(folder)


def opened(folder: Path) -> TinyProject:
    """A project that another process has built."""
    return TinyProject(folder, _resolved_stages(folder))


def prepare(folder: Path, overrides: list[str]) -> TinyProject:
    """A project in which nothing has run yet."""
    folder.mkdir(parents=True, exist_ok=True)
    _compose(folder, overrides)
    seed = _seed_with_both_classes(params.load("phantoms", PhantomParams, folder / "params.yaml"))
    _compose(folder, [*overrides, f"phantoms.seed={seed}"])
    shutil.copy(PROJECT / "dvc.yaml", folder / "dvc.yaml")
    return opened(folder)


def run_module(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    """``python -m module arguments`` without a new interpreter: TensorFlow takes seconds to load."""
    python, switch, module, *arguments = command
    assert (python, switch) == ("python", "-m")
    with pytest.MonkeyPatch.context() as patch, joblib.parallel_config(backend="sequential"):
        for variable in ("DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME", "MLFLOW_RUN_ID", "NODULES_DASK"):
            patch.delenv(variable, raising=False)
        for variable, value in environment.items():
            patch.setenv(variable, value)
        patch.chdir(folder)
        patch.setattr(sys, "argv", [module, *arguments])
        runpy.run_module(module, run_name="__main__", alter_sys=True)


def _compose(folder: Path, overrides: list[str]) -> None:
    from dvc.utils.hydra import compose_and_dump

    compose_and_dump(folder / "params.yaml", str(PROJECT / "conf"), None, "config", str(folder), overrides)


def _seed_with_both_classes(phantoms: PhantomParams) -> int:
    """First seed that gives at least three patients of each class, and one LUNA scan without nodules at most."""
    for seed in range(1000):
        drawn = replace(phantoms, seed=seed)
        cancers = sum(draw_truth(index, "dsb", drawn).cancer for index in range(drawn.dsb_patients))
        nodules = [len(draw_truth(index, "luna", drawn).nodules) for index in range(drawn.luna_scans)]
        if 3 <= cancers <= drawn.dsb_patients - 3 and nodules.count(0) == 1:
            return seed
    raise ValueError("no seed gives three patients of each class")


def _resolved_stages(folder: Path) -> tuple[Stage, ...]:
    from dvc.repo import Repo
    from networkx import lexicographical_topological_sort

    with _inside(folder):
        repo = Repo() if (folder / ".dvc").is_dir() else Repo.init(no_scm=True)
        index = repo.index
        places = {stage: place for place, stage in enumerate(index.stages)}
        ordered = lexicographical_topological_sort(index.graph.reverse(), key=places.__getitem__)
        return tuple(
            Stage(stage.addressing, str(stage.cmd), tuple(str(out.def_path) for out in stage.outs)) for stage in ordered
        )


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
