"""Cancer classification in the ablation: nine features of every phantom patient, and the tutorial's two classifiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

import ablation_scans
from ablation_networks import Job
from ablation_recipes import FEATURES, Defects, Settings, key
from nodules.scans.tables.dsb import read_all_labels
from nodules.tutorial.steps.nine_features import nine_features


@dataclass(frozen=True)
class Asked:
    """One network that predicts all patients, and the recipes that use its predictions.

    Attributes
    ----------
    network : Job
        Network trained on the phantoms.
    answers : frozenset of str
        Defects that affect the predictions.
    features : tuple of frozenset of str
        Defects of the recipes, one set for each different table of features.
    """

    network: Job
    answers: Defects
    features: tuple[Defects, ...]

    def table(self, out: Path, defects: Defects) -> Path:
        """File of the features of a recipe."""
        return features_file(out, self.network.name, defects)

    def is_done(self, out: Path) -> bool:
        """Whether all tables exist."""
        return all(self.table(out, defects).exists() for defects in self.features)


def features_file(out: Path, network: str, defects: Defects) -> Path:
    """File of the features of a recipe."""
    name = ablation_scans.content_hash(np.frombuffer(key("features", defects).encode(), dtype=np.uint8))
    return out / "features" / f"{network}-{name}.csv"


def asked(networks: Sequence[Job], wanted: Sequence[Defects]) -> list[Asked]:
    """Networks that have to predict the patients, for the recipes of `wanted`."""
    found = []
    for network in networks:
        for answers in network.defects:
            name = key("answers", answers)
            mine = {key("features", defects): defects for defects in wanted if key("answers", defects) == name}
            if mine:
                found.append(Asked(network, answers, tuple(mine.values())))
    return found


def patient_file(out: Path, patient: str) -> Path:
    """Path of the slices of a patient, without suffix."""
    return out / "slices" / "dsb" / patient


def run(job: Asked, patients: Sequence[str], settings: Settings, out: Path) -> None:
    """Predict every slice of every patient, and measure the features for each recipe."""
    from nodules.tutorial.learning.unet import TutorialUnet

    unet = TutorialUnet.load(job.network.folder(out))
    unet = replace(unet, standardised_at_test="test_images_not_standardised" not in job.answers)
    rows: dict[Defects, dict[str, pd.Series]] = {defects: {} for defects in job.features}
    for patient in patients:
        shown = ablation_scans.arrays(patient_file(out, patient), key("images", job.answers))
        images = shown["images"].astype(np.float32)
        answers = unet.predict(images) if len(images) else images
        for defects, measured in rows.items():
            measured[patient] = nine_features(answers, shown["pixel_mm"], settings.steps_of(defects & FEATURES))
    for defects, measured in rows.items():
        file = job.table(out, defects)
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".unfinished")
        pd.DataFrame(measured).T.rename_axis("id").to_csv(unfinished)
        unfinished.replace(file)


def classified(
    table: Path, dsb_root: Path, defects: Defects, settings: Settings, weight: float | None = None
) -> Mapping[str, float]:
    """Out-of-fold log-loss and AUC of Random Forest and XGBoost.

    Parameters
    ----------
    weight : float, optional
        XGBoost's weight of patients with cancer; by default, that of the settings.

    Returns
    -------
    dict of str to float
        `forest_log_loss`, `forest_auc`, `xgboost_log_loss`, `xgboost_auc`.
    """
    from nodules.tutorial.learning.classifiers import evaluate_classifiers

    features = pd.read_csv(table, index_col="id", dtype={"id": str})
    labels = read_all_labels(dsb_root)
    both = features.index.intersection(labels.index)
    chosen = settings.classifiers_of(defects)
    if weight is not None:
        chosen = replace(chosen, scale_pos_weight=weight)
    tables = evaluate_classifiers(features.loc[both], labels[both], chosen, settings.seed)
    names = {"forest": tables["random_forest"], "xgboost": tables["xgboost"]}
    return {
        f"{name}_{title}": value
        for name, told in names.items()
        for title, value in (("log_loss", told.log_loss), ("auc", told.roc_auc))
    }
