"""The options of a stage come from the signature of its `main`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

from nodules.stages.shared import command

GIVEN: list[dict[str, Any]] = []


@pytest.fixture(autouse=True)
def nothing_given() -> None:
    GIVEN.clear()


def main(*, luna_root: Path, subset: int, layout: Literal["luna16", "dsb"], recipe: str = "tutorial") -> None:
    """Do one thing.

    And explain it at length.
    """
    GIVEN.append({"luna_root": luna_root, "subset": subset, "layout": layout, "recipe": recipe})


COMPLETE = ["--luna-root", "data/luna16", "--subset", "3", "--layout", "dsb"]


def test_options_arrive_with_their_types_and_defaults() -> None:
    command.run(main, COMPLETE)
    assert [{"luna_root": Path("data/luna16"), "subset": 3, "layout": "dsb", "recipe": "tutorial"}] == GIVEN


def test_order_does_not_matter_and_a_default_can_be_replaced() -> None:
    command.run(main, ["--recipe", "mine", *COMPLETE[2:], *COMPLETE[:2]])
    assert [{"luna_root": Path("data/luna16"), "subset": 3, "layout": "dsb", "recipe": "mine"}] == GIVEN


def test_arguments_of_the_process_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["stage", *COMPLETE])
    command.run(main)
    assert GIVEN[0]["subset"] == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (COMPLETE[2:], "the following arguments are required: --luna-root"),
        ([*COMPLETE, "--lungs", "x"], "unrecognized arguments: --lungs x"),
        ([*COMPLETE, "positional"], "unrecognized arguments: positional"),
        ([*COMPLETE[:3], "one", *COMPLETE[4:]], "argument --subset: invalid int value: 'one'"),
        ([*COMPLETE[:5], "lidc"], "argument --layout: invalid choice: 'lidc'"),
        (["--luna", *COMPLETE[1:]], "the following arguments are required: --luna-root"),
    ],
)
def test_wrong_options_are_named(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.run(main, arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert not GIVEN


def test_help_shows_the_first_paragraph_and_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.run(main, ["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "Do one thing." in said
    assert "at length" not in said
    for option in ("--luna-root PATH", "--subset NUMBER", "--layout {luna16,dsb}", "--recipe NAME"):
        assert option in said


def test_help_names_the_module_that_was_run() -> None:
    module = "nodules.stages.split"
    done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"usage: python -m {module} ")


def positional(luna_root: Path) -> None:
    raise AssertionError


def of_unknown_type(*, share: float) -> None:
    raise AssertionError


@pytest.mark.parametrize(
    ("function", "said"),
    [(positional, "luna_root must be keyword-only"), (of_unknown_type, "share must be a Path, an int, a str")],
)
def test_a_main_that_cannot_be_a_command_is_refused(function: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        command.run(function, [])
