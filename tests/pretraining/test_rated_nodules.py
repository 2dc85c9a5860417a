"""Cubes of nodules cut around their centres, and the folds of their patients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nodules.pretraining.rated_nodules import folds_of, out_of_fold_table, rated_cubes
from nodules.scans.result import ScanError
from nodules.scans.tables.nodule_cubes import read_cube_table
from support.nodule_cubes import ROW, write_cubes
from support.rated_cubes import PARAMS

SHAPE_ZYX = (28, 44, 44)


def cube(at_zyx, **columns):
    """A bright block of 8 x 12 x 12 voxels (10 x 9.6 x 9.6 mm) that starts at these voxels, and its mask."""
    z, y, x = at_zyx
    mask = np.zeros(SHAPE_ZYX, bool)
    mask[z : z + 8, y : y + 12, x : x + 12] = True
    return np.where(mask, 200, -850), mask, columns


@pytest.fixture
def folder(tmp_path) -> Path:
    lost = np.full(SHAPE_ZYX, -850), np.zeros(SHAPE_ZYX, bool)
    centre = {"luna_x": ROW["x"] + 0.8 * 30, "luna_y": ROW["y"] + 0.8 * 20, "luna_z": ROW["z"] + 1.25 * 10}
    return write_cubes(
        tmp_path / "cubes",
        {
            "a.png": cube((10, 16, 16), patient="a", malignancy=4.0),
            "b.png": cube((8, 18, 14), patient="b", malignancy=3.0),
            "c.png": (*lost, {"patient": "b", "malignancy": 1.0, **centre, "luna_diameter_mm": 4.0}),
            "d.png": (*lost, {"patient": "d", "malignancy": 2.0}),
        },
    )


def manifest(folder: Path, lines: list[str]) -> Path:
    (folder / "manifest.csv").write_text("\n".join(["scan,source,patient,fold", *lines]))
    return folder


def test_each_cube_is_cut_around_the_outline(folder):
    rated = rated_cubes(read_cube_table(folder), PARAMS)
    size = PARAMS.cube.size_px + 2
    assert rated.hu.shape == rated.mask_percent.shape == (4, size, size, size)
    for hu, percent in zip(rated.hu[:2], rated.mask_percent[:2], strict=True):
        where = np.argwhere(percent > 50)
        np.testing.assert_allclose(where.mean(axis=0), (size - 1) / 2)
        assert hu[percent == 100].min(initial=999) > 150
        assert hu[percent == 0].max() < -840
        volume_mm3 = percent.sum() / 100 * PARAMS.cube.step_mm**3
        assert volume_mm3 == pytest.approx(8 * 1.25 * (12 * 0.8) ** 2, rel=0.25)
    assert rated.mask_percent[2:].max() == 0
    np.testing.assert_array_equal(rated.malignant, [1, np.nan, 0, 0])


def test_lost_outline_is_replaced_by_the_annotated_centre(folder):
    cubes = read_cube_table(folder)
    hu = rated_cubes(cubes, PARAMS).hu[2]
    assert hu[0].max() < -900, "the cube reaches below the scan, since the annotation lies near its lower end"
    assert hu[-1].max() > -900


def test_folds_are_those_of_the_manifest(folder, tmp_path):
    lines = ["cubes-1,cubes,a,4", "cubes-2,cubes,b,0", "excerpts-2,excerpts,b,0", "cubes-3,cubes,d,1", "x,cubes,z,2"]
    np.testing.assert_array_equal(folds_of(read_cube_table(folder), manifest(tmp_path, lines)), [4, 0, 0, 1])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1,cubes,a,4", "2,cubes,b,0"], "no fold for 1 patients of the cubes .first: d"),
        (["1,cubes,a,4", "2,cubes,b,0", "3,excerpts,b,1", "4,cubes,d,1"], "several folds"),
        (["1,cubes,a,all", "2,cubes,b,0", "4,cubes,d,1"], "the number of a fold"),
        (["1,cubes,a,", "2,cubes,b,0", "4,cubes,d,1"], "the number of a fold"),
    ],
)
def test_manifest_that_does_not_divide_the_patients_is_refused(folder, tmp_path, lines, message):
    with pytest.raises(ScanError, match=message):
        folds_of(read_cube_table(folder), manifest(tmp_path, lines))


def test_missing_manifest_is_named(folder, tmp_path):
    with pytest.raises(ScanError, match=r"manifest\.csv: no such file"):
        folds_of(read_cube_table(folder), tmp_path / "none")


def test_table_has_one_row_per_nodule(folder):
    cubes = read_cube_table(folder)
    found = out_of_fold_table(cubes, np.array([4, 0, 0, 1]), np.array([1, np.nan, 0, 0]), {"centred": np.full(4, 0.25)})
    assert list(found["file"]) == ["a.png", "b.png", "c.png", "d.png"]
    assert list(found["malignancy"]) == [4, 3, 1, 2]
    assert found["malignant"].isna().tolist() == [False, True, False, False]
    assert (found["centred"] == 0.25).all()
