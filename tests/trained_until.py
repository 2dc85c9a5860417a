"""Small trainings that must have learnt something for a test to mean anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def first_good(attempts: Iterable[T], is_good: Callable[[T], bool]) -> T:
    """Return the first of some trainings that has learnt enough; how rounding ends one differs by processor.

    Raises
    ------
    AssertionError
        If none has: then the training is at fault, not the rounding.
    """
    tried = 0
    for result in attempts:
        if is_good(result):
            return result
        tried += 1
    raise AssertionError(f"none of {tried} trainings learnt what the tests need")
