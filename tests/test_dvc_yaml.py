"""dvc.yaml tells the truth: every stage declares the code, the parameters and the files that it reads."""

from __future__ import annotations

import ast
import functools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from support.code_graph import PROJECT, modules, reachable

# These write runs and progress bars and read the command line. They never change an output, so a change there must not
# make a night's segmentation stale.
UNDECLARED = {
    name
    for name in modules()
    if name.startswith(("nodules.tracking", "nodules.progress", "nodules.stages.shared.command"))
}

# The stage `package` puts this module and all that it needs into the model, without loading it.
PACKAGED = "nodules.serving.scoring_model"

# The scans stand behind the lungs made from them; the root as a whole would drag in subsets that nobody asked for.
BEHIND_ANOTHER = {("segment_luna", "${dataset.luna_root}")}

LONGEST = 450

STAGES: dict[str, Any] = YAML(typ="safe").load((PROJECT / "dvc.yaml").read_text())["stages"]


def module_of(stage: str) -> str:
    found = re.search(r"python -m (nodules\.(?:tutorial\.)?stages\.\w+)", STAGES[stage]["cmd"])
    assert found, f"{stage} must run a module of nodules.stages"
    return found.group(1)


def files(stage: str, kind: str) -> set[str]:
    entries = STAGES[stage].get(kind, [])
    return {entry if isinstance(entry, str) else next(iter(entry)) for entry in entries}


def loaded(stage: str) -> set[str]:
    """The files of the modules that a stage loads, directly or not."""
    code = reachable(module_of(stage)) | (reachable(PACKAGED) if stage == "package" else set())
    return {str(modules()[name].relative_to(PROJECT)) for name in code - UNDECLARED}


def declared_code(stage: str) -> set[str]:
    return {dep for dep in files(stage, "deps") if dep.startswith("src/")}


def covers(declared: str, file: str) -> bool:
    return file == declared or file.startswith(f"{declared}/")


@pytest.mark.parametrize("stage", STAGES)
def test_whatever_a_stage_loads_is_declared(stage: str) -> None:
    declared = declared_code(stage)
    assert not sorted(file for file in loaded(stage) if not any(covers(one, file) for one in declared))


@pytest.mark.parametrize("stage", STAGES)
def test_whatever_code_is_declared_is_loaded(stage: str) -> None:
    needed = loaded(stage)
    assert not sorted(one for one in declared_code(stage) if not any(covers(one, file) for file in needed))


@pytest.mark.parametrize("stage", STAGES)
def test_no_code_is_declared_twice(stage: str) -> None:
    declared = declared_code(stage)
    assert not [(outer, inner) for outer in declared for inner in declared - {outer} if covers(outer, inner)]
    assert len(STAGES[stage]["deps"]) == len(files(stage, "deps"))


def test_stages_that_read_no_scan_do_not_depend_on_its_readers() -> None:
    for stage in ("phantoms", "split", "train_unet", "tune_segmentation", "evaluate_unet", "features"):
        assert not [one for one in declared_code(stage) if covers(one, "src/nodules/scans/dicom/reader.py")], stage


@pytest.mark.parametrize("stage", STAGES)
def test_options_of_the_command_are_the_parameters_of_main(stage: str) -> None:
    (main,) = (node for node in ast.walk(ast.parse(modules()[module_of(stage)].read_text())) if is_main(node))
    assert not main.args.args
    wanted = [f"--{argument.arg.replace('_', '-')}" for argument in main.args.kwonlyargs]
    assert STAGES[stage]["cmd"].split()[3::2] == wanted


