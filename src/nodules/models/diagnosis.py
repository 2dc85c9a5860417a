"""Diagnosis of one scan: lungs, U-Net, false-positive reduction, nodules and their malignancy, features, cancer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import TypeAdapter

from nodules.imaging.candidates.outline import CandidateParams, SegmentationSettings, find_candidates
from nodules.imaging.features.measure import measure_patient
from nodules.imaging.geometry.resample import to_scan_grid
from nodules.imaging.geometry.volume import Volume
from nodules.imaging.lungs.segment import LungMaskParams, find_lungs
from nodules.models import chain
from nodules.models.cancer import classifier
from nodules.models.cancer import files as classifier_files
from nodules.models.cancer.explanation import contributions
from nodules.models.false_positive_reduction.reducer import FalsePositiveReducer
from nodules.models.malignancy.rater import MalignancyRater
from nodules.models.unet.segmenter import Segmenter, segment_excerpt, segment_region
from nodules.scans.result import Reading, ReadingParams, Verdict, verdict_of


@dataclass(frozen=True)
class DiagnosisSettings:
    """Settings of the steps that are neither a network nor a classifier."""

    reading: ReadingParams
    lung_mask: LungMaskParams
    segmentation: SegmentationSettings
    candidates: CandidateParams


@dataclass(frozen=True)
class Diagnosis:
    """The diagnosis of one scan.

    Attributes
    ----------
    probability : float or None
        Probability of cancer; None if the chain has no classifier.
    suspicion : float or None
        How suspicious radiologists would find the nodules: 1 - prod(1 - p * m) over the nodules, where p is a nodule's
        probability of being a nodule and m its malignancy (the feature `suspicion`). The most suspicious nodules
        decide; without nodules it is 0. It is what readers would think, not what pathology would find: not a
        probability of cancer. None if the chain has no network for malignancy.
    candidates : DataFrame
        `Candidates.table` with one more column, `malignancy`: the probability that the mean of the radiologists'
        ratings, from 1 to 5, is above 3; NaN if the chain has no network for malignancy.
    features : mapping of str to float
        The features of the patient, from which the probability was computed.
    contributions : mapping of str to float
        Contribution of each feature to the log-odds of the probability, and the starting value under ``base``. Their
        sum is the log-odds. Empty if the chain has no classifier.
    lungs, nodules : Volume
        Labels on the scan's grid; a nodule's voxels hold its `label`.
    verdict : Verdict
        Whether the scan is good enough for the diagnosis to be trusted.
    """

    probability: float | None
    suspicion: float | None
    candidates: pd.DataFrame
    features: Mapping[str, float]
    contributions: Mapping[str, float]
    lungs: Volume
    nodules: Volume
    verdict: Verdict


class Diagnoser:
    """The chain of networks and classifier that diagnoses a scan.

    Parameters
    ----------
    segmenter : Segmenter
    reducer : FalsePositiveReducer
    settings : DiagnosisSettings
    cancer_classifier : Classifier, optional
        Without it, a diagnosis has no probability of cancer.
    rater : MalignancyRater, optional
        Without it, a diagnosis has neither malignancy nor suspicion.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        reducer: FalsePositiveReducer,
        settings: DiagnosisSettings,
        cancer_classifier: classifier.Classifier | None = None,
        rater: MalignancyRater | None = None,
    ) -> None:
        self._segmenter = segmenter
        self._reducer = reducer
        self._settings = settings
        self._classifier = cancer_classifier
        self._rater = rater

    @property
    def reading(self) -> ReadingParams:
        """Settings with which a scan must be read for `diagnose`."""
        return self._settings.reading

    def diagnose(self, reading: Reading) -> Diagnosis:
        """Find the nodules and diagnose the patient; a scan without lungs or nodules has a diagnosis as well."""
        volume = reading.volume
        lungs = find_lungs(volume, self._settings.lung_mask)
        scan = segment_region(volume, volume.with_voxels(lungs.labels_zyx), self._segmenter)
        candidates, measured = measure_patient(
            scan.segmentation,
            scan.lung_measures,
            self._settings.segmentation,
            self._settings.candidates,
            self._reducer,
            self._rater,
        )
        probability, contributed = self._cancer(measured)
        nodules = scan.segmentation.scan.with_voxels(candidates.labels_zyx)
        return Diagnosis(
            probability=probability,
            suspicion=measured["suspicion"] if self._rater else None,
            candidates=candidates.table,
            features=measured,
            contributions=contributed,
            lungs=scan.lungs,
            nodules=to_scan_grid(nodules, scan.lungs),
            verdict=verdict_of(reading, self._settings.reading, lungs.quality.findings),
        )

    def outline_excerpt(self, excerpt: Volume) -> NDArray[np.int32]:
        """Find the nodules in a cube or another excerpt of a scan, in which no lungs can be found.

        Parameters
        ----------
        excerpt : Volume
            int16 HU.

        Returns
        -------
        (Z, Y, X) ndarray of int32
            Labels of the nodules on the excerpt's own grid.
        """
        segmentation, settings = segment_excerpt(excerpt, self._segmenter), self._settings
        found = find_candidates(segmentation, settings.segmentation, settings.candidates, self._reducer)
        return to_scan_grid(segmentation.scan.with_voxels(found.labels_zyx), excerpt).voxels_zyx

    def _cancer(self, features: Mapping[str, float]) -> tuple[float | None, dict[str, float]]:
        """Probability of cancer, and the contribution of each feature to its log-odds."""
        if self._classifier is None:
            return None, {}
        row = pd.DataFrame([features])
        probability = classifier.predict(self._classifier, row).iloc[0]
        contributed = contributions(self._classifier, row).iloc[0]
        return float(probability), {str(name): float(contribution) for name, contribution in contributed.items()}

    @classmethod
    def load(cls, folder: Path) -> Diagnoser:
        """Read a folder with the parts that `chain` names; `classifier/` and `malignancy/` may be absent.

        Raises
        ------
        ChainError
            If a part is missing.
        """
        chain.check_chain(folder)
        settings = json.loads((folder / chain.SETTINGS_FILE).read_text())
        return cls(
            Segmenter.load(folder / chain.SEGMENTER),
            FalsePositiveReducer.load(folder / chain.REDUCER),
            TypeAdapter(DiagnosisSettings).validate_python(settings),
            classifier_files.load(folder / chain.CLASSIFIER) if chain.has_classifier(folder) else None,
            MalignancyRater.load(folder / chain.MALIGNANCY) if chain.has_rater(folder) else None,
        )


def save_settings(settings: DiagnosisSettings, folder: Path) -> None:
    """Write diagnosis.json."""
    (folder / chain.SETTINGS_FILE).write_text(json.dumps(asdict(settings), indent=2) + "\n")
