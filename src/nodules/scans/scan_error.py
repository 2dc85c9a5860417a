"""The one exception of every reader: a file that is not what it should be."""

from __future__ import annotations

from typing import Literal


class ScanError(ValueError):
    """A scan, mask or table cannot be used; the message names the file, what was wanted and what to do about it."""

    verdict: Literal["unusable"] = "unusable"
