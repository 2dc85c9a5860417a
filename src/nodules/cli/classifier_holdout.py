"""Judges models on labelled patients that took no part in anything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from nodules.evaluation.bootstrap import Predicted, judge
from nodules.models.cancer import classifier
from nodules.models.cancer.nested_validation import FittedModels
from nodules.scans.scan_error import ScanError
from nodules.stages.shared.patients import Patients


@dataclass(frozen=True)
class Holdout:
    """Patients that no model has seen, and what all models, fitted to all others, say about them."""

    predictions: pd.DataFrame
    judged: pd.DataFrame
    unmeasured: int


def unseen_by(unseen: Patients, seen: Patients, file: Path) -> Patients:
    """Return `unseen`, or raise ScanError if a patient of it is among those that are `seen`."""
    both = unseen.labels.index.intersection(seen.labels.index)
    if len(both):
        raise ScanError(
            f"{file}: {len(both)} of the holdout patients have a label to learn from too, such as {both[0]}"
        )
    return unseen


def judge_holdout(unseen: Patients, fitted: FittedModels, seed: int) -> Holdout:
    """Ask every model, fitted to all labelled patients, about the holdout."""
    chances = {name: classifier.predict(one, unseen.features) for name, one in fitted.classifiers.items()}
    predicted: dict[str, Predicted] = {name: Predicted(chance.to_numpy()[:, None]) for name, chance in chances.items()}
    own = predicted[fitted.chosen].probabilities
    predicted[fitted.chosen] = Predicted(own, np.full_like(own, fitted.threshold))
    table = pd.DataFrame({"label": unseen.labels} | chances).rename_axis("id").reset_index()
    return Holdout(table, judge(unseen.labels.to_numpy(), predicted, seed=seed), unseen.unmeasured)
