"""DVC stage: the whole chain as one model folder, registered where runs are tracked."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from nodules import params, tracking
from nodules.imaging.candidates import CandidateParams, SegmentationSettings
from nodules.imaging.lung_mask import LungMaskParams
from nodules.models.diagnosis import DiagnosisSettings
from nodules.scans.reading import ReadingParams
from nodules.serving.packaging import package


def main(segmenter: Path, rescorer: Path, tuned: Path, classifier: Path, metrics: Path, output: Path) -> None:
    """Write and register the model."""
    settings = DiagnosisSettings(
        reading=params.load("reading", ReadingParams),
        lung_mask=params.load("lung_mask", LungMaskParams),
        segmentation=SegmentationSettings(**json.loads(tuned.read_text())),
        candidates=params.load("candidates", CandidateParams),
    )
    with tracking.stage_run("package", settings, [segmenter, rescorer, tuned, classifier]) as stage:
        package(segmenter, rescorer, classifier, settings, output)
        stage.register(output, json.loads(metrics.read_text())["models"])


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
