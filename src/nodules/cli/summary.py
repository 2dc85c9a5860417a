"""The command `nodules summary`: prints the key numbers of the last run, and which files to open next."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from nodules.tracking import registry as tracked_results
from nodules.tracking import stage as tracking

METRICS = Path("models/metrics")
PICTURES = {
    "models/plots/nodules.png": "test nodules: annotated and found",
    "models/plots/tutorial/*/test_slices.png": "the tutorial's own recipe",
    "models/metrics/tutorial/*/*.json": "its numbers",
}
NEXT = {
    "make ui": "compare the runs: http://localhost:5000",
    "dvc metrics show": "all numbers",
    "make serve": "answer scans on port 5001",
}
WIDTH, LABEL = 79, 36  # characters; a narrow terminal has 80


@click.command()
def summary() -> None:
    """Key numbers of the last run, the registered model, and what to open next; to be run in the project's folder."""
    if not Path("dvc.yaml").is_file():
        raise click.ClickException(f"{Path.cwd()} holds no dvc.yaml; run `nodules summary` in the project folder")
    click.echo("\n".join(lines()))


def lines(project: Path = Path()) -> Iterator[str]:
    """List the key numbers of `models/metrics`, the registered model, and the files and commands to look at next.

    If a file is missing, cannot be read or lacks a number, the line says so, and no error is raised.

    Parameters
    ----------
    project : Path
        Folder with `dvc.yaml`.
    """
    unet, classifier = _read(project / METRICS / "unet.json"), _read(project / METRICS / "classifier.json")
    yield from textwrap.wrap(unet, WIDTH) if isinstance(unet, str) else _of_unet(unet)
    yield ""
    yield from textwrap.wrap(classifier, WIDTH) if isinstance(classifier, str) else _of_classifier(classifier)
    yield from _row("registered", _registered())
    yield ""
    yield "Next"
    yield from (_with_words(path, words) for path, words in _pages(project))
    yield from (_with_words(command, words) for command, words in NEXT.items())


def _read(file: Path) -> dict[str, Any] | str:
    """Return the numbers of a metrics file, or a message about what is wrong with it."""
    if not file.is_file():
        return f"{file} is missing: `make repro` writes it"
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"{file} cannot be read ({error}): delete it and run `make repro`"
    return found if isinstance(found, dict) else f"{file} holds no table of numbers: delete it and run `make repro`"


def _of_unet(numbers: Mapping[str, Any]) -> Iterator[str]:
    yield f"U-Net on {_count(numbers, 'scans')} test scans with {_count(numbers, 'nodules')} nodules"
    yield from _row("Dice per nodule, mean (median)", f"{_of(numbers, 'dice_mean')} ({_of(numbers, 'dice_median')})")
    yield from _row("nodules hit", _of(numbers, "hit_rate"))
    rate = _of(numbers, "false_positives_per_scan", 2)
    yield from _row("sensitivity", f"{_of(numbers, 'sensitivity')} at {rate} false positives per scan")
    yield from _row("CPM", _with_interval(numbers, "cpm"))


def _of_classifier(numbers: Mapping[str, Any]) -> Iterator[str]:
    from nodules.pictures.cancer_page import MODEL_TITLES

    validated = numbers.get("validated") or {}
    yield (
        f"Cancer: {_count(numbers, 'patients')} patients, {_count(numbers, 'positives')} with cancer, "
        "each predicted from outside the fold"
    )
    yield from _row("log-loss of the model chosen", _with_interval(validated, "log_loss"))
    yield from _row("  prior, all patients alike", _of(numbers, "prior_log_loss"))
    if "bayes_log_loss" in numbers:
        yield from _row("  limit: true probabilities", _of(numbers, "bayes_log_loss"))
    yield from _row("AUC", _with_interval(validated, "auc"))
    chosen = str(numbers.get("chosen", "missing"))
    yield from _row("fitted to all patients", MODEL_TITLES.get(chosen, chosen))


def _registered() -> str:
    try:
        model = tracked_results.newest_model()
    except tracking.TrackingError as error:
        return str(error)
    if model is None:
        return "no model yet on this machine"
    return f"version {model.version}, {' and '.join(model.aliases) or 'no alias'}: {model.reason or 'no reason given'}"


def _pages(project: Path) -> Iterator[tuple[str, str]]:
    for pattern, words in PICTURES.items():
        yield from ((str(path), words) for path in sorted(project.glob(pattern)))
    try:
        report = tracked_results.newest_file("train_classifier", "report.html")
    except tracking.TrackingError:
        return
    if report:
        here = Path.cwd()
        yield str(report.relative_to(here) if report.is_relative_to(here) else report), "all classifiers on one page"


def _row(name: str, words: str) -> list[str]:
    """A name and its value; a long value continues on indented lines."""
    return textwrap.wrap(
        words,
        WIDTH,
        initial_indent=f"  {name:<{LABEL - 2}}",
        subsequent_indent=" " * LABEL,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _with_words(place: str, words: str) -> str:
    """A path or command on one line, so that it can be copied; its description goes below if it does not fit."""
    gap = " " * max(LABEL - 2 - len(place), 2)
    beside = f"  {place}{gap}{words}"
    return beside if len(beside) <= WIDTH else f"  {place}\n{' ' * LABEL}{words}"


def _count(numbers: Mapping[str, Any], name: str) -> str:
    return _of(numbers, name, 0) if isinstance(numbers.get(name), int | float) else "?"


def _of(numbers: Mapping[str, Any], name: str, digits: int = 3) -> str:
    value = numbers.get(name)
    return f"{value:.{digits}f}" if isinstance(value, int | float) else "missing"


def _with_interval(numbers: Mapping[str, Any], name: str) -> str:
    low, high = f"{name}_low", f"{name}_high"
    between = f"  (95 %: {_of(numbers, low)} to {_of(numbers, high)})" if {low, high} <= numbers.keys() else ""
    return _of(numbers, name) + between
