"""Search space of the segmentation settings: outline threshold, lung dilation and lowest nodule probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import optuna
from annotated_types import Gt


@dataclass(frozen=True)
class SegmentationSearch:
    """Ranges (low, high) of the settings that turn a probability map into nodules.

    `threshold` is a share of each nodule's peak; `min_probability` begins above 0, since its logarithm is searched.
    `allowed_false_positives` per scan are free in the score searched for. After `time_budget_s` seconds no trial starts
    any more; the result then depends on the machine's speed.
    """

    trials: Annotated[int, Gt(0)]
    allowed_false_positives: Annotated[float, Gt(0)]
    threshold: tuple[float, float]
    dilation_mm: tuple[float, float]
    min_probability: tuple[Annotated[float, Gt(0)], float]
    time_budget_s: Annotated[float, Gt(0)] | None = None


def suggest_segmentation(trial: optuna.Trial, ranges: SegmentationSearch) -> dict[str, float]:
    """Draw ``threshold``, ``dilation_mm`` and ``min_probability``, the fields of `SegmentationSettings`.

    The lowest probability by its logarithm: nodules are few among the proposals, and what is worth deciding lies low.
    """
    return {
        "threshold": trial.suggest_float("threshold", *ranges.threshold),
        "dilation_mm": trial.suggest_float("dilation_mm", *ranges.dilation_mm),
        "min_probability": trial.suggest_float("min_probability", *ranges.min_probability, log=True),
    }
