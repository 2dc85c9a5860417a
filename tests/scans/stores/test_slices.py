from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from nodules.scans.result import ScanError
from nodules.scans.stores.slices import ScanSlices, load, save


@pytest.fixture
def slices() -> ScanSlices:
    return ScanSlices(
        seriesuid="1.2.3",
        scan_slices=120,
        spacing_zyx_mm=(2.5, 0.6, 0.8),
        origin_xyz_mm=(-120.5, 33.25, -301.0),
        direction_xyz=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
        voxels_zyx=np.arange(60, dtype=np.int16).reshape(3, 4, 5) - 1000,
        slice_indices=np.array([10, 11, 40]),
        target_indices=np.array([11, 40]),
        nodule_masks_zyx=np.ones((2, 4, 5), np.uint8),
        nodule_numbers=np.array([[0, 0], [1, 0], [1, 1]]),
        centre_world_xyz=np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
        diameter_mm=np.array([4.0, 9.5]),
    )


def _assert_equal(found: ScanSlices, wanted: ScanSlices) -> None:
    for field in fields(ScanSlices):
        here, there = getattr(found, field.name), getattr(wanted, field.name)
        assert type(here) is type(there), field.name
        np.testing.assert_array_equal(here, there, err_msg=field.name)
        if isinstance(there, np.ndarray):
            assert here.dtype == there.dtype


def test_what_was_saved_is_loaded(tmp_path, slices):
    save(slices, tmp_path / "1.2.3.npz")
    save(slices, tmp_path / "1.2.3.npz")
    _assert_equal(load(tmp_path / "1.2.3.npz"), slices)
    assert [file.name for file in tmp_path.iterdir()] == ["1.2.3.npz"]


def test_scan_without_nodules(tmp_path, slices):
    none = replace(
        slices,
        nodule_numbers=np.zeros((0, 2), int),
        centre_world_xyz=np.zeros((0, 3)),
        diameter_mm=np.zeros(0),
        target_indices=np.zeros(0, int),
        nodule_masks_zyx=np.zeros((0, 4, 5), np.uint8),
    )
    save(none, tmp_path / "a.npz")
    _assert_equal(load(tmp_path / "a.npz"), none)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slice_indices": np.array([10, 11])}, r"1\.2\.3: voxels_zyx must have shape \(2, 4, 5\), got \(3, 4, 5\)"),
        ({"nodule_masks_zyx": np.zeros((1, 4, 5), np.uint8)}, "nodule_masks_zyx must have shape"),
        ({"centre_world_xyz": np.zeros((3, 3))}, "centre_world_xyz must have shape"),
        ({"nodule_numbers": np.zeros((2, 3), int)}, "nodule_numbers must have shape"),
        ({"slice_indices": np.array([10, 40, 11])}, "must ascend"),
        ({"target_indices": np.array([12, 40])}, r"targets \[12\] are not among the stored slices"),
    ],
)
def test_what_does_not_fit_together_is_refused(slices, change, message):
    with pytest.raises(ValueError, match=message):
        replace(slices, **change)


def test_missing_damaged_and_foreign_files(tmp_path, slices):
    with pytest.raises(ScanError, match=r"gone\.npz: no readable slices"):
        load(tmp_path / "gone.npz")
    save(slices, tmp_path / "a.npz")
    data = (tmp_path / "a.npz").read_bytes()
    for damaged in (b"", b"hello", data[: len(data) // 2]):
        (tmp_path / "a.npz").write_bytes(damaged)
        with pytest.raises(ScanError, match=r"a\.npz: no readable slices"):
            load(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", other=np.zeros(3))
    with pytest.raises(ScanError, match=r"b\.npz: no readable slices"):
        load(tmp_path / "b.npz")
