"""The proposals of a scan with the scorer's probabilities, small enough to keep those of many scans."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nodules.imaging.candidates.probability_map import Segmentation
from nodules.imaging.candidates.proposals import CandidateParams, Proposals, Scorer, propose, score


@dataclass(frozen=True)
class JudgedProposals:
    """What was proposed in one scan, kept as the few voxels that belong to something.

    Attributes
    ----------
    params : CandidateParams
        What it was proposed by.
    shape_zyx : tuple of int
        Of the scan.
    places : (n,) ndarray of int64
        The voxels of all proposals, as places in the flattened scan.
    labels : (n,) ndarray of int32
        The proposal of each.
    table : DataFrame
        `Proposals.table`.
    probabilities : (m,) ndarray of float64
        From the scorer, one a row of the table.
    """

    params: CandidateParams
    shape_zyx: tuple[int, ...]
    places: NDArray[np.int64]
    labels: NDArray[np.int32]
    table: pd.DataFrame
    probabilities: NDArray[np.float64]

    def proposals(self) -> Proposals:
        """The proposals as they were made."""
        labels = np.zeros(self.shape_zyx, dtype=np.int32)
        labels.flat[self.places] = self.labels
        return Proposals(labels, self.table)


def judge(segmentation: Segmentation, params: CandidateParams, scorer: Scorer) -> JudgedProposals:
    """Propose, and let the scorer judge.

    Raises
    ------
    ValueError
        If the scorer does not answer one number in [0, 1] for each proposal.
    """
    proposals = propose(segmentation, params)
    places = np.flatnonzero(proposals.labels_zyx)
    return JudgedProposals(
        params=params,
        shape_zyx=proposals.labels_zyx.shape,
        places=places,
        labels=proposals.labels_zyx.ravel()[places],
        table=proposals.table,
        probabilities=score(segmentation, proposals, scorer),
    )
