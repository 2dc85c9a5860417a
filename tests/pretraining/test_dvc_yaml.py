"""The pipeline of `models/pretrained` declares the code, the parameters and the files that its stages read."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from ruamel.yaml import YAML

from support.code_graph import PROJECT, modules, reachable

FOLDER = PROJECT / "models" / "pretrained"
STAGES: dict[str, Any] = YAML(typ="safe").load((FOLDER / "dvc.yaml").read_text())["stages"]
UNDECLARED = ("nodules.tracking", "nodules.progress")  # they write runs and progress bars, and never change an output


def module_of(stage: str) -> str:
    return str(STAGES[stage]["cmd"].split()[2])


def declared(stage: str, *kinds: str) -> set[str]:
    entries = [entry for kind in kinds for entry in STAGES[stage].get(kind, [])]
    return {entry if isinstance(entry, str) else next(iter(entry)) for entry in entries}


@pytest.mark.parametrize("stage", STAGES)
def test_whatever_a_stage_loads_is_declared(stage: str) -> None:
    code = [(FOLDER / dep).resolve() for dep in declared(stage, "deps") if dep.startswith("../../src/")]
    assert all(path.exists() for path in code)
    loaded = {modules()[name] for name in reachable(module_of(stage)) if not name.startswith(UNDECLARED)}
    assert not sorted(file for file in loaded if not any(file == path or path in file.parents for path in code))


@pytest.mark.parametrize("stage", STAGES)
def test_options_of_the_command_are_the_parameters_of_main(stage: str) -> None:
    tree = ast.parse(modules()[module_of(stage)].read_text())
    (main,) = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "main")
    wanted = {f"--{argument.arg.replace('_', '-')}" for argument in main.args.kwonlyargs}
    assert {word for word in STAGES[stage]["cmd"].split() if word.startswith("--")} == wanted


@pytest.mark.parametrize("stage", STAGES)
def test_parameters_are_declared_exactly(stage: str) -> None:
    read = {
        node.args[0].value
        for node in ast.walk(ast.parse(modules()[module_of(stage)].read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "params.load"
        and isinstance(node.args[0], ast.Constant)
    }
    assert set(STAGES[stage]["params"]) == read
    assert read <= set(YAML(typ="safe").load((FOLDER / "params.yaml").read_text()))


@pytest.mark.parametrize("stage", STAGES)
def test_every_file_that_a_stage_writes_is_declared(stage: str) -> None:
    words = STAGES[stage]["cmd"].split()
    written = [words[number + 1] for number, word in enumerate(words) if word in ("--scores", "--figures")]
    written += [words[number + 1] for number, word in enumerate(words) if word in ("--output", "--predictions")]
    outs = declared(stage, "outs", "metrics")
    assert all(any(out == path or out.startswith(f"{path}/") for out in outs) for path in written)


@pytest.mark.parametrize("stage", STAGES)
def test_what_ships_is_written_by_no_stage(stage: str) -> None:
    """Otherwise `dvc repro` in the project, which reads it, would run the pretraining."""
    assert all(out.startswith("work/") for out in declared(stage, "outs", "metrics"))
