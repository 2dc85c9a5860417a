"""Report of a diagnosis, as JSON and as files; the command line and the server give the same."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from nodules.imaging.geometry.volume import Volume
from nodules.models.diagnosis import Diagnosis
from nodules.pictures.overlay import candidates_sheet, save_figure
from nodules.scans.result import ScanError, verdict_of_error
from nodules.scans.volume_files.writer import write_volume

NODULE_FIELDS = (
    "x_mm",
    "y_mm",
    "z_mm",
    "diameter_mm",
    "volume_mm3",
    "probability",
    "malignancy",
    "mean_hu",
    "sphericity",
    "pleura_mm",
    "lung",
)

EXPLAINED_FEATURES = 10  # features named in the explanation


def diagnosis_report(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return the report of a diagnosis as a JSON-serialisable dict.

    Returns
    -------
    dict
        - ``probability``: probability of cancer; None without a classifier.
        - ``suspicion``: how suspicious radiologists would find the nodules, from 0 to 1 (`Diagnosis.suspicion`), which
          is not a probability of cancer; None without a network for malignancy.
        - ``nodules``: the nodules, the most probable first, each with the `NODULE_FIELDS`: centre in world coordinates
          (DICOM axes), diameter, volume, probability of being a nodule, malignancy (probability that the mean of the
          radiologists' ratings is above 3 of 5; None without a network for it), mean HU, sphericity (1 for a ball),
          distance to the lung surface, and the lung (1 right, 2 left).
        - ``verdict``: status of the scan, with reasons and facts (`scans.result.Verdict`).
        - ``features``: the features from which the probability was computed; None if one could not be measured.
        - ``explanation``: the ten features that changed the probability most, each with its value and with the change
          of the log-odds of cancer; empty without a classifier.
    """
    nodules = diagnosis.candidates[list(NODULE_FIELDS)].astype(float).round(6).to_dict(orient="records")
    return {
        "probability": diagnosis.probability,
        "suspicion": diagnosis.suspicion,
        "nodules": [
            nodule | {"lung": int(nodule["lung"]), "malignancy": _finite(nodule["malignancy"])} for nodule in nodules
        ],
        "verdict": diagnosis.verdict.as_dict(),
        "features": {name: _finite(value) for name, value in diagnosis.features.items()},
        "explanation": _explanation(diagnosis),
    }


def refusal_report(error: ScanError) -> dict[str, Any]:
    """Return the report of a scan that could not be read: no probability, no nodules, and the reason."""
    return {
        "probability": None,
        "suspicion": None,
        "nodules": [],
        "verdict": verdict_of_error(error).as_dict(),
        "features": {},
        "explanation": [],
    }


def _explanation(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    moved = {name: share for name, share in diagnosis.contributions.items() if name in diagnosis.features and share}
    strongest = sorted(moved, key=lambda name: (-abs(moved[name]), name))[:EXPLAINED_FEATURES]
    return [
        {"name": name, "value": _finite(diagnosis.features[name]), "log_odds": round(moved[name], 6)}
        for name in strongest
    ]


def _finite(value: float) -> float | None:
    """Replace NaN by None, because JSON has no NaN."""
    return float(value) if math.isfinite(value) else None


def write_report(diagnosis: Diagnosis, scan: Volume, folder: Path) -> None:
    """Write report.json, nodules.csv, nodules.nii.gz, lungs.nii.gz and overlay.png."""
    folder.mkdir(parents=True, exist_ok=True)
    diagnosis.candidates.to_csv(folder / "nodules.csv", index=False)
    write_volume(diagnosis.nodules, folder / "nodules.nii.gz")
    write_volume(diagnosis.lungs, folder / "lungs.nii.gz")
    save_figure(candidates_sheet(scan, diagnosis.lungs.voxels_zyx, diagnosis.candidates), folder / "overlay.png")
    # The report comes last: once it exists, all other files are complete.
    partial = folder / ".report.json.partial"
    partial.write_text(json.dumps(diagnosis_report(diagnosis), indent=2) + "\n")
    partial.replace(folder / "report.json")
