"""False-positive reduction for stages: each worker process loads the trained network once."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nodules.imaging.candidates.probability_map import Segmentation
from nodules.imaging.candidates.proposals import Scorer
from nodules.parallel import load_once

if TYPE_CHECKING:
    from nodules.models.false_positive_reduction.reducer import FalsePositiveReducer


def reducer_scorer(folder: Path) -> Scorer:
    """Return a picklable scorer that loads the trained network in the process in which it is called."""
    return functools.partial(_score, folder)


def load_reducer(folder: Path) -> FalsePositiveReducer:
    """Load the trained network, once per process. Call this only in a worker, because it loads TensorFlow."""
    from nodules.models.false_positive_reduction.reducer import FalsePositiveReducer

    return load_once(FalsePositiveReducer.load, folder)


def _score(folder: Path, segmentation: Segmentation, table: pd.DataFrame) -> NDArray[np.float64]:
    return load_reducer(folder)(segmentation, table)
