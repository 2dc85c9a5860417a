"""Tables of features and labels of a phantom cohort, made without images, and its Bayes limit of the log-loss.

PYTHONPATH=src python benchmarks/phantom_cohort.py OUT --patients 400
nodules classify OUT/features.csv OUT/labels.csv
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from nodules import params
from nodules.log_loss import log_losses
from nodules.scans.phantom.cohort import PhantomParams
from phantom_features import patient_tables


def main() -> None:
    """Write features.csv and labels.csv, and print the Bayes limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--patients", type=int, default=400)
    parser.add_argument("--first", type=int, default=0, help="number of the first patient in the cohort")
    chosen = parser.parse_args()
    indices = range(chosen.first, chosen.first + chosen.patients)
    features, labels = patient_tables(indices, params.load("phantoms", PhantomParams))
    chosen.output.mkdir(parents=True, exist_ok=True)
    features.to_csv(chosen.output / "features.csv")
    labels.to_csv(chosen.output / "labels.csv", index=False)
    drawn, expected = limits(labels)
    print(f"{len(labels)} patients, {labels['cancer'].mean():.1%} with cancer, {features.shape[1]} features")
    print(f"log-loss of the true probabilities: {drawn:.4f} on these labels, {expected:.4f} expected (Bayes limit)")


def limits(labels: pd.DataFrame) -> tuple[float, float]:
    """Log-loss of the true probabilities: on these labels, and the expected value."""
    p, cancer = labels["true_probability"].to_numpy(), labels["cancer"].to_numpy()
    return float(log_losses(cancer, p).mean()), float(log_losses(p, p).mean())


if __name__ == "__main__":
    main()
