"""Diagnosis of one scan: lungs, U-Net, false-positive reduction, nodules, features and probability of cancer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from pydantic import TypeAdapter

from nodules.imaging.candidates.outline import CandidateParams, SegmentationSettings
from nodules.imaging.features.measure import measure_patient
from nodules.imaging.geometry.resample import to_scan_grid
from nodules.imaging.geometry.volume import Volume
from nodules.imaging.lungs.segment import LungMaskParams, find_lungs
from nodules.models.cancer import classifier
from nodules.models.cancer import files as classifier_files
from nodules.models.cancer.explanation import contributions
from nodules.models.false_positive_reduction.reducer import FalsePositiveReducer
from nodules.models.unet.segmenter import Segmenter, segment_region
from nodules.scans.result import Reading, ReadingParams, Verdict, verdict_of

SETTINGS_FILE = "diagnosis.json"


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
    probability : float
        Probability of cancer.
    candidates : DataFrame
        `Candidates.table`.
    features : mapping of str to float
        The features from which the probability was computed.
    contributions : mapping of str to float
        Contribution of each feature to the log-odds of the probability, and the starting value under ``base``. Their
        sum is the log-odds.
    lungs, nodules : Volume
        Labels on the scan's grid; a nodule's voxels hold its `label`.
    verdict : Verdict
        Whether the scan is good enough for the diagnosis to be trusted.
    """

    probability: float
    candidates: pd.DataFrame
    features: Mapping[str, float]
    contributions: Mapping[str, float]
    lungs: Volume
    nodules: Volume
    verdict: Verdict


class Diagnoser:
    """Segmenter, false-positive reduction, settings and classifier of the model that is packaged and served."""

    def __init__(
        self,
        segmenter: Segmenter,
        reducer: FalsePositiveReducer,
        settings: DiagnosisSettings,
        cancer_classifier: classifier.Classifier,
    ) -> None:
        self._segmenter = segmenter
        self._reducer = reducer
        self._settings = settings
        self._classifier = cancer_classifier

    @property
    def reading(self) -> ReadingParams:
        """Settings with which a scan must be read for `diagnose`."""
        return self._settings.reading

    def diagnose(self, reading: Reading) -> Diagnosis:
        """Find the nodules and the probability of cancer; a scan without lungs or nodules has a probability as well."""
        volume = reading.volume
        lungs = find_lungs(volume, self._settings.lung_mask)
        scan = segment_region(volume, volume.with_voxels(lungs.labels_zyx), self._segmenter)
        candidates, measured = measure_patient(
            scan.segmentation,
            scan.lung_measures,
            self._settings.segmentation,
            self._settings.candidates,
            self._reducer,
        )
        row = pd.DataFrame([measured])
        probability = classifier.predict(self._classifier, row).iloc[0]
        contributed = contributions(self._classifier, row).iloc[0]
        nodules = scan.segmentation.scan.with_voxels(candidates.labels_zyx)
        return Diagnosis(
            probability=float(probability),
            candidates=candidates.table,
            features=measured,
            contributions={str(name): float(contribution) for name, contribution in contributed.items()},
            lungs=scan.lungs,
            nodules=to_scan_grid(nodules, scan.lungs),
            verdict=verdict_of(reading, self._settings.reading, lungs.quality.findings),
        )

    @classmethod
    def load(cls, folder: Path) -> Diagnoser:
        """Read a folder with `segmenter/`, `false_positive_reduction/`, `classifier/` and `diagnosis.json`."""
        settings = json.loads((folder / SETTINGS_FILE).read_text())
        return cls(
            Segmenter.load(folder / "segmenter"),
            FalsePositiveReducer.load(folder / "false_positive_reduction"),
            TypeAdapter(DiagnosisSettings).validate_python(settings),
            classifier_files.load(folder / "classifier"),
        )


def save_settings(settings: DiagnosisSettings, folder: Path) -> None:
    """Write diagnosis.json."""
    (folder / SETTINGS_FILE).write_text(json.dumps(asdict(settings), indent=2) + "\n")
