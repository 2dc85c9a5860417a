"""The whole chain for one scan: lungs, U-Net, nodules, features, probability of cancer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from pydantic import TypeAdapter

from nodules.imaging.candidates import CandidateParams, Segmentation, SegmentationSettings, responding_hu
from nodules.imaging.lung_mask import LungMaskParams, lung_measures, segment_lungs
from nodules.imaging.lung_roi import extract, to_scan_grid
from nodules.imaging.measuring import measure_patient
from nodules.imaging.volume import Volume
from nodules.models import classifier
from nodules.models.segmenter import Segmenter

SETTINGS_FILE = "diagnosis.json"


@dataclass(frozen=True)
class DiagnosisSettings:
    """Everything that is neither a network nor a classifier."""

    lung_mask: LungMaskParams
    segmentation: SegmentationSettings
    candidates: CandidateParams


@dataclass(frozen=True)
class SegmentedScan:
    """A scan after the U-Net.

    Attributes
    ----------
    lungs : Volume
        uint8 labels on the scan's grid.
    segmentation : Segmentation
        The network's answer on the region's grid.
    lung_measures : mapping of str to float
        Of the lungs on the scan's grid.
    """

    lungs: Volume
    segmentation: Segmentation
    lung_measures: Mapping[str, float]


@dataclass(frozen=True)
class Diagnosis:
    """The answer for one scan.

    Attributes
    ----------
    probability : float
        Of cancer.
    candidates : DataFrame
        `Candidates.table`.
    features : mapping of str to float
        What the probability was computed from.
    lungs, nodules : Volume
        Labels on the scan's grid; a nodule's voxels hold its `label`.
    """

    probability: float
    candidates: pd.DataFrame
    features: Mapping[str, float]
    lungs: Volume
    nodules: Volume


def segment_scan(volume: Volume, segmenter: Segmenter, lung_mask: LungMaskParams) -> SegmentedScan:
    """Lungs, then the nodule probability of every slice that shows them."""
    return segment_region(volume, volume.with_voxels(segment_lungs(volume, lung_mask)), segmenter)


def segment_region(volume: Volume, lungs: Volume, segmenter: Segmenter) -> SegmentedScan:
    """The same with lungs that are known already."""
    region = extract(volume, lungs.voxels_zyx, segmenter.roi)
    probability = segmenter.predict(region)
    hu = region.scan.with_voxels(responding_hu(region.scan.voxels_zyx, probability))
    segmentation = Segmentation(hu, region.lungs_zyx, probability)
    return SegmentedScan(lungs, segmentation, lung_measures(volume, lungs.voxels_zyx))


class Diagnoser:
    """Segmenter, settings and classifier together: what is packaged and served."""

    def __init__(
        self, segmenter: Segmenter, settings: DiagnosisSettings, cancer_classifier: classifier.Classifier
    ) -> None:
        self._segmenter = segmenter
        self._settings = settings
        self._classifier = cancer_classifier

    def diagnose(self, volume: Volume) -> Diagnosis:
        """Probability of cancer and the nodules behind it; a scan without lungs or nodules has an answer as well."""
        scan = segment_scan(volume, self._segmenter, self._settings.lung_mask)
        candidates, measured = measure_patient(
            scan.segmentation, scan.lung_measures, self._settings.segmentation, self._settings.candidates
        )
        probability = classifier.predict(self._classifier, pd.DataFrame([measured])).iloc[0]
        nodules = scan.segmentation.scan.with_voxels(candidates.labels_zyx)
        return Diagnosis(float(probability), candidates.table, measured, scan.lungs, to_scan_grid(nodules, scan.lungs))

    @classmethod
    def load(cls, folder: Path) -> Diagnoser:
        """Read a folder with `segmenter/`, `classifier/` and `diagnosis.json`."""
        settings = json.loads((folder / SETTINGS_FILE).read_text())
        return cls(
            Segmenter.load(folder / "segmenter"),
            TypeAdapter(DiagnosisSettings).validate_python(settings),
            classifier.load(folder / "classifier"),
        )


def save_settings(settings: DiagnosisSettings, folder: Path) -> None:
    """Write diagnosis.json."""
    (folder / SETTINGS_FILE).write_text(json.dumps(asdict(settings), indent=2) + "\n")
