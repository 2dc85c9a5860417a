"""Split the patients into a training, a validation and a test set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pandas as pd
from annotated_types import Ge, Lt

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class SplitParams:
    """The section `split` of params.yaml: shares of the patients.

    Attributes
    ----------
    validation_share, test_share : float
        Shares of the validation and the test set; the other patients form the training set.
    test_subsets : list of int
        If not empty, patients with a scan in one of these LUNA16 subsets form the test set. Then `test_share` is not
        used, and `validation_share` is a share of the other patients. Testing on each subset in turn is LUNA16's own
        ten-fold cross-validation
        (Setio et al., "Validation, comparison, and combination of algorithms for automatic detection of pulmonary
        nodules in computed tomography images", Medical Image Analysis 42, 2017).
    """

    validation_share: Annotated[float, Ge(0), Lt(1)]
    test_share: Annotated[float, Ge(0), Lt(1)]
    test_subsets: list[int]

    def __post_init__(self) -> None:
        if self.validation_share + self.test_share >= 1:
            raise ValueError(
                "validation_share + test_share must leave patients to train on, "
                f"got {self.validation_share} + {self.test_share}"
            )


def split_patients(scans: pd.DataFrame, params: SplitParams, seed: int) -> pd.DataFrame:
    """Assign every patient to one part, stratified by whether the patient has nodules.

    Parameters
    ----------
    scans : DataFrame
        Columns patient, seriesuid, subset, nodules (number per scan). Scans of one patient stay together.
    params : SplitParams
        Shares, and test subsets.
    seed : int
        Seed of the random assignment.

    Returns
    -------
    DataFrame
        The rows sorted by seriesuid, with the column `part` added.

    Raises
    ------
    ValueError
        If a series appears twice, a requested part stays empty, or a test subset holds no scan.
    """
    repeated = scans["seriesuid"][scans["seriesuid"].duplicated()]
    if len(repeated):
        raise ValueError(f"series {repeated.iloc[0]} is in more than one subset; keep it in one only")
    patients = scans.groupby("patient")["nodules"].sum().sort_index()
    parts = dict.fromkeys(_patients_of_subsets(scans, params.test_subsets), "test")
    test_share = 0.0 if params.test_subsets else params.test_share
    random = np.random.default_rng(seed)
    drawn = patients[~patients.index.isin(list(parts))]
    for has_nodules in (True, False):
        group = random.permutation(drawn.index[(drawn > 0) == has_nodules].to_numpy())
        parts |= dict(zip(group, _parts(len(group), params.validation_share, test_share), strict=True))
    rows = scans.sort_values("seriesuid", ignore_index=True)
    rows = rows.assign(part=rows["patient"].map(parts))
    check_leaks(rows)
    for part, share in (("validation", params.validation_share), ("test", test_share), ("train", 1.0)):
        if share > 0 and not (rows["part"] == part).any():
            raise ValueError(
                f"{len(patients)} patients are too few: the part '{part}' stays empty; change the shares of the split"
            )
    return rows


def check_leaks(scans: pd.DataFrame) -> None:
    """Refuse a table in which a patient is in two parts.

    Raises
    ------
    ValueError
        If there is such a patient; the message names it.
    """
    parts = scans.groupby("patient")["part"].nunique()
    if (parts > 1).any():
        raise ValueError(f"patient {parts.index[parts > 1][0]} is in more than one part of the split")


def _patients_of_subsets(scans: pd.DataFrame, subsets: list[int]) -> list[str]:
    """Return the patients with at least one scan in these subsets."""
    if absent := sorted(set(subsets) - set(scans["subset"])):
        raise ValueError(
            f"split.test_subsets names {absent}, but there are scans of the subsets "
            f"{sorted(map(int, set(scans['subset'])))} only; see dataset.subsets"
        )
    return sorted(set(scans["patient"][scans["subset"].isin(subsets)]))


def _parts(count: int, validation_share: float, test_share: float) -> list[str]:
    test = round(count * test_share)
    validation = round(count * validation_share)
    return ["test"] * test + ["validation"] * validation + ["train"] * (count - test - validation)
