"""Judged slices on disk."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from nodules.scans.result import ScanError
from nodules.tutorial.judging import judged_slices as judged_store
from nodules.tutorial.judging.judged_slices import JudgedSlices


def some_slices(count: int) -> JudgedSlices:
    random = np.random.default_rng(0)
    return JudgedSlices(
        z=np.arange(count),
        images=random.random((count, 8, 8), dtype=np.float32),
        seen=np.ones(count, dtype=bool),
        boxes=np.tile([0, 1, 8, 9], (count, 1)),
        hu=random.integers(-1000, 400, (count, 10, 12)).astype(np.int16),
        nodules=random.integers(0, 3, (count, 10, 12)).astype(np.uint16),
        lungs=random.random((count, 10, 12)) > 0.5,
        diameters_mm=np.array([5.0, 7.0]),
        pixel_yx_mm=np.array([0.7, 0.7]),
    )


@pytest.mark.parametrize("count", [0, 3])
def test_what_is_saved_comes_back(tmp_path: Path, count: int) -> None:
    slices = some_slices(count)
    judged_store.save(slices, tmp_path / "1.2.3.npz")
    back = judged_store.load(tmp_path / "1.2.3.npz")
    for field in fields(JudgedSlices):
        before, after = getattr(slices, field.name), getattr(back, field.name)
        assert before.dtype == after.dtype
        np.testing.assert_array_equal(before, after)
    assert [path.name for path in tmp_path.iterdir()] == ["1.2.3.npz"]


def test_damaged_files_are_named(tmp_path: Path) -> None:
    file = tmp_path / "1.2.3.npz"
    with pytest.raises(ScanError, match=r"1\.2\.3\.npz: no readable slices"):
        judged_store.load(file)
    judged_store.save(some_slices(2), file)
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ScanError, match="run its stage again"):
        judged_store.load(file)
    np.savez(file, other=np.zeros(3))
    with pytest.raises(ScanError, match="no readable slices"):
        judged_store.load(file)
