"""Small tables of features with a known answer, and quick settings for the classifiers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from support.code_graph import PROJECT

QUICK = {
    "folds": 3,
    "repeats": 2,
    "inner_folds": 2,
    "random_forest": {"trees": 15, "min_samples_leaf": 2},
    "extra_trees": {"trees": 15, "min_samples_leaf": 2},
    "logistic": {"inverse_penalties": [0.1, 1.0]},
}
QUICK_XGBOOST = {"n_estimators": 10, "seeds": 1}


def patients(number: int, seed: int = 0, prefix: str = "p") -> tuple[pd.DataFrame, pd.Series]:
    """Features and labels: cancer has the log-odds ``2 size - 1``; ``noise`` and ``constant`` say nothing."""
    random = np.random.default_rng(seed)
    ids = pd.Index([f"{prefix}{index:03d}" for index in range(number)], name="patient")
    size = random.normal(size=number)
    table = pd.DataFrame({"size": size, "noise": random.normal(size=number), "constant": 1.0}, index=ids)
    cancer = random.random(number) < 1 / (1 + np.exp(1 - 2 * size))
    return table, pd.Series(cancer.astype(int), index=ids, name="cancer")


def write_quick_params(folder: Path) -> Path:
    """The shipped params.yaml with few trees and folds."""
    yaml = YAML()
    content = yaml.load(PROJECT / "params.yaml")
    content["classifier"].update(QUICK)
    content["classifier"]["xgboost"].update(QUICK_XGBOOST)
    content["tune_classifier"].update({"shuffles": 1, "n_estimators": [5, 10]})
    path = folder / "params.yaml"
    yaml.dump(content, path)
    return path
