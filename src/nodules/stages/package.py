"""Package networks, classifier and settings as one MLflow model, and register it as champion or challenger."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pandas as pd

from nodules import params
from nodules.evaluation.promotion import Decision, Skill, decide
from nodules.imaging.candidates.outline import CandidateParams, SegmentationSettings
from nodules.imaging.lungs.segment import LungMaskParams
from nodules.models.diagnosis import DiagnosisSettings
from nodules.scans.result import ReadingParams
from nodules.serving.packaging import package
from nodules.stages.shared import command
from nodules.tracking.stage import StageRun, stage_run

PREDICTIONS = "judged_on.csv"  # predictions with which those of a later model are compared


def main(
    *,
    segmenter: Path,
    reducer: Path,
    tuned: Path,
    classifier: Path,
    classifier_metrics: Path,
    out_of_fold: Path,
    output: Path,
) -> None:
    """Write the model, decide whether it replaces the champion, and register it."""
    settings = DiagnosisSettings(
        reading=params.load("reading", ReadingParams),
        lung_mask=params.load("lung_mask", LungMaskParams),
        segmentation=SegmentationSettings(**json.loads(tuned.read_text())),
        candidates=params.load("candidates", CandidateParams),
    )
    numbers = json.loads(classifier_metrics.read_text())
    predictions = pd.read_csv(out_of_fold, dtype={"id": str}).rename(columns={"chosen": "probability"})
    with stage_run("package", settings, [segmenter, reducer, tuned, classifier]) as stage:
        package(segmenter, reducer, classifier, settings, output)
        decision = _decide(stage, numbers["validated"], predictions)
        stage.log_text(predictions[["id", "repeat", "label", "probability"]].to_csv(index=False), PREDICTIONS)
        version = stage.register(
            output,
            {"validated": numbers["validated"], "models": numbers["models"]},
            alias=decision.alias,
            reason=decision.reason,
        )
        sys.stdout.write(f"version {version} is {decision.alias}: {decision.reason}\n")


def _decide(stage: StageRun, validated: dict[str, float], predictions: pd.DataFrame) -> Decision:
    skill = Skill(*(validated.get(name, float("nan")) for name in ("skill", "skill_low", "skill_high")))
    left = stage.registered_text("champion", PREDICTIONS)
    if left is None:
        return decide(skill, predictions, None)
    version, text = left
    earlier = pd.read_csv(io.StringIO(text), dtype={"id": str}) if text else None
    return decide(skill, predictions, earlier, f"version {version}")


if __name__ == "__main__":
    command.run(main)
