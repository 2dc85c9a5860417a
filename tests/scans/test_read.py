from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import numpy as np
import pytest

from nodules.imaging.geometry.volume import Volume
from nodules.scans.read import read_scan, read_scan_bytes
from nodules.scans.result import ScanError
from nodules.scans.volume_files.writer import write_volume
from support.default_params import READING
from support.dicom_files import write_series, zip_folder

HU_ZYX = np.random.default_rng(5).integers(-900, 900, (3, 4, 5)).astype(np.int16)
SCAN = Volume(HU_ZYX, (2.5, 0.6, 0.8), (-120.5, 33.25, -301.0))


@pytest.fixture
def series(tmp_path) -> Path:
    write_series(tmp_path / "scan", HU_ZYX, SCAN.spacing_zyx_mm, SCAN.origin_xyz_mm)
    return tmp_path / "scan"


@pytest.fixture(autouse=True)
def private_folder(tmp_path, monkeypatch) -> Path:
    """Where temporary files go; every test leaves it empty."""
    folder = tmp_path / "private"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def _assert_is_scan(found: Volume) -> None:
    np.testing.assert_array_equal(found.voxels_zyx, HU_ZYX)
    np.testing.assert_allclose(found.spacing_zyx_mm, SCAN.spacing_zyx_mm, rtol=1e-6)
    np.testing.assert_allclose(found.origin_xyz_mm, SCAN.origin_xyz_mm, rtol=1e-6)


def test_dicom_folder_and_zip(tmp_path, series):
    _assert_is_scan(read_scan(series, READING).volume)
    _assert_is_scan(read_scan(zip_folder(series, tmp_path / "scan.ZIP"), READING).volume)


@pytest.mark.parametrize("name", ["a.mhd", "a.mha", "a.nii", "a.nii.gz", "a.nrrd", "1.3.6.1.mhd"])
def test_volume_files(tmp_path, name):
    write_volume(SCAN, tmp_path / name)
    _assert_is_scan(read_scan(tmp_path / name, READING).volume)


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("suffix", [".mha", ".nii", ".nii.gz", ".nrrd"])
def test_bytes_are_told_by_content(tmp_path, private_folder, suffix, compress):
    write_volume(SCAN, tmp_path / f"a{suffix}", compress=compress)
    _assert_is_scan(read_scan_bytes((tmp_path / f"a{suffix}").read_bytes(), READING).volume)
    assert not list(private_folder.iterdir())


def test_bytes_of_a_dicom_zip(tmp_path, series, private_folder):
    _assert_is_scan(read_scan_bytes(zip_folder(series, tmp_path / "scan.zip").read_bytes(), READING).volume)
    assert not list(private_folder.iterdir())


def test_one_dicom_file_points_to_its_folder(series):
    with pytest.raises(ScanError, match=r"0000\.dcm is one slice; give the folder of the scan"):
        read_scan(series / "0000.dcm", READING)


def test_volume_file_has_no_series(tmp_path):
    write_volume(SCAN, tmp_path / "a.mha")
    with pytest.raises(ScanError, match=r"a\.mha: a volume file has no series 1\.2\.3"):
        read_scan(tmp_path / "a.mha", READING, "1.2.3")


def test_unknown_and_missing_paths_say_what_is_accepted(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(ScanError, match=r"a\.png: unknown kind of file; give a DICOM folder, .*\.nii\.gz"):
        read_scan(tmp_path / "a.png", READING)
    with pytest.raises(ScanError, match="no such file or folder; give a DICOM folder"):
        read_scan(tmp_path / "gone", READING)


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff" * 1000, b"ObjectType = Image"])
def test_unknown_bytes_say_what_is_accepted(data):
    with pytest.raises(ScanError, match=r"unknown kind of data; send a zip of a DICOM folder, \.mha"):
        read_scan_bytes(data, READING)


@pytest.mark.parametrize(
    "data", [b"PK\x03\x04 no zip", gzip.compress(b"no scan", mtime=0), b"NRRD0004\nrubbish", b"\0" * 344 + b"n+1\0"]
)
def test_damaged_bytes_are_refused_without_a_path(data, private_folder):
    with pytest.raises(ScanError, match="the sent") as caught:
        read_scan_bytes(data, READING)
    assert str(private_folder) not in str(caught.value)
    assert not list(private_folder.iterdir())


def test_bytes_may_not_name_a_file_of_the_server(tmp_path):
    write_volume(SCAN, tmp_path / "a.mhd", compress=False)
    header = (tmp_path / "a.mhd").read_bytes().replace(b"= a.raw", b"= " + bytes(tmp_path / "a.raw"))
    with pytest.raises(ScanError, match="voxels are not in the file"):
        read_scan_bytes(header, READING)
    with pytest.raises(ScanError, match="voxels are not in the file"):
        read_scan_bytes(b"Comment = ElementDataFile = LOCAL\n" + header, READING)
    nrrd = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 5 4 3\nencoding: raw\nendian: little\nData File: /a.raw\n\n"
    with pytest.raises(ScanError, match="voxels are not in the file"):
        read_scan_bytes(nrrd, READING)
