from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from nodules.scans.result import ReadingParams, ScanError
from nodules.scans.tables.luna import (
    NoduleAnnotation,
    read_annotation_table,
    read_annotations,
    series_files,
    series_without_file,
)
from nodules.scans.volume_files.reader import read_volume

HEADER = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"


def _csv(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "annotations.csv"
    path.write_text(text)
    return path


def test_annotations_by_series(tmp_path):
    csv = _csv(tmp_path, HEADER + "1.20,-1.5,2,3e1,4.25\n1.2,0,0,0,30\n1.20,7,8,-9,5\n")
    assert read_annotations(csv) == {
        "1.20": [NoduleAnnotation("1.20", (-1.5, 2.0, 30.0), 4.25), NoduleAnnotation("1.20", (7.0, 8.0, -9.0), 5.0)],
        "1.2": [NoduleAnnotation("1.2", (0.0, 0.0, 0.0), 30.0)],
    }


def test_repeated_row_is_dropped_and_said(tmp_path):
    """What a spreadsheet does to the numbers does not make another nodule of it."""
    table = read_annotation_table(_csv(tmp_path, HEADER + "1.2,-1.5,2,30,4\n1.3,0,0,0,5\n 1.2,-1.50,2.0,3e1,4.0\n"))
    assert table.nodules == {
        "1.2": [NoduleAnnotation("1.2", (-1.5, 2.0, 30.0), 4.0)],
        "1.3": [NoduleAnnotation("1.3", (0.0, 0.0, 0.0), 5.0)],
    }
    assert table.repeated_lines == (4,)


def test_two_diameters_at_one_place_are_refused(tmp_path):
    with pytest.raises(ScanError, match=r"annotations\.csv, line 3: the diameter is 6\.0 mm, but line 2 gives 4\.0 mm"):
        read_annotations(_csv(tmp_path, HEADER + "1.2,1,2,3,4\n1.2,1,2,3,6\n"))
    assert len(read_annotations(_csv(tmp_path, HEADER + "1.2,1,2,3,4\n1.3,1,2,3,6\n"))) == 2


def test_no_annotation_is_an_empty_result(tmp_path):
    assert read_annotations(_csv(tmp_path, HEADER)) == {}


def test_extra_columns_and_other_order(tmp_path):
    csv = _csv(tmp_path, "diameter_mm,coordZ,coordY,coordX,note,seriesuid\n4,3,2,1,hm,1.2\n")
    assert read_annotations(csv)["1.2"] == [NoduleAnnotation("1.2", (1.0, 2.0, 3.0), 4.0)]


@pytest.mark.parametrize(
    "row", ["1.2,1,2,3,0", "1.2,1,2,3,-4", "1.2,1,nan,3,4", "1.2,1,2,inf,4", "1.2,x,2,3,4", ",1,2,3,4", "  ,1,2,3,4"]
)
def test_bad_row_is_named(tmp_path, row):
    with pytest.raises(ScanError, match=r"annotations\.csv, line 3: expected a series UID"):
        read_annotations(_csv(tmp_path, HEADER + "1.1,1,2,3,4\n" + row + "\n"))


def test_missing_column_is_named(tmp_path):
    csv = _csv(tmp_path, "seriesuid,coordX,coordY,z,diameter_mm\n1,2,3,4,5\n")
    with pytest.raises(ScanError, match=r"lacks the column\(s\) coordZ; it has seriesuid, coordX, coordY, z"):
        read_annotations(csv)


def test_missing_and_empty_table(tmp_path):
    with pytest.raises(ScanError, match="no such file"):
        read_annotations(tmp_path / "gone.csv")
    with pytest.raises(ScanError, match="cannot be read as a table"):
        read_annotations(_csv(tmp_path, ""))


def test_series_files_are_sorted_headers(tmp_path):
    folder = tmp_path / "subset3"
    folder.mkdir()
    for name in ("1.9.mhd", "1.9.zraw", "1.10.mhd", "1.10.raw", "notes.txt"):
        (folder / name).touch()
    assert list(series_files(tmp_path, 3).items()) == [("1.10", folder / "1.10.mhd"), ("1.9", folder / "1.9.mhd")]


def test_missing_or_empty_subset_says_what_to_do(tmp_path):
    with pytest.raises(ScanError, match=r"subset3 does not exist; unpack LUNA16's subset3\.zip there"):
        series_files(tmp_path, 3)
    (tmp_path / "subset3").mkdir()
    with pytest.raises(ScanError, match=r"subset3 holds no \.mhd file"):
        series_files(tmp_path, 3)


def test_series_without_file():
    assert series_without_file(["c", "a", "b", "a"], {"b": 1}) == ["a", "c"]
    assert series_without_file([], []) == []


@pytest.mark.skipif(not os.environ.get("NODULES_REAL_DATA"), reason="NODULES_REAL_DATA is not set")
def test_real_luna16():
    root = Path(os.environ["NODULES_REAL_DATA"])
    published = read_annotation_table(root / "tables" / "luna16" / "annotations.csv")
    assert (sum(map(len, published.nodules.values())), published.repeated_lines) == (1186, ())
    annotations = read_annotations(root / "luna16_slices" / "annotations.csv")
    files = series_files(root / "luna16_slices", 0)
    assert len(files) == 67
    assert series_without_file(annotations, files) == []
    params = ReadingParams(max_gap_mm=5.0, max_tilt_degrees=30.0, max_thickness_mm=5.0)
    inside = 0
    for uid, nodules in annotations.items():
        scan = read_volume(files[uid], params).volume
        assert np.array_equal(scan.direction_xyz, np.eye(3).ravel())
        for nodule in nodules:
            index = scan.world_to_voxel(nodule.centre_world_xyz)
            inside += bool((index >= -0.5).all() and (index <= np.array(scan.shape_zyx) - 0.5).all())
    assert inside == 112
