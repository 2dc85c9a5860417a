"""The floors of the house: imports run downward, libraries stay on their floor, modules and folders stay short."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from support.code_graph import PROJECT, SOURCE, imports, modules

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
    "pretraining": 6,
    "cli": 6,
}
# What the floors that run the pipeline may use, and which itself uses none of them.
BESIDE = {"checkpoint", "parallel", "params", "progress", "tracking"}
CONFINED = {
    "SimpleITK": ("nodules.scans",),
    "pydicom": ("nodules.scans",),
    "PIL": ("nodules.scans",),
    "keras": ("nodules.models", "nodules.tutorial.learning"),
    "tensorflow": ("nodules.models", "nodules.tutorial.learning"),
    "optuna": ("nodules.models",),
    "xgboost": ("nodules.models", "nodules.tutorial.learning"),
    "skops": ("nodules.models",),
    "sklearn": ("nodules.models", "nodules.evaluation", "nodules.tutorial.learning"),
    "mlflow": ("nodules.tracking", "nodules.serving"),
    "click": ("nodules.cli",),
}
FILE_MODULES = {"glob", "gzip", "io", "os", "pathlib", "shutil", "tempfile", "zipfile"}
FILE_CALLS = {"open", "imread", "imsave", "load", "loadtxt", "memmap", "read_csv", "save", "savez", "savetxt", "to_csv"}
PIPELINE = 5
"""From this floor on, a module may use what stands beside the floors."""

LONGEST, SHORTEST = 400, 70
"""Lines of a module: the most, and the fewest of one that a single other module imports."""
LARGEST_FOLDER = 13
LARGER_FOLDERS = {"nodules.stages": "one module per DVC stage"}
SHORT_MODULES = {
    "nodules.cli.check": "one module per command",
    "nodules.cli.classify": "one module per command",
    "nodules.cli.ensemble": "one module per command",
    "nodules.cli.froc": "one module per command",
    "nodules.cli.predict": "one module per command",
    "nodules.evaluation.malignancy": "figures of ratings, beside the other figures and apart from the training",
    "nodules.models.runtime.normalisation": "a Keras layer of its own",
    "nodules.models.unet.hard_negatives": "a method with a name in the field, apart from the training loop",
    "nodules.models.unet.outline_search": "an Optuna search space, and Optuna stays out of the stages",
    "nodules.tutorial.steps.node_mask": "one module per step of the tutorial",
}
"""Modules that are short although only one other imports them, each with its reason."""

TESTS = PROJECT / "tests"
TEST_FILES = [file for file in sorted(TESTS.rglob("test_*.py")) if file.parent != TESTS]
LONGEST_TEST = 600
OF_SEVERAL_MODULES = {
    "models/test_keras_settings.py",
    "pretraining/test_dvc_yaml.py",
    "serving/test_formats_diagnosed_alike.py",
    "serving/test_served_model.py",
    "stages/test_bad_input.py",
    "stages/test_pipeline.py",
    "tutorial/stages/test_stages.py",
    "tutorial/steps/test_agreement.py",
}
"""Files whose tests concern all modules of a folder, or what they do together."""


def floor(module: str) -> str:
    return module.split(".")[1]


def files() -> dict[str, Path]:
    """All modules but those that only describe their package."""
    return {name: file for name, file in modules().items() if file.name != "__init__.py"}


def _called(call: ast.Call) -> str:
    """Last name of what is called: `open` of both `open(...)` and `path.open(...)`."""
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


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


@pytest.mark.parametrize("module", [name for name in modules() if floor(f"{name}.") != "tutorial"])
def test_nothing_but_the_tutorial_imports_the_tutorial(module: str) -> None:
    named = {name for name in imports(module) if name.startswith("nodules.tutorial")}
    assert not named, f"{module} may not import {', '.join(named)}"


@pytest.mark.parametrize("module", [name for name in modules() if name.startswith("nodules.imaging")])
def test_imaging_touches_no_file(module: str) -> None:
    assert not {name.split(".")[0] for name in imports(module)} & FILE_MODULES
    calls = {_called(node) for node in ast.walk(ast.parse(modules()[module].read_text())) if isinstance(node, ast.Call)}
    assert not calls & FILE_CALLS


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


def test_a_short_module_has_several_importers_or_a_reason() -> None:
    importers = Counter(name for module in modules() for name in imports(module) if name in modules())
    short = {name for name, file in files().items() if len(file.read_text().splitlines()) < SHORTEST}
    alone = {name for name in short if importers[name] == 1}
    assert not alone - set(SHORT_MODULES), "join each with its importer, or give a reason in SHORT_MODULES"
    assert not set(SHORT_MODULES) - alone, "these no longer need a reason"


def test_a_folder_holds_few_modules() -> None:
    sizes = Counter(name.rpartition(".")[0] for name in files())
    too_large = {name: size for name, size in sizes.items() if size > LARGEST_FOLDER and name not in LARGER_FOLDERS}
    assert not too_large


@pytest.mark.parametrize("module", [name for name, file in modules().items() if "__main__" in file.read_text()])
def test_what_is_run_holds_no_cached_function(module: str) -> None:
    """A worker process finds such a function by its module, and does not find that of the running program."""
    assert "lru_cache" not in modules()[module].read_text()


@pytest.mark.parametrize("file", TEST_FILES, ids=lambda file: str(file.relative_to(TESTS)))
def test_tests_mirror_the_package(file: Path) -> None:
    """A test file stands where its module does, and its name starts with the name of the module."""
    folder = file.parent.relative_to(TESTS)
    home = PROJECT / folder if folder.parts[0] in ("benchmarks", "docs") else SOURCE / "nodules" / folder
    tested = [module.stem for module in home.glob("*.py") if f"{file.stem}_".startswith(f"test_{module.stem}_")]
    assert tested or str(file.relative_to(TESTS)) in OF_SEVERAL_MODULES
    assert len(file.read_text().splitlines()) <= LONGEST_TEST


def test_no_module_is_a_lumber_room() -> None:
    names = {name.rsplit(".", 1)[-1] for name in modules()}
    assert not names & {"utils", "helpers", "common", "core", "base", "misc"}


def test_an_upward_import_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        test_imports_run_downward.__globals__, "imports", lambda module: {"nodules.models.unet.network"}
    )
    with pytest.raises(AssertionError, match="downward"):
        test_imports_run_downward("nodules.imaging.geometry.volume")
