"""Unusual and damaged scans: each is read or refused as its case says, and no file is left behind."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from stat import S_ISDIR

import numpy as np
import pytest

from nodules.scans.read import read_scan, read_scan_bytes
from nodules.scans.result import Reading, ScanError, verdict_of
from support.damaged_scans.archives import archive_rows
from support.damaged_scans.cases import PARAMS, Case, Read, ReadField, Refused, linear_hu
from support.damaged_scans.dicom import dicom_rows
from support.damaged_scans.volume_files import volume_file_rows
from support.dicom_files import PATIENT_NAME

ROWS = [*dicom_rows(), *archive_rows(), *volume_file_rows()]


@pytest.fixture
def private_folder(tmp_path, monkeypatch) -> Path:
    """Where temporary files go."""
    folder = tmp_path / "private"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_names_differ():
    assert len({row.name for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_odd_input(row, tmp_path, private_folder):
    (tmp_path / "scan").mkdir()
    given = row.write(tmp_path / "scan")
    before = listing(tmp_path)
    if isinstance(row.outcome, Refused):
        with pytest.raises(ScanError, match=row.outcome.message) as caught:
            read(row, given)
        assert_names_no_patient(str(caught.value))
        assert not row.is_sent or str(tmp_path) not in str(caught.value)
    else:
        found = read(row, given)
        reasons = verdict_of(found, PARAMS).reasons
        assert_names_no_patient(repr(reasons))
        assert_said(reasons, row.outcome.says)
        assert_read(found, row.outcome)
    assert listing(tmp_path) == before


def read(row: Case, given: Path) -> Reading:
    if row.is_sent:
        return read_scan_bytes(given.read_bytes(), PARAMS)
    return read_scan(given, PARAMS, row.series_uid)


def listing(folder: Path) -> dict[str, tuple[int, int] | None]:
    """Everything below a folder, files with size and time of change."""
    found = {str(path): path.lstat() for path in folder.rglob("*")}
    return {name: None if S_ISDIR(of.st_mode) else (of.st_size, of.st_mtime_ns) for name, of in found.items()}


def assert_names_no_patient(text: str) -> None:
    assert PATIENT_NAME not in text
    assert "secret-17" not in text


def assert_said(reasons: tuple[str, ...], patterns: tuple[str, ...]) -> None:
    for pattern in patterns:
        assert any(re.search(pattern, reason) for reason in reasons), f"'{pattern}' is not in {reasons}"
    unexpected = [reason for reason in reasons if not any(re.search(pattern, reason) for pattern in patterns)]
    assert not unexpected


def assert_read(found: Reading, wanted: Read | ReadField) -> None:
    assert found.volume.voxels_zyx.dtype == np.int16
    np.testing.assert_allclose(found.volume.direction_xyz, np.eye(3).ravel(), atol=1e-6)
    if isinstance(wanted, ReadField):
        assert_field(found, wanted)
        return
    assert found.volume.shape_zyx == wanted.volume.shape_zyx
    difference = found.volume.voxels_zyx.astype(int) - wanted.volume.voxels_zyx
    assert np.abs(difference).max() <= wanted.tolerance_hu
    np.testing.assert_allclose(found.volume.spacing_zyx_mm, wanted.volume.spacing_zyx_mm, rtol=1e-6)
    np.testing.assert_allclose(found.volume.origin_xyz_mm, wanted.volume.origin_xyz_mm, rtol=0, atol=1e-4)
    assert dict(found.left_out) == dict(wanted.left_out)
    assert len(found.other_series) == wanted.other_series


def assert_field(found: Reading, wanted: ReadField) -> None:
    """The field is found again inside what was scanned, and all of that lies in the grid."""
    points = found.volume.voxel_to_world(np.moveaxis(np.indices(found.volume.shape_zyx), 0, -1))
    shares = (points - np.asarray(wanted.corner_xyz_mm)) @ np.linalg.inv(wanted.edges_xyz_mm)
    inside = ((shares > -1e-6) & (shares < 1 + 1e-6)).all(axis=-1)
    np.testing.assert_allclose(found.volume.voxels_zyx[inside], linear_hu(points[inside]), rtol=0, atol=2)
    corners = np.array(wanted.corner_xyz_mm) + np.indices((2, 2, 2)).reshape(3, -1).T @ wanted.edges_xyz_mm
    indices = found.volume.world_to_voxel(corners)
    assert inside.sum() > 50
    assert (indices > -0.501).all()
    assert (indices < np.array(found.volume.shape_zyx) - 0.499).all()
