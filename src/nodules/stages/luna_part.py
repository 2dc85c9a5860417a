"""The scans of one part of the split with their maps and annotations, for the stages that judge maps."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib
import pandas as pd

from nodules.evaluation.nodule_finding import ScanResult, evaluate_scan
from nodules.imaging.candidates import CandidateParams, SegmentationSettings
from nodules.parallel import job_count
from nodules.scans import segmentation_store
from nodules.scans.luna import NoduleAnnotation, read_annotations


@dataclass(frozen=True)
class LunaPart:
    """Folders of maps and nodules by series UID."""

    maps: dict[str, Path]
    nodules: dict[str, list[NoduleAnnotation]]

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
        annotations = read_annotations(luna_root / "annotations.csv")
        return cls(found, {uid: annotations.get(uid, []) for uid in found})

    def evaluate(self, settings: Sequence[SegmentationSettings], candidates: CandidateParams) -> list[list[ScanResult]]:
        """Hold every scan against its annotations, once for each of the settings.

        Scans are read from disk one by one, so that any number of them will do, and each only once.

        Returns
        -------
        list of list of ScanResult
            The results of all scans, for each of the settings.
        """
        evaluate = functools.partial(_evaluate, settings=settings, candidates=candidates)
        tasks = (joblib.delayed(evaluate)(uid, folder, nodules) for uid, folder, nodules in self._scans())
        by_scan = joblib.Parallel(n_jobs=job_count())(tasks)
        return [list(results) for results in zip(*by_scan, strict=True)]

    def _scans(self) -> Iterator[tuple[str, Path, list[NoduleAnnotation]]]:
        for uid, folder in self.maps.items():
            yield uid, folder, self.nodules[uid]


def _evaluate(
    uid: str,
    folder: Path,
    nodules: list[NoduleAnnotation],
    settings: Sequence[SegmentationSettings],
    candidates: CandidateParams,
) -> list[ScanResult]:
    segmentation = segmentation_store.load(folder)
    return [evaluate_scan(uid, segmentation, nodules, chosen, candidates) for chosen in settings]
