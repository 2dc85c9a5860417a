"""Number of features for cancer classifiers trained on few patients, evaluated on many others.

PYTHONPATH=src:benchmarks python benchmarks/few_patients.py phantoms --patients 56 --seeds 1 2 3
PYTHONPATH=src:benchmarks python benchmarks/few_patients.py FEATURES.csv.gz LABELS.csv --patients 60 --seeds 1 2 3

Phantoms are evaluated on 500 others with another seed, by the expected log-loss, because their true probabilities are
known. Patients of a table are evaluated on all rows that were not drawn for training. There are fewer trees than in
params.yaml, and a single seed of XGBoost.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from nodules import params
from nodules.log_loss import log_losses
from nodules.models.cancer import nested_validation
from nodules.models.cancer.classifier import predict
from nodules.models.cancer.params import LEARNED, ClassifierParams
from nodules.scans.phantom.cohort import PhantomParams
from nodules.stages.shared.patients import Patients
from phantom_features import patient_tables

JUDGES, JUDGES_SEED, TREES = 500, 99, 100
Cohort = tuple[pd.DataFrame, pd.Series]


def main() -> None:
    """Print one CSV row per draw of patients and number of features."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", help="the word phantoms, or a table of features and one of labels")
    parser.add_argument("--patients", type=int, default=56)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--columns", type=int, nargs="+", default=[5, 10, 20, 40, 80, 160, 320, 1000])
    chosen = parser.parse_args()
    print("seed", "positives", "columns", *LEARNED, "chosen", sep=",")
    for seed in chosen.seeds:
        few, others = drawn(chosen.tables, chosen.patients, seed)
        for columns in chosen.columns:
            losses = ",".join(f"{loss:.4f}" for loss in judged(few, others, columns, seed))
            print(f"{seed},{int(few[1].sum())},{columns},{losses}", flush=True)


def drawn(tables: list[str], patients: int, seed: int) -> tuple[Cohort, Cohort]:
    """Features and labels to train on; features and true probabilities (labels, for a table) to evaluate on."""
    if tables == ["phantoms"]:
        few = _phantoms(patients, seed)
        others = _phantoms(JUDGES, JUDGES_SEED)
        return (few[0], few[1]["cancer"].astype(int)), (others[0], others[1]["true_probability"])
    everybody = Patients.load(Path(tables[0]), Path(tables[1]))
    order = np.random.default_rng(seed).permutation(len(everybody.labels))
    few_rows, other_rows = order[:patients], order[patients:]
    features, labels = everybody.features, everybody.labels
    return (features.iloc[few_rows], labels.iloc[few_rows]), (features.iloc[other_rows], labels.iloc[other_rows])


def judged(few: Cohort, others: Cohort, columns: int, seed: int) -> list[float]:
    """Expected log-loss of every trained model, and of the one that the training patients select."""
    settings = params.load("classifier", ClassifierParams)
    settings = replace(
        settings,
        max_features=columns,
        random_forest=replace(settings.random_forest, trees=TREES),
        extra_trees=replace(settings.extra_trees, trees=TREES),
        xgboost=replace(settings.xgboost, seeds=1),
    )
    fitted = nested_validation.fit_models(*few, settings, seed)
    truth, losses = others[1].to_numpy(float), {}
    for name in LEARNED:
        losses[name] = float(log_losses(truth, predict(fitted.classifiers[name], others[0]), clip=1e-6).mean())
    return [*losses.values(), losses[fitted.chosen]]


def _phantoms(patients: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    features, labels = patient_tables(range(patients), replace(params.load("phantoms", PhantomParams), seed=seed))
    return features, labels.set_index("id")


if __name__ == "__main__":
    main()
