"""The probability of cancer does not hang on the file format in which a scan arrives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nodules.imaging.geometry.volume import Volume
from nodules.models.chain import chain_folder
from nodules.models.diagnosis import Diagnoser, Diagnosis
from nodules.scans.read import read_scan
from nodules.scans.volume_files.writer import write_volume
from support.dicom_files import zip_folder
from support.tiny_project import TinyProject


@pytest.fixture(scope="module")
def diagnoser(keen_model: Path) -> Diagnoser:
    return Diagnoser.load(chain_folder(keen_model))


@pytest.fixture(scope="module")
def slices(tiny_pipeline: TinyProject) -> Path:
    """DICOM folder of the patient with the most candidates."""
    table = pd.read_csv(tiny_pipeline.path("data/dsb/features/features.csv"), dtype={"id": str})
    patient = table.sort_values("candidate_count")["id"].iloc[-1]
    return tiny_pipeline.path(f"data/phantoms/dsb/{patient}")


@pytest.fixture(scope="module")
def from_dicom(diagnoser: Diagnoser, slices: Path) -> Diagnosis:
    return diagnoser.diagnose(read_scan(slices, diagnoser.reading))


@pytest.fixture(scope="module")
def in_single_precision(diagnoser: Diagnoser, slices: Path) -> Diagnosis:
    """Of the same slices, placed as NIfTI can store it: interpolated HU may round otherwise, and move a probability."""
    reading = read_scan(slices, diagnoser.reading)
    volume = reading.volume
    spacing_zyx_mm, origin_xyz_mm = (
        tuple(np.float32(numbers).astype(float).tolist()) for numbers in (volume.spacing_zyx_mm, volume.origin_xyz_mm)
    )
    placed = Volume(volume.voxels_zyx, spacing_zyx_mm, origin_xyz_mm)
    return diagnoser.diagnose(replace(reading, volume=placed))


@pytest.mark.parametrize("name", ["scan.zip", "scan.mhd", "scan.mha", "scan.nii.gz", "scan.nrrd"])
def test_same_probability(diagnoser, slices, from_dicom, in_single_precision, tmp_path, name):
    if name.endswith(".zip"):
        zip_folder(slices, tmp_path / name)
    else:
        write_volume(read_scan(slices, diagnoser.reading).volume, tmp_path / name)
    found = diagnoser.diagnose(read_scan(tmp_path / name, diagnoser.reading))
    wanted = in_single_precision if name == "scan.nii.gz" else from_dicom
    assert found.probability == pytest.approx(wanted.probability, rel=0, abs=1e-6)
    assert dict(found.features) == pytest.approx(dict(wanted.features), rel=1e-5, abs=1e-5)
    assert len(found.candidates) == len(wanted.candidates) > 0, "without candidates any two scans are alike"


def test_single_precision_of_the_place_moves_little(from_dicom, in_single_precision):
    """What is found, that is: trees may jump where a feature moves by a millionth."""
    measured = ["x_mm", "y_mm", "z_mm", "diameter_mm", "probability"]
    moved, still = (found.candidates[measured].to_numpy(dtype=float) for found in (in_single_precision, from_dicom))
    assert moved.shape == still.shape
    np.testing.assert_allclose(moved[:, :4], still[:, :4], rtol=0, atol=0.1)
    np.testing.assert_allclose(moved[:, 4], still[:, 4], rtol=0, atol=0.01)
