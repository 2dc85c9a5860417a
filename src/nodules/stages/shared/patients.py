"""The features of patients joined with their labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nodules.scans.result import ScanError
from nodules.scans.tables.dsb import read_labels, read_truth
from nodules.scans.tables.features import read_features


@dataclass(frozen=True)
class Patients:
    """Features and labels of the same patients, in the same order.

    Attributes
    ----------
    features : DataFrame
        Features by patient id, of the patients with a label.
    labels : Series
        1 for cancer.
    true_probability : Series or None
        For phantoms, the probability with which the label was drawn.
    unlabelled : DataFrame
        Features of the patients without a label.
    unmeasured : int
        Number of labelled patients without features.
    """

    features: pd.DataFrame
    labels: pd.Series
    true_probability: pd.Series | None
    unlabelled: pd.DataFrame
    unmeasured: int

    @classmethod
    def load(cls, features: Path, labels: Path) -> Patients:
        """Join the two files.

        Raises
        ------
        ScanError
            If no patient is in both files, or `read_features` or `read_labels` cannot read them.
        """
        return cls.join(read_features(features), labels, features)

    @classmethod
    def join(cls, measured: pd.DataFrame, labels: Path, source: Path) -> Patients:
        """Join features already read from `source` with a file of labels."""
        known = read_labels(labels)
        both = measured.index.intersection(known.index).sort_values()
        if both.empty:
            raise ScanError(f"no patient of {source} has a label in {labels}; use the same patient ids in both files")
        truth = read_truth(labels).loc[both] if "true_probability" in pd.read_csv(labels, nrows=0).columns else None
        return cls(
            features=measured.loc[both],
            labels=known.loc[both],
            true_probability=truth,
            unlabelled=measured.drop(both).sort_index(),
            unmeasured=len(known.index.difference(measured.index)),
        )
