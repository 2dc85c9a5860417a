"""Cubes around nodules: grid, HU, mask and row, and damaged folders."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nodules.scans.result import ScanError
from nodules.scans.tables.luna import NoduleAnnotation
from nodules.scans.tables.nodule_cubes import read_cube, read_cube_table
from support.nodule_cubes import write_cubes

SHAPE_ZYX = (4, 6, 7)
LUNA = {"luna_x": -48.4, "luna_y": 22.4, "luna_z": -197.5, "luna_diameter_mm": 4.5}  # voxel (2, 3, 2)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two cubes; in each, one voxel of the mask and one bright voxel at (2, 3, 2)."""
    hu, mask = np.full(SHAPE_ZYX, -850), np.zeros(SHAPE_ZYX, bool)
    hu[2, 3, 2], mask[2, 3, 2] = 100, True
    return write_cubes(
        tmp_path / "cubes",
        {"a.png": (hu, mask, LUNA), "b.png": (hu, mask, {"patient": "007", "subset": np.nan, "malignancy": np.nan})},
    )


def change(folder: Path, **columns) -> None:
    """Give the first row other values, as text."""
    table = pd.read_csv(folder / "cubes.csv", dtype=str)
    for name, value in columns.items():
        table.loc[0, name] = value
    table.to_csv(folder / "cubes.csv", index=False)


def test_cube_has_its_place_in_the_world(folder):
    cube = read_cube_table(folder)[0]
    scan, mask = read_cube(cube)
    assert scan.voxels_zyx.dtype == np.int16
    assert mask.dtype == bool
    assert scan.shape_zyx == mask.shape == SHAPE_ZYX
    assert scan.spacing_zyx_mm == (1.25, 0.8, 0.8)
    assert scan.voxel_to_world([2, 3, 2]) == pytest.approx(cube.annotation.centre_world_xyz)
    assert np.argwhere(mask).tolist() == [[2, 3, 2]]
    assert scan.voxels_zyx[mask].item() == pytest.approx(100, abs=3)
    assert scan.voxels_zyx[~mask] == pytest.approx(-850, abs=3)


def test_rows(folder):
    annotated, other = read_cube_table(folder)
    assert annotated.annotation == NoduleAnnotation("1.2", (-48.4, 22.4, -197.5), 4.5)
    assert (annotated.patient, annotated.subset, annotated.readers, annotated.diameter_mm) == ("LIDC-1", 3, 3, 4.5)
    assert annotated.scores["malignancy"] == 2.5
    assert (other.patient, other.subset, other.annotation) == ("007", None, None)
    assert other.diameter_mm == pytest.approx(5.0, abs=1e-3)
    assert np.isnan(other.scores["malignancy"])


def test_series_with_reversed_axes_is_told_by_its_annotation(folder):
    """The first voxel lies at the far end of x and y, for the cubes of that series without an annotation as well."""
    change(folder, luna_x="-51.6", luna_y="17.6")
    cubes = read_cube_table(folder)
    for scan, mask in map(read_cube, cubes):
        assert scan.direction_xyz == (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
        assert np.argwhere(mask).tolist() == [[2, 2, 4]]
        assert scan.voxels_zyx[mask].item() == pytest.approx(100, abs=3)
        assert scan.voxel_to_world([2, 2, 4]) == pytest.approx(cubes[0].annotation.centre_world_xyz)


def test_lost_mask_is_a_value(tmp_path):
    hu = np.full(SHAPE_ZYX, -850)
    (cube,) = read_cube_table(write_cubes(tmp_path, {"a.png": (hu, np.zeros(SHAPE_ZYX, bool), {})}))
    assert not read_cube(cube)[1].any()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"size_z": "0"}, r"line 2 \(a\.png\).*must be positive"),
        ({"size_y": "5.5"}, "whole numbers"),
        ({"spacing_x": "-0.8"}, "must be positive"),
        ({"spacing_x": ""}, "expected a number for each of"),
        ({"x": "left"}, "expected a number for each of"),
        ({"malignancy": "high"}, "got text"),
        ({"volume_mm3": "inf"}, "finite"),
        ({"luna_y": ""}, "must all be given or none"),
        ({"luna_diameter_mm": "0"}, "luna_diameter_mm must be positive"),
        ({"luna_x": "-40"}, "outside the cube"),
        ({"patient": " "}, "must not be empty"),
        ({"file": "c.png"}, r"c\.png: no such file, but cubes\.csv lists it"),
        ({"file": "b.png"}, r"b\.png is listed twice"),
    ],
)
def test_damaged_row_is_refused(folder, columns, message):
    change(folder, **columns)
    with pytest.raises(ScanError, match=message):
        read_cube_table(folder)


def test_damaged_table_is_refused(folder, tmp_path):
    table = pd.read_csv(folder / "cubes.csv")
    table.drop(columns=["readers", "luna_z"]).to_csv(folder / "cubes.csv", index=False)
    with pytest.raises(ScanError, match=r"cubes\.csv: lacks the column\(s\) readers, luna_z"):
        read_cube_table(folder)
    table[:0].to_csv(folder / "cubes.csv", index=False)
    with pytest.raises(ScanError, match="lists no cube"):
        read_cube_table(folder)
    with pytest.raises(ScanError, match=r"cubes\.csv: no such file"):
        read_cube_table(tmp_path / "nowhere")


def test_damaged_png_is_refused(folder):
    cube = read_cube_table(folder)[0]
    whole = cube.file.read_bytes()
    for content in (whole[:60], whole[:45] + bytes(20) + whole[65:], b"", b"no picture", b"GIF89a" + whole):
        cube.file.write_bytes(content)
        with pytest.raises(ScanError, match=r"a\.png: cannot be read as a PNG"):
            read_cube(cube)
    cube.file.unlink()
    with pytest.raises(ScanError, match=r"a\.png: cannot be read as a PNG"):
        read_cube(cube)


def test_png_that_does_not_fit_its_row_is_refused(folder):
    cube = read_cube_table(folder)[0]
    with pytest.raises(ScanError, match=r"a\.png: expected 7 x 60 pixels of 8-bit grey.*got 7 x 48 of mode L"):
        read_cube(replace(cube, shape_zyx=(5, 6, 7)))
    picture = Image.open(cube.file)
    picture.convert("RGB").save(cube.file)
    with pytest.raises(ScanError, match="got 7 x 48 of mode RGB"):
        read_cube(cube)
    Image.fromarray(np.asarray(picture)[::-1]).save(cube.file)  # the scan where the mask should be
    with pytest.raises(ScanError, match="no mask"):
        read_cube(cube)


@pytest.mark.skipif(not os.environ.get("NODULES_REAL_DATA"), reason="NODULES_REAL_DATA is not set")
def test_real_masks_lie_around_their_annotations():
    cubes = read_cube_table(Path(os.environ["NODULES_REAL_DATA"]) / "nodule_cubes")
    assert sum(cube.direction_xyz[0] < 0 for cube in cubes) == 18
    annotated = [cube for cube in cubes if cube.annotation][::10]
    assert len(annotated) > 50
    for cube in annotated:
        scan, mask = read_cube(cube)
        centre = scan.voxel_to_world(np.argwhere(mask).mean(axis=0))
        assert np.linalg.norm(centre - cube.annotation.centre_world_xyz) < cube.diameter_mm / 2
