"""The Data Science Bowl patients that have both features and a label."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd


@dataclass(frozen=True)
class Patients:
    """One row a patient, the same patients in the same order everywhere.

    Attributes
    ----------
    features : DataFrame
        Named features by patient id.
    labels : Series
        1 for cancer.
    true_probability : Series or None
        By which a phantom's label was drawn.
    """

    features: pd.DataFrame
    labels: pd.Series
    true_probability: pd.Series | None

    @classmethod
    def load(cls, features: Path, labels: Path) -> Patients:
        """Join the two tables; patients without a label wait for a later use.

        Raises
        ------
        ValueError
            If no patient is in both.
        """
        measured = pd.read_csv(features, dtype={"id": str}).set_index("id")
        known = pd.read_csv(labels, dtype={"id": str}).set_index("id")
        both = measured.index.intersection(known.index).sort_values()
        if both.empty:
            raise ValueError(f"no patient of {features} has a label in {labels}: the ids must be the same")
        truth = known.loc[both, "true_probability"] if "true_probability" in known else None
        return cls(measured.loc[both], known.loc[both, "cancer"].astype(int), truth)
