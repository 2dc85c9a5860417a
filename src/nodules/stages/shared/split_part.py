"""The scans of one part of the split (training, validation or test) with their segmentations and annotations."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nodules.evaluation.nodules import ScanResult, evaluate_scored
from nodules.imaging.candidates.outline import SegmentationSettings
from nodules.imaging.candidates.probability_map import Segmentation
from nodules.imaging.candidates.proposals import CandidateParams, ScoredProposals, Scorer, score_proposals, unet_scorer
from nodules.parallel import job_count
from nodules.scans.stores import segmentations
from nodules.scans.tables.luna import NoduleAnnotation, read_annotations
from nodules.scans.tables.submission import read_excluded_beside


@dataclass(frozen=True)
class SplitPart:
    """Segmentations and nodules by series UID.

    Attributes
    ----------
    segmentations : dict of str to Path
        Folder of each scan, as `scans.stores.segmentations` writes it.
    nodules : dict of str to list of NoduleAnnotation
        Annotations of each scan.
    excluded : dict of str to list of NoduleAnnotation
        LUNA16's excluded findings in each scan, if their table is there. Finding one is no false positive.
    scored_proposals : dict of str to ScoredProposals
        Proposals of each scan with their probabilities; empty until `scored`.
    """

    segmentations: dict[str, Path]
    nodules: dict[str, list[NoduleAnnotation]]
    excluded: dict[str, list[NoduleAnnotation]]
    scored_proposals: dict[str, ScoredProposals] = field(default_factory=dict)

    @classmethod
    def load(cls, part: str, luna_root: Path, split: Path, segmentations: Path) -> SplitPart:
        """Take the segmented scans of a part.

        Parameters
        ----------
        part : str
            ``train``, ``validation`` or ``test``.
        luna_root : Path
            Holds annotations.csv.
        split : Path
            Table with the columns seriesuid and part.
        segmentations : Path
            One folder per scan.

        Raises
        ------
        ValueError
            If no scan of the part is segmented.
        """
        scans = pd.read_csv(split, dtype={"seriesuid": str})
        wanted = sorted(scans["seriesuid"][scans["part"] == part])
        found = {uid: segmentations / uid for uid in wanted if (segmentations / uid).is_dir()}
        if not found:
            raise ValueError(f"{split}: no scan of the part '{part}' is segmented in {segmentations}")
        tables = read_annotations(luna_root / "annotations.csv"), read_excluded_beside(luna_root)
        nodules, excluded = ({uid: table.get(uid, []) for uid in found} for table in tables)
        return cls(found, nodules, excluded)

    def scored(self, candidates: CandidateParams, scorer: Scorer) -> SplitPart:
        """Find and score the proposals of all scans once, for every later evaluation; they stay in memory.

        Parameters
        ----------
        candidates : CandidateParams
            Settings of the proposals.
        scorer : Scorer
            Is sent to other processes, so it must be picklable, like `reducer_scorer`; a network is not.
        """
        tasks = (joblib.delayed(_score)(folder, candidates, scorer) for folder in self.segmentations.values())
        scored = joblib.Parallel(n_jobs=job_count())(tasks)
        return replace(self, scored_proposals=dict(zip(self.segmentations, scored, strict=True)))

    def scorer(self, uid: str) -> Scorer:
        """Return a scorer that gives the known probabilities of a scan, or the U-Net's own before `scored`."""
        return (
            functools.partial(_known, self.scored_proposals[uid].probabilities)
            if self.scored_proposals
            else unet_scorer
        )

    def evaluate(self, settings: Sequence[SegmentationSettings], candidates: CandidateParams) -> list[list[ScanResult]]:
        """Compare every scan with its annotations, once for each of the settings.

        Each scan is read from disk only once, and few are in memory at a time.

        Returns
        -------
        list of list of ScanResult
            For each of the settings the results of all scans.

        Raises
        ------
        ValueError
            If the part was `scored` with other candidates.
        """
        others = [uid for uid, scored in self.scored_proposals.items() if scored.params != candidates]
        if others:
            raise ValueError(f"the part was scored with {self.scored_proposals[others[0]].params}, got {candidates}")
        tasks = (
            joblib.delayed(_evaluate)(
                uid, folder, self.nodules[uid], self.excluded[uid], settings, candidates, self.scored_proposals.get(uid)
            )
            for uid, folder in self.segmentations.items()
        )
        by_scan = joblib.Parallel(n_jobs=job_count())(tasks)
        return [list(results) for results in zip(*by_scan, strict=True)]


def _known(
    probabilities: NDArray[np.float64],
    segmentation: Segmentation,  # noqa: ARG001 - a Scorer
    table: pd.DataFrame,  # noqa: ARG001
) -> NDArray[np.float64]:
    return probabilities


def _score(folder: Path, candidates: CandidateParams, scorer: Scorer) -> ScoredProposals:
    return score_proposals(segmentations.load(folder), candidates, scorer)


def _evaluate(
    uid: str,
    folder: Path,
    nodules: list[NoduleAnnotation],
    excluded: list[NoduleAnnotation],
    settings: Sequence[SegmentationSettings],
    candidates: CandidateParams,
    scored: ScoredProposals | None,
) -> list[ScanResult]:
    segmentation = segmentations.load(folder)
    scored = scored or score_proposals(segmentation, candidates, unet_scorer)
    return evaluate_scored(uid, segmentation, nodules, settings, scored, excluded)
