"""Division of the real patients into five folds: each network is judged on the fold that it has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

FOLDS = 5
ALL = "all"
HeldOut = Literal["0", "1", "2", "3", "4"]
Fold = Literal["0", "1", "2", "3", "4", "all"]
"""A fold that is held out, or `ALL`: nothing is held out, as for the networks that ship."""


def patient_folds(subsets: Mapping[str, int | None], seed: int) -> dict[str, int]:
    """Assign each patient to a fold.

    Parameters
    ----------
    subsets : mapping
        Each patient to the LUNA16 subset of their scan, or None. LUNA16's subsets divide the patients at random, so
        the fold is the subset modulo `FOLDS`. Patients without a subset are drawn.
    seed : int
        Determines the draw, which does not depend on the order of the mapping.

    Returns
    -------
    dict
        Each patient to a fold from 0.
    """
    unknown = sorted(patient for patient, subset in subsets.items() if subset is None)
    drawn = np.random.default_rng(seed).permutation(len(unknown)) % FOLDS
    known = {patient: subset % FOLDS for patient, subset in subsets.items() if subset is not None}
    return known | dict(zip(unknown, drawn.tolist(), strict=True))