def is_main(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name == "main"


def test_dvc_yaml_fits_on_a_few_screens() -> None:
    assert len((PROJECT / "dvc.yaml").read_text().splitlines()) <= LONGEST


@pytest.mark.parametrize("stage", STAGES)
def test_parameters_are_declared_exactly(stage: str) -> None:
    tree = ast.parse(modules()[module_of(stage)].read_text())
    read = {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "params.load"
        and isinstance(node.args[0], ast.Constant)
    }
    assert {name.split(".")[0] for name in STAGES[stage].get("params", [])} == read


@pytest.mark.parametrize("stage", STAGES)
def test_every_path_of_the_command_is_declared(stage: str) -> None:
    declared = set().union(*(files(stage, kind) for kind in ("deps", "outs", "metrics", "plots")))
    for word in STAGES[stage]["cmd"].split()[3:]:
        if "/" in word or "_root}" in word:
            near = (path == word or path.startswith(f"{word}/") or word.startswith(f"{path}/") for path in declared)
            assert any(near) or (stage, word) in BEHIND_ANOTHER, f"{stage} does not declare {word}"


def test_every_stage_module_is_a_stage() -> None:
    runnable = {
        name
        for name, path in modules().items()
        if name.startswith(("nodules.stages.", "nodules.tutorial.stages.")) and "__main__" in path.read_text()
    }
    assert runnable == {module_of(stage) for stage in STAGES}


@pytest.mark.parametrize("file", ["params.yaml", "src/nodules/default_params.yaml"])
def test_params_are_the_composed_default(tmp_path: Path, file: str) -> None:
    assert (PROJECT / file).read_bytes() == composed(tmp_path).read_bytes(), "run `make params`"


@pytest.mark.parametrize("method", ["millimetre", "tutorial", "tutorial_as_published"])
@pytest.mark.parametrize("overrides", [["dataset=real"], ["size=full"], ["dataset=real", "size=full"]])
def test_every_profile_is_read_without_complaint(tmp_path: Path, overrides: list[str], method: str) -> None:
    load_all_sections(composed(tmp_path, *overrides, f"method={method}"))


def composed(folder: Path, *overrides: str) -> Path:
    from dvc.utils.hydra import compose_and_dump

    path = folder / "params.yaml"
    compose_and_dump(path, str(PROJECT / "conf"), None, "config", str(folder), list(overrides))
    return path


def test_the_tutorial_at_full_size_has_the_published_values(tmp_path: Path) -> None:
    from nodules import params
    from nodules.tutorial.stages.section import TutorialSection

    section = params.load("tutorial", TutorialSection, composed(tmp_path, "method=tutorial", "size=full"))
    assert (section.steps.nodules, section.steps.size_px) == ("largest", 512)
    unet, classifiers = section.unet, section.classifiers
    assert (unet.filters, unet.depth, unet.learning_rate, unet.batch_size, unet.epochs) == (32, 4, 1e-5, 2, 20)
    assert (classifiers.folds, classifiers.trees, classifiers.scale_pos_weight) == (3, 100, 3.0)


@pytest.mark.parametrize(("method", "on"), [("tutorial", False), ("tutorial_as_published", True)])
def test_every_defect_of_the_tutorial_is_named_and_switched(tmp_path: Path, method: str, on: bool) -> None:
    from nodules.tutorial.learning.settings import TutorialClassifierDefects, TutorialUnetDefects
    from nodules.tutorial.steps.defects import TutorialDefects

    section = YAML(typ="safe").load(composed(tmp_path, f"method={method}").read_text())["tutorial"]
    assert section["recipes"] == [method.removeprefix("tutorial_")]
    for part, kind in (
        ("steps", TutorialDefects),
        ("unet", TutorialUnetDefects),
        ("classifiers", TutorialClassifierDefects),
    ):
        assert section[part]["defects"] == dict.fromkeys(kind.__dataclass_fields__, on), part


def test_the_methods_differ_in_the_tutorial_alone(tmp_path: Path) -> None:
    """So nothing of the default pipeline is made again when another method is asked for."""
    default, *others = (
        YAML(typ="safe").load(composed(tmp_path, f"method={method}").read_text())
        for method in ("millimetre", "tutorial", "tutorial_as_published")
    )
    for other in others:
        assert {name for name in other if other[name] != default.get(name)} == {"tutorial"}
    assert not [name for name in STAGES if "tutorial" not in name and "tutorial" in str(STAGES[name].get("params"))]


def test_declared_parameters_are_there(tmp_path: Path) -> None:
    sections = YAML(typ="safe").load(composed(tmp_path, "method=tutorial").read_text())
    for stage in STAGES.values():
        for name in stage.get("params", []):
            functools.reduce(lambda section, key: section[key], name.split("."), sections)


def load_all_sections(path: Path) -> None:
    from nodules import params
    from nodules.imaging.candidates.outline import CandidateParams
    from nodules.imaging.lungs.segment import LungMaskParams
    from nodules.imaging.network_input.lung_roi import LungRoiParams
    from nodules.imaging.network_input.slice_context import ContextParams
    from nodules.models.cancer.params import ClassifierParams
    from nodules.models.cancer.xgboost_search import XGBoostSearch
    from nodules.models.false_positive_reduction.training import FalsePositiveReductionParams
    from nodules.models.unet.outline_search import SegmentationSearch
    from nodules.models.unet.segmenter import SegmenterParams
    from nodules.models.unet.training import TrainingParams
    from nodules.scans.phantom.patient import PhantomParams
    from nodules.scans.result import ReadingParams
    from nodules.scans.stores.extraction import ExtractParams
    from nodules.scans.stores.split import SplitParams
    from nodules.stages.shared.settings import DatasetParams, RunParams
    from nodules.tutorial.stages.section import TutorialSection

    sections = {
        "run": RunParams,
        "dataset": DatasetParams,
        "phantoms": PhantomParams,
        "reading": ReadingParams,
        "extract": ExtractParams,
        "context": ContextParams,
        "lung_mask": LungMaskParams,
        "lung_roi": LungRoiParams,
        "split": SplitParams,
        "unet": TrainingParams,
        "segmenter": SegmenterParams,
        "candidates": CandidateParams,
        "false_positive_reduction": FalsePositiveReductionParams,
        "tune_segmentation": SegmentationSearch,
        "classifier": ClassifierParams,
        "tune_classifier": XGBoostSearch,
        "tutorial": TutorialSection,
    }
    written = YAML(typ="safe").load(path.read_text())
    assert set(written) == set(sections)
    if not written["tutorial"]["recipes"]:  # no stage reads it, and method=tutorial fills it
        del sections["tutorial"]
    for name, kind in sections.items():
        params.load(name, kind, path)


def test_defaults_of_mlproject_are_those_of_params_yaml() -> None:
    shipped = YAML(typ="safe").load((PROJECT / "params.yaml").read_text())
    entries = YAML(typ="safe").load((PROJECT / "MLproject").read_text())["entry_points"].values()
    settings = [
        (path, entry["parameters"][name]["default"])
        for entry in entries
        for path, name in re.findall(r"-S ([\w.]+)=\{(\w+)\}", entry["command"])
    ]
    assert len(settings) == 7
    for path, default in settings:
        value = functools.reduce(lambda section, key: section[key], path.split("."), shipped)
        assert float(default) == value, path


def test_a_real_data_set_has_no_phantom_stage(tmp_path: Path) -> None:
    names = listed_stages(tmp_path, "dataset=real")
    assert not [name for name in names if name.startswith("phantoms")]
    assert [name for name in names if name.startswith("extract_luna")] == [f"extract_luna@{n}" for n in range(10)]


@pytest.mark.parametrize("recipe", ["tutorial", "as_published", None])
def test_a_method_that_names_a_recipe_has_its_four_stages(tmp_path: Path, recipe: str | None) -> None:
    methods = {"tutorial": "tutorial", "as_published": "tutorial_as_published", None: "millimetre"}
    names = listed_stages(tmp_path, f"method={methods[recipe]}")
    kinds = ("slices", "unet", "dsb", "classifiers") if recipe else ()
    assert [name for name in names if name.startswith("tutorial")] == [f"tutorial_{kind}@{recipe}" for kind in kinds]


def listed_stages(folder: Path, *overrides: str) -> list[str]:
    subprocess.run(["git", "init", "-q", folder], check=True)
    (folder / "dvc.yaml").write_text((PROJECT / "dvc.yaml").read_text())
    composed(folder, *overrides)
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "init", "-q"], cwd=folder, check=True, env=os.environ | {"DVC_NO_ANALYTICS": "1"})
    listed = subprocess.run(
        [*dvc, "stage", "list", "--names-only"], cwd=folder, check=True, capture_output=True, text=True
    )
    return listed.stdout.split()
