"""The probability of cancer does not hang on the file format in which a scan arrives."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from dicom_files import zip_folder
from nodules.models.diagnosis import Diagnoser, Diagnosis
from nodules.scans.scan import read_scan
from nodules.scans.volume_files.writer import write_volume
from nodules.serving.packaging import chain_folder
from tiny_project import TinyProject


@pytest.fixture(scope="module")
def diagnoser(tiny_pipeline: TinyProject) -> Diagnoser:
    return Diagnoser.load(chain_folder(tiny_pipeline.path("models/diagnosis")))


@pytest.fixture(scope="module")
def slices(tiny_pipeline: TinyProject) -> Path:
    """DICOM folder of the patient with the most candidates."""
    table = pd.read_csv(tiny_pipeline.path("data/dsb/features/features.csv"), dtype={"id": str})
    patient = table.sort_values("candidate_count")["id"].iloc[-1]
    return tiny_pipeline.path(f"data/phantoms/dsb/{patient}")


@pytest.fixture(scope="module")
def from_dicom(diagnoser: Diagnoser, slices: Path) -> Diagnosis:
    return diagnoser.diagnose(read_scan(slices, diagnoser.reading))


@pytest.mark.parametrize("name", ["scan.zip", "scan.mhd", "scan.mha", "scan.nii.gz", "scan.nrrd"])
def test_same_probability(diagnoser, slices, from_dicom, tmp_path, name):
    if name.endswith(".zip"):
        zip_folder(slices, tmp_path / name)
    else:
        write_volume(read_scan(slices, diagnoser.reading).volume, tmp_path / name)
    found = diagnoser.diagnose(read_scan(tmp_path / name, diagnoser.reading))
    assert found.probability == pytest.approx(from_dicom.probability, rel=0, abs=1e-6)
    # NIfTI keeps the geometry in float32: interpolated values move by 0.01 HU, and where that rounds otherwise, by 1 HU
    close = 1e-4 if name == "scan.nii.gz" else 1e-5
    assert dict(found.features) == pytest.approx(dict(from_dicom.features), rel=close, abs=close)
    assert len(found.candidates) == len(from_dicom.candidates) > 0, "without candidates any two scans are alike"
