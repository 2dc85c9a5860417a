"""Judges models on labelled patients that took no part in anything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from nodules.evaluation.classification_intervals import Predicted, judge
from nodules.models import classifier
from nodules.models.classifier import Classifier
from nodules.models.classifier_params import MODEL_NAMES, ClassifierParams
from nodules.parallel import job_count
from nodules.scans.scan_error import ScanError
from nodules.stages.patients import Patients


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


def judge_holdout(
    unseen: Patients, patients: Patients, model: Classifier, threshold: float, final: ClassifierParams, seed: int
) -> Holdout:
    """Fit every model to all labelled patients, and look at the holdout."""
    others = {
        name: classifier.fit(name, patients.features, patients.labels, final, seed, job_count())
        for name in MODEL_NAMES
        if name != model.name
    }
    fitted: dict[str, Classifier] = {name: others.get(name, model) for name in MODEL_NAMES}
    chances = {name: classifier.predict(one, unseen.features) for name, one in fitted.items()}
    predicted = {name: Predicted(chance.to_numpy()[:, None]) for name, chance in chances.items()}
    own = predicted[model.name].probabilities
    predicted[model.name] = Predicted(own, np.full_like(own, threshold))
    table = pd.DataFrame({"label": unseen.labels} | chances).rename_axis("id").reset_index()
    return Holdout(table, judge(unseen.labels.to_numpy(), predicted, seed=seed), unseen.unmeasured)
