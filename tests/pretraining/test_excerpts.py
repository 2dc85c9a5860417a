"""Excerpts of small annotated series in several subsets, with and without readers' outlines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nodules.imaging.geometry.volume import Volume
from nodules.pretraining.excerpts import Excerpt, read_excerpts, readers_file, series
from nodules.scans.result import ScanError
from nodules.scans.volume_files.writer import write_volume
from support.default_params import LUNG_MASK, READING

GRID = Volume(np.zeros((6, 40, 50), np.int16), (2.5, 1.0, 1.0), (-30.0, 10.0, -120.0))
HU = np.random.default_rng(1).normal(-850, 20, GRID.shape_zyx).astype(np.int16)


@pytest.fixture
def data(tmp_path) -> Path:
    """A series in subset 3, with nodules in voxels (1, 12, 20) and (4, 30, 10), and one in subset 8 with one nodule."""
    root = tmp_path / "slices"
    lines = ["seriesuid,coordX,coordY,coordZ,diameter_mm"]
    for uid, subset, places in (("1.3", 3, [(1, 12, 20), (4, 30, 10)]), ("1.1", 8, [(4, 20, 20)]), ("1.2", 8, [])):
        (root / f"subset{subset}").mkdir(parents=True, exist_ok=True)
        write_volume(GRID.with_voxels(HU), root / f"subset{subset}" / f"{uid}.mhd")
        lines += [",".join([uid, *(f"{value:g}" for value in GRID.voxel_to_world(place)), "6"]) for place in places]
    (root / "annotations.csv").write_text("\n".join(lines))
    return root


def write_counts(readers: Path, data: Path, grid: Volume = GRID) -> np.ndarray:
    """On the first nodule's slice: its outline, one of two readers beside it, one of a single reader."""
    counts = np.zeros(GRID.shape_zyx, np.uint8)
    counts[1, 11:14, 19:22], counts[1, 11, 18] = 4, 1
    counts[1, 30:33, 5:8] = 2
    counts[1, 5:8, 40:43] = 1
    file = readers_file(readers, series(data)["1.3"])
    file.parent.mkdir(parents=True, exist_ok=True)
    write_volume(grid.with_voxels(counts[:, : grid.shape_zyx[1]]), file)
    return counts


def read(data: Path, uid: str, readers: Path | None = None) -> list[Excerpt]:
    return read_excerpts(data, uid, READING, LUNG_MASK, readers)


def test_annotated_series_of_any_subset(data):
    assert series(data) == {"1.3": data / "subset3" / "1.3.mhd", "1.1": data / "subset8" / "1.1.mhd"}


def test_folder_without_annotated_series_is_refused(data, tmp_path):
    (data / "annotations.csv").write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\n")
    with pytest.raises(ScanError, match=r"slices: no subset\*/\*\.mhd is among"):
        series(data)
    with pytest.raises(ScanError, match=r"annotations\.csv: no such file"):
        series(tmp_path)


def test_excerpts_without_outlines(data):
    first, second = read(data, "1.3")
    assert (first.name, second.name) == ("1.3-0", "1.3-1")
    assert (first.middle, first.scan.shape_zyx) == (1, (3, 40, 50))
    np.testing.assert_array_equal(first.scan.voxels_zyx, HU[0:3])
    np.testing.assert_array_equal(second.scan.voxels_zyx, HU[3:6])
    assert first.truth_yx()[12, 20] == 1
    assert not first.marked_yx().any()
    with pytest.raises(ValueError, match=r"1\.3-0: read without the readers' outlines"):
        first.outlined_yx()


def test_outlines_of_the_readers(data, tmp_path):
    counts = write_counts(tmp_path / "readers", data)
    first, second = read(data, "1.3", tmp_path / "readers")
    np.testing.assert_array_equal(first.marked_yx(), counts[1] > 0)
    outlined = first.outlined_yx()
    np.testing.assert_array_equal(outlined > 0, counts[1] >= 2)
    assert set(outlined[11:14, 19:22].ravel()) == {1}
    assert outlined[30:33, 5:8].min() > 1
    assert not second.outlined_yx().any()


def test_missing_outlines_and_those_of_another_grid_are_refused(data, tmp_path):
    with pytest.raises(ScanError, match=r"1\.3\.nii\.gz: no such file"):
        read(data, "1.3", tmp_path / "readers")
    for other in (
        Volume(GRID.voxels_zyx[:, :39], GRID.spacing_zyx_mm, GRID.origin_xyz_mm),
        Volume(GRID.voxels_zyx, GRID.spacing_zyx_mm, (-29.0, 10.0, -120.0)),
        Volume(GRID.voxels_zyx, (2.5, 1.0, 1.1), GRID.origin_xyz_mm),
    ):
        write_counts(tmp_path / "readers", data, other)
        with pytest.raises(ScanError, match=r"1\.3\.nii\.gz: expected the grid of the series"):
            read(data, "1.3", tmp_path / "readers")
