"""One synthetic patient in every kind of file, a packaged model, and an empty current folder."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from nodules.imaging.geometry.volume import Volume
from nodules.scans.read import read_scan
from nodules.scans.result import ReadingParams
from nodules.scans.volume_files.writer import write_volume
from support.dicom_files import write_series, zip_folder


@pytest.fixture(autouse=True)
def here(tmp_path_factory, monkeypatch) -> Path:
    """An empty folder, which is the current one: no command but `summary` needs to run in the project's folder."""
    folder = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def model(keen_model) -> Path:
    return keen_model


@pytest.fixture(scope="session")
def volume(tiny_pipeline) -> Volume:
    """The patient with the most candidates, on a grid that every format stores exactly."""
    table = pd.read_csv(tiny_pipeline.path("data/dsb/features/features.csv"), dtype={"id": str})
    patient = table.sort_values("candidate_count")["id"].iloc[-1]
    reading = tiny_pipeline.params("reading", ReadingParams)
    voxels = read_scan(tiny_pipeline.path(f"data/phantoms/dsb/{patient}"), reading).volume.voxels_zyx
    return Volume(voxels, (6.5, 4.5, 4.25), (-170.25, -181.5, -320.0))


@pytest.fixture(scope="session")
def scans(volume, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("scans")
    files = {end: folder / f"scan{end}" for end in (".mha", ".nii.gz", ".zip")}
    for end in (".mha", ".nii.gz"):
        write_volume(volume, files[end])
    write_series(folder / "dicom", volume.voxels_zyx, volume.spacing_zyx_mm, volume.origin_xyz_mm)
    zip_folder(folder / "dicom", files[".zip"])
    return files | {"folder": folder / "dicom"}
