"""Bars of progress: twice a second on a terminal, a line a minute in a log."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

SHOWN = ("loss", "val_loss")
"""Of an epoch's numbers; more do not fit beside the time that is left."""

EpochLog = Callable[[int, dict[str, float]], None]


def bar(what: str, total: int, unit: str, *, done: int = 0) -> tqdm[Any]:
    """A bar that starts at `done` of `total`; the time that is left is reckoned from what is done from now on."""
    return tqdm(total=total, initial=done, desc=what, unit=unit, mininterval=0.5 if sys.stderr.isatty() else 60.0)


@contextmanager
def epochs(what: str, total: int, log_epoch: EpochLog) -> Iterator[EpochLog]:
    """Show the epochs of a training.

    Parameters
    ----------
    what : str
        Name of the stage.
    total : int
        Epochs, if training is not stopped before.
    log_epoch : callable
        Called with the epoch (from 1) and its numbers.

    Yields
    ------
    callable
        Does what `log_epoch` does, and moves the bar. The first epoch it is told of may be a later one: a training that
        was killed has gone on from there.
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
