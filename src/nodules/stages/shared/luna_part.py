"""The scans of one part of the split with their maps and annotations, for the stages that judge maps."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nodules.evaluation.nodules import ScanResult, evaluate_judged
from nodules.imaging.candidates.outline import SegmentationSettings
from nodules.imaging.candidates.probability_map import Segmentation
from nodules.imaging.candidates.proposals import CandidateParams, JudgedProposals, Scorer, judge, unet_scorer
from nodules.parallel import job_count
from nodules.scans.stores import segmentations as segmentation_store
from nodules.scans.tables.luna import NoduleAnnotation, read_annotations
from nodules.scans.tables.submission import excluded_of
from nodules.stages.shared.scoring import load_rescorer


@dataclass(frozen=True)
class LunaPart:
    """Folders of maps and nodules by series UID.

    Attributes
    ----------
    maps : dict of str to Path
        Folder of each scan in `segmentation_store`.
    nodules : dict of str to list of NoduleAnnotation
        What is annotated in each scan.
    excluded : dict of str to list of NoduleAnnotation
        LUNA16's excluded findings in each scan, where the table is there: no mistake if they are found.
    judged : dict of str to JudgedProposals
        What was proposed in each scan and its probability, once `scored`.
    """

    maps: dict[str, Path]
    nodules: dict[str, list[NoduleAnnotation]]
    excluded: dict[str, list[NoduleAnnotation]]
    judged: dict[str, JudgedProposals] = field(default_factory=dict)

    @classmethod
    def load(cls, part: str, luna_root: Path, split: Path, maps: Path) -> LunaPart:
        """Take the scans of `part` that have maps.

        Raises
        ------
        ValueError
            If there is none.
        """
        scans = pd.read_csv(split, dtype={"seriesuid": str})
        wanted = sorted(scans["seriesuid"][scans["part"] == part])
        found = {uid: maps / uid for uid in wanted if (maps / uid).is_dir()}
        if not found:
            raise ValueError(f"{split}: no scan of the part '{part}' has maps in {maps}")
        tables = read_annotations(luna_root / "annotations.csv"), excluded_of(luna_root)
        nodules, excluded = ({uid: table.get(uid, []) for uid in found} for table in tables)
        return cls(found, nodules, excluded)

    def scored(self, candidates: CandidateParams, scorer: Scorer) -> LunaPart:
        """Propose, and let the scorer judge, once for all that is asked later; what stays in memory are the proposals.

        Parameters
        ----------
        scorer : Scorer
            Must travel to other processes: `by_rescorer`, not a network.
        """
        tasks = (joblib.delayed(_judge)(folder, candidates, scorer) for folder in self.maps.values())
        judged = joblib.Parallel(n_jobs=job_count())(tasks)
        return replace(self, judged=dict(zip(self.maps, judged, strict=True)))

    def scorer(self, uid: str) -> Scorer:
        """The scan's known probabilities, or the U-Net's own where nothing was `scored`."""
        return functools.partial(_known, self.judged[uid].probabilities) if self.judged else unet_scorer

    def evaluate(self, settings: Sequence[SegmentationSettings], candidates: CandidateParams) -> list[list[ScanResult]]:
        """Hold every scan against its annotations, once for each of the settings.

        Scans are read from disk one by one, so that any number of them will do, and each only once.

        Returns
        -------
        list of list of ScanResult
            The results of all scans, for each of the settings.

        Raises
        ------
        ValueError
            If the part was `scored` with other candidates.
        """
        others = [uid for uid, judged in self.judged.items() if judged.params != candidates]
        if others:
            raise ValueError(f"the part was scored with {self.judged[others[0]].params}, got {candidates}")
        tasks = (
            joblib.delayed(_evaluate)(
                uid, folder, self.nodules[uid], self.excluded[uid], settings, candidates, self.judged.get(uid)
            )
            for uid, folder in self.maps.items()
        )
        by_scan = joblib.Parallel(n_jobs=job_count())(tasks)
        return [list(results) for results in zip(*by_scan, strict=True)]


def by_rescorer(folder: Path) -> Scorer:
    """The rescorer of a folder as a scorer that loads it in the process that scores."""
    return functools.partial(_rescore, folder)


def _rescore(folder: Path, segmentation: Segmentation, table: pd.DataFrame) -> NDArray[np.float64]:
    return load_rescorer(folder)(segmentation, table)


def _known(
    probabilities: NDArray[np.float64],
    segmentation: Segmentation,  # noqa: ARG001 - a Scorer
    table: pd.DataFrame,  # noqa: ARG001
) -> NDArray[np.float64]:
    return probabilities


def _judge(folder: Path, candidates: CandidateParams, scorer: Scorer) -> JudgedProposals:
    return judge(segmentation_store.load(folder), candidates, scorer)


def _evaluate(
    uid: str,
    folder: Path,
    nodules: list[NoduleAnnotation],
    excluded: list[NoduleAnnotation],
    settings: Sequence[SegmentationSettings],
    candidates: CandidateParams,
    judged: JudgedProposals | None,
) -> list[ScanResult]:
    segmentation = segmentation_store.load(folder)
    judged = judged or judge(segmentation, candidates, unet_scorer)
    return evaluate_judged(uid, segmentation, nodules, settings, judged, excluded)
