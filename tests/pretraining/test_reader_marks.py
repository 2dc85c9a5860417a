"""Readers' marks in hand-made cubes and on grids of whole scans."""

from __future__ import annotations

import numpy as np
import pytest

from nodules.pretraining.reader_marks import OTHER_LISTED, drawn_in_scan, header_grid, marks_in_cube, marks_in_scan
from nodules.scans.lidc.xml_file import read_readings
from nodules.scans.result import ScanError
from nodules.scans.tables.nodule_cubes import read_cube, read_cube_table
from support.lidc_files import message, nodule, non_nodule, roi, square, write
from support.nodule_cubes import write_cubes

SHAPE_ZYX = (6, 20, 18)
OWN = np.s_[2:4, 8:12, 6:9]
HEADER = {
    **dict(zip("xyz", (-60.0, 10.0, -210.0), strict=True)),
    **{f"spacing_{axis}": value for axis, value in zip("xyz", (0.8, 0.8, 1.25), strict=True)},
    **{f"size_{axis}": value for axis, value in zip("xyz", (60, 50, 20), strict=True)},
    **dict.fromkeys(("direction_x", "direction_y", "direction_z"), 1),
}


def readings_of(tmp_path, *sessions: str):
    return read_readings(write(tmp_path / "readings.xml", message(*sessions)))


def drawn(z_mm: float, left: int, top: int, right: int, bottom: int) -> str:
    return nodule(roi(z_mm, square(left, top, right, bottom)))


def small(z_mm: float, x: int, y: int) -> str:
    return nodule(roi(z_mm, [(x, y)]), characteristics="")


def cube_of(part, **columns):
    hu, mask = np.full(SHAPE_ZYX, -850), np.zeros(SHAPE_ZYX, bool)
    if part is not None:
        hu[part], mask[part] = 100, True
    return hu, mask, columns


def marks(tmp_path, cubes, any_drawn=None):
    listed = read_cube_table(write_cubes(tmp_path / "cubes", cubes))
    scan, mask = read_cube(listed[0])
    return marks_in_cube(listed[0], listed, scan, mask, any_drawn), scan


def test_grid_of_a_header():
    grid = header_grid(HEADER).volume
    assert grid.shape_zyx == (20, 50, 60)
    assert grid.spacing_zyx_mm == (1.25, 0.8, 0.8)
    assert grid.origin_xyz_mm == (-60.0, 10.0, -210.0)
    assert not grid.voxels_zyx.any()


def test_grid_of_a_header_whose_x_and_y_run_backwards():
    reading = header_grid(HEADER | {"direction_x": -1, "direction_y": -1})
    assert reading.flipped_xy == (True, True)
    assert reading.volume.origin_xyz_mm == pytest.approx((-60.0 - 59 * 0.8, 10.0 - 49 * 0.8, -210.0))


def test_own_and_other_listed_nodules(tmp_path):
    other = cube_of(np.s_[1:3, 2:4, 8:10], x=-50.0 + 4 * 0.8)
    found, scan = marks(tmp_path, {"a.png": cube_of(OWN), "b.png": other})
    assert (found.numbers_zyx[OWN] == 1).all()
    assert (found.numbers_zyx[1:3, 2:4, 12:14] == OTHER_LISTED).all()
    assert np.count_nonzero(found.numbers_zyx) == 24 + 8
    np.testing.assert_array_equal(found.drawn_zyx, found.numbers_zyx > 0)
    (one,) = found.nodules
    assert (one.readers, one.diameter_mm) == (3, pytest.approx(5.0, abs=0.01))
    assert one.centre_world_xyz == pytest.approx(tuple(scan.voxel_to_world((2.5, 9.5, 7))))


def test_what_any_reader_drew_in_view_of_a_cube(tmp_path):
    """Column 0 of the cube is column 12.5 of the scan; its row 0 is row 12.5, and its slice 0 is slice 8."""
    readings = readings_of(tmp_path, drawn(-198.75, 24, 24, 28, 29), small(-200.0, 16, 16), non_nodule(-200.0, 20, 20))
    found, _ = marks(tmp_path, {"a.png": cube_of(OWN)}, drawn_in_scan(readings, header_grid(HEADER)))
    only_drawn = found.drawn_zyx & (found.numbers_zyx == 0)
    assert only_drawn[1, 13:16, 13:15].all(), "inside an outline of columns 24 to 28 and rows 24 to 29"
    assert only_drawn[0, 3, 3], "a small nodule"
    assert not found.drawn_zyx[0, 8, 8], "what a reader called no nodule"
    assert (found.numbers_zyx[OWN] == 1).all()


def test_cube_with_an_empty_mask_has_no_nodule(tmp_path):
    found, _ = marks(tmp_path, {"a.png": cube_of(None)})
    assert found.nodules == ()
    assert not found.drawn_zyx.any()


def test_majority_minority_and_small_nodules_of_a_scan(tmp_path):
    readings = readings_of(
        tmp_path,
        drawn(-200.0, 10, 10, 16, 16) + drawn(-205.0, 30, 30, 34, 34),
        drawn(-200.0, 10, 10, 14, 16),
        small(-190.0, 2, 2) + non_nodule(-190.0, 40, 40),
    )
    found = marks_in_scan(readings, header_grid(HEADER))
    (one,) = found.nodules
    assert one.readers == 2
    assert np.argwhere(found.numbers_zyx == 1).min(axis=0).tolist() == [8, 11, 11]
    assert np.argwhere(found.numbers_zyx == 1).max(axis=0).tolist() == [8, 15, 13]
    assert found.drawn_zyx[8, 11:16, 14:16].all(), "what one of the two drew"
    assert found.drawn_zyx[4, 31:34, 31:34].all(), "a nodule that one reader drew"
    assert found.drawn_zyx[16, 0, 0], "beside the point of a small nodule, at the border"
    assert not found.drawn_zyx[16, 40, 40]


def test_outlines_of_another_scan_are_refused(tmp_path):
    readings = readings_of(tmp_path, drawn(-200.0, 70, 10, 76, 16))
    with pytest.raises(ScanError, match="leaves the scan"):
        marks_in_scan(readings, header_grid(HEADER))
