"""Slices and masks of scans with and without LIDC's readings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nodules.imaging.geometry.volume import Volume
from nodules.imaging.network_input.slice_context import ContextParams
from nodules.scans.result import ReadingParams, ScanError
from nodules.scans.stores import slices
from nodules.scans.stores.extraction import ExtractParams
from nodules.scans.stores.slices import INSIDE, ScanSlices
from nodules.scans.tables.luna import NoduleAnnotation
from nodules.scans.volume_files.writer import write_volume
from nodules.stages import extract_luna
from support.lidc_files import UID, message, nodule, roi, square, write

READING = ReadingParams(max_gap_mm=5.0, max_tilt_degrees=30.0, max_thickness_mm=3.0)
FLIPPED = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
VOLUME = Volume(np.full((20, 30, 40), -800, np.int16), (2.5, 0.7, 0.7), (14.0, 10.5, -25.0))
CENTRE = (14.0 + 12 * 0.7, 10.5 + 22 * 0.7, 0.0)


@pytest.fixture
def mhd(tmp_path) -> Path:
    (tmp_path / "subset0").mkdir()
    write_volume(VOLUME, tmp_path / "subset0" / f"{UID}.mhd")
    return tmp_path / "subset0" / f"{UID}.mhd"


def xml_file(folder: Path, points=None) -> Path:
    """Four readers draw the same square of 7 x 7 pixels, and one goes on in the slice above."""
    edge = points or square(9, 19, 15, 25)
    four = nodule(roi(0.0, edge))
    return write(folder / "069.xml", message(four, four, four, nodule(roi(0.0, edge), roi(2.5, edge))))


def extracted(file: Path, folder: Path, *xml_files: Path, centre=CENTRE) -> ScanSlices:
    nodules = [NoduleAnnotation(UID, centre, 3.0)]
    extract_luna.extract_scan(
        (file, nodules, xml_files),
        folder,
        reading=READING,
        extract=ExtractParams(slices_per_nodule=3, nodule_free_slices=2),
        context=ContextParams(slices=1, distance_mm=2.5),
        seed=1,
    )
    return slices.load(folder / f"{UID}.npz")


def test_readings_replace_the_sphere(mhd, tmp_path):
    found = extracted(mhd, tmp_path, xml_file(tmp_path / "xml"))
    inside = np.argwhere(found.nodule_masks_zyx == INSIDE)
    assert len(inside) == 25
    assert inside[:, 1:].min(axis=0).tolist() == [20, 10]
    assert inside[:, 1:].max(axis=0).tolist() == [24, 14]
    sphere = extracted(mhd, tmp_path)
    assert (sphere.nodule_masks_zyx == INSIDE).sum() == 13


def test_readings_of_a_flipped_scan(tmp_path):
    """Stored with reversed columns and rows, the outline's pixels are the same and its place in the world another."""
    stored = Volume(VOLUME.voxels_zyx, VOLUME.spacing_zyx_mm, VOLUME.origin_xyz_mm, FLIPPED)
    write_volume(stored, tmp_path / f"{UID}.mhd")
    x, y, z = stored.voxel_to_world((10, 22, 12)).tolist()
    found = extracted(tmp_path / f"{UID}.mhd", tmp_path, xml_file(tmp_path / "xml"), centre=(x, y, z))
    inside = np.argwhere(found.nodule_masks_zyx == INSIDE)
    middle = Volume(VOLUME.voxels_zyx, found.spacing_zyx_mm, found.origin_xyz_mm, found.direction_xyz).voxel_to_world(
        (found.target_indices[inside[0, 0]], *inside[:, 1:].mean(axis=0))
    )
    assert len(inside) == 25
    np.testing.assert_allclose(middle, (x, y, z), atol=1e-6)


def test_readings_of_another_scan_are_refused(mhd, tmp_path):
    with pytest.raises(ScanError, match=f"series {UID}: an outline at z = 0 mm"):
        extracted(mhd, tmp_path, xml_file(tmp_path / "xml", square(36, 19, 42, 25)))
    other = write(tmp_path / "other.xml", message("", uid="1.2"))
    with pytest.raises(ScanError, match=r"other\.xml: holds readings of series 1\.2"):
        extracted(mhd, tmp_path, other)


def run_stage(folder: Path, monkeypatch: pytest.MonkeyPatch, lidc_xml: str | None) -> ScanSlices:
    x, y, z = CENTRE
    (folder / "annotations.csv").write_text(f"seriesuid,coordX,coordY,coordZ,diameter_mm\n{UID},{x},{y},{z},3.0\n")
    sections = {
        "run": {"seed": 1, "max_failures": 0},
        "dataset": {"luna_root": ".", "lidc_xml": lidc_xml, "subsets": [0], "dsb_root": "dsb", "phantoms": []},
        "reading": vars(READING),
        "extract": {"slices_per_nodule": 3, "nodule_free_slices": 2},
        "context": {"slices": 1, "distance_mm": 2.5},
    }
    (folder / "params.yaml").write_text(json.dumps(sections))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DVC_ROOT", str(folder))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/runs.db")
    monkeypatch.setenv("NODULES_JOBS", "1")
    extract_luna.main(luna_root=folder, subset=0, output=folder / "out")
    return slices.load(folder / "out" / f"{UID}.npz")


def test_stage_finds_the_readings_of_its_scans(mhd, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    xml_file(tmp_path / "xml" / "185")
    write(tmp_path / "xml" / "other.xml", message("", uid="1.2"))
    found = run_stage(tmp_path, monkeypatch, "xml")
    assert (found.nodule_masks_zyx == INSIDE).sum() == 25
    assert "xml holds readings of 1 of 1 scans" in caplog.text
    without = run_stage(tmp_path, monkeypatch, None)
    assert (without.nodule_masks_zyx == INSIDE).sum() == 13


def test_stage_names_the_parameter_of_a_missing_folder(mhd, tmp_path, monkeypatch):
    with pytest.raises(ScanError, match=r"nowhere: no such folder.*dataset\.lidc_xml"):
        run_stage(tmp_path, monkeypatch, "nowhere")
