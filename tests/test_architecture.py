"""The floors of the house: imports run downward, libraries stay on their floor, modules stay short."""

from __future__ import annotations

import pytest

from support.code_graph import imports, modules

FLOORS = {
    "log_loss": 0,
    "imaging": 0,
    "scans": 1,
    "models": 2,
    "evaluation": 2,
    "pictures": 3,
    "serving": 4,
    "stages": 5,
    "tutorial": 6,
    "cli": 6,
}
# What the floors that run the pipeline may use, and which itself uses none of them.
BESIDE = {"checkpoint", "parallel", "params", "progress", "tracking"}
CONFINED = {
    "SimpleITK": ("nodules.scans",),
    "pydicom": ("nodules.scans",),
    "keras": ("nodules.models", "nodules.tutorial.learning"),
    "tensorflow": ("nodules.models", "nodules.tutorial.learning"),
    "optuna": ("nodules.models",),
    "xgboost": ("nodules.models", "nodules.tutorial.learning"),
    "skops": ("nodules.models",),
    "sklearn": ("nodules.models", "nodules.evaluation", "nodules.tutorial.learning"),
    "mlflow": ("nodules.tracking", "nodules.serving"),
    "click": ("nodules.cli",),
}
LONGEST = 400
PIPELINE = 5
"""From this floor on, a module may use what stands beside the floors."""


def floor(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("module", [name for name in modules() if "." in name])
def test_imports_run_downward(module: str) -> None:
    for name in imports(module):
        if not name.startswith("nodules."):
            continue
        above, below = floor(module), floor(name)
        if above in BESIDE:
            assert below in BESIDE, f"{module} stands beside the floors and may not import {name}"
        elif below in BESIDE:
            assert FLOORS[above] >= PIPELINE, f"{module} does not run the pipeline and may not import {name}"
        elif above != below:
            assert FLOORS[below] < FLOORS[above], f"{module} may not import {name}: imports run downward"


@pytest.mark.parametrize("module", list(modules()))
def test_libraries_stay_on_their_floor(module: str) -> None:
    for name in imports(module):
        homes = CONFINED.get(name.split(".")[0])
        if homes:
            assert module.startswith(homes), f"{module} imports {name}, which belongs to {', '.join(homes)}"


@pytest.mark.parametrize("module", list(modules()))
def test_modules_are_short_and_say_what_they_are(module: str) -> None:
    text = modules()[module].read_text()
    assert len(text.splitlines()) <= LONGEST
    assert text.startswith('"""')


@pytest.mark.parametrize("module", [name for name, file in modules().items() if "__main__" in file.read_text()])
def test_what_is_run_holds_no_cached_function(module: str) -> None:
    """A worker process finds such a function by its module, and does not find that of the running program."""
    assert "lru_cache" not in modules()[module].read_text()


def test_no_module_is_a_lumber_room() -> None:
    names = {name.rsplit(".", 1)[-1] for name in modules()}
    assert not names & {"utils", "helpers", "common", "core", "base", "misc"}


def test_an_upward_import_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        test_imports_run_downward.__globals__, "imports", lambda module: {"nodules.models.unet.network"}
    )
    with pytest.raises(AssertionError, match="downward"):
        test_imports_run_downward("nodules.imaging.geometry.volume")
