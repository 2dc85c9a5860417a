"""What a look at a data set has to say before any scan is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Findings:
    """Counts and words about a data set that can be used.

    Attributes
    ----------
    counts : mapping of str to int
        How many of what.
    notes : tuple of str
        What is as it may be: a part of the published set, scans without nodules.
    warnings : tuple of str
        What was probably not meant: rows without a scan, scans that are damaged.
    """

    counts: Mapping[str, int]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def named(names: Sequence[str], one: str, many: str) -> str:
    """Say how many there are and what the first is called: "3 scans (1.2.3, ...)"."""
    return f"{len(names)} {one if len(names) == 1 else many} ({names[0]}{', ...' if len(names) > 1 else ''})"
