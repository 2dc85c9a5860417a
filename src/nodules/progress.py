"""Progress bars: updated twice a second on a terminal, once a minute in a log file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

SHOWN = ("loss", "val_loss")
"""Metrics shown beside the bar of epochs; more do not fit."""

EpochLog = Callable[[int, dict[str, float]], None]


def bar(what: str, total: int, unit: str, *, done: int = 0) -> tqdm[Any]:
    """Return a progress bar that starts at `done` of `total`; only later steps enter the estimate of remaining time."""
    return tqdm(total=total, initial=done, desc=what, unit=unit, mininterval=0.5 if sys.stderr.isatty() else 60.0)


@contextmanager
def epochs(what: str, total: int, log_epoch: EpochLog) -> Iterator[EpochLog]:
    """Show a progress bar over the epochs of a training.

    Parameters
    ----------
    what : str
        Name of the stage.
    total : int
        Number of epochs, unless training stops early.
    log_epoch : callable
        Called with each epoch (from 1) and its metrics.

    Yields
    ------
    callable
        Calls `log_epoch` and advances the bar. The first epoch is later than 1 if an interrupted training resumes.
    """
    with bar(what, total, "epoch") as shown:

        def advance(epoch: int, numbers: dict[str, float]) -> None:
            log_epoch(epoch, numbers)
            if not shown.n:
                shown.initial = shown.n = epoch - 1
            shown.set_postfix(_chosen(numbers), refresh=False)
            shown.update()

        yield advance


def _chosen(numbers: Mapping[str, float]) -> dict[str, str]:
    return {name: f"{numbers[name]:.3f}" for name in SHOWN if name in numbers}
