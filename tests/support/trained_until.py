"""Small trainings that must have learnt something for a test to mean anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def first_good(attempts: Iterable[T], is_good: Callable[[T], bool]) -> T:
    """Return the first training that has learnt enough. Rounding differs by processor, so one attempt may fail.

    Raises
    ------
    AssertionError
        If all attempts fail. Then the training is wrong, not the rounding.
    """
    tried = 0
    for result in attempts:
        if is_good(result):
            return result
        tried += 1
    raise AssertionError(f"none of {tried} trainings learnt what the tests need")
