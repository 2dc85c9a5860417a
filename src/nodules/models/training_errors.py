"""The places that a half-trained network got wrong, to be shown more often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TrainingErrors:
    """Places in the training slices, each as number of the set, row, y and x.

    Attributes
    ----------
    false_positives : (K, 4) ndarray of int64
        Middle of each part that is taken for a nodule.
    misses : (M, 4) ndarray of int64
        Centre of each cross-section of the nodules that are missed.
    """

    false_positives: NDArray[np.int64]
    misses: NDArray[np.int64]

    @classmethod
    def of(cls, false_positives: Sequence[Sequence[int]] = (), misses: Sequence[Sequence[int]] = ()) -> TrainingErrors:
        """From rows of four numbers; none if none is given."""
        return cls(*(np.asarray(rows, dtype=np.int64).reshape(-1, 4) for rows in (false_positives, misses)))

    def __add__(self, other: TrainingErrors) -> TrainingErrors:
        """Those of either, each once."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in vars(self))
        return TrainingErrors(*(np.unique(np.concatenate(pair), axis=0) for pair in pairs))

    def save(self, file: Path) -> None:
        """Write an `.npz` that appears whole or not at all."""
        waiting = file.with_suffix(".tmp.npz")
        np.savez(waiting, **vars(self))
        waiting.replace(file)

    @classmethod
    def load(cls, file: Path) -> TrainingErrors:
        """Read what `save` wrote."""
        with np.load(file) as stored:
            return cls(stored["false_positives"], stored["misses"])
