"""The rescorer of a folder, loaded once in each process that scores."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from nodules.checkpoint import identity

if TYPE_CHECKING:
    from nodules.models.false_positive_reduction.rescorer import Rescorer


def load_rescorer(folder: Path) -> Rescorer:
    """Load in a worker, not in the process that hands out work: TensorFlow loads with it."""
    return _load(folder, identity(folder))


@functools.lru_cache(maxsize=1)
def _load(folder: Path, identity: str) -> Rescorer:  # noqa: ARG001 - a Dask worker may outlive a rescorer of that name
    from nodules.models.false_positive_reduction.rescorer import Rescorer

    return Rescorer.load(folder)
