from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from nodules.imaging.geometry.volume import Volume
from nodules.scans.result import ScanError
from nodules.scans.tables.surveys import survey_luna
from nodules.scans.volume_files.writer import write_volume

HEADER = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"


def _scan(root: Path, subset: int, uid: str, *, compress: bool = False) -> None:
    (root / f"subset{subset}").mkdir(exist_ok=True, parents=True)
    volume = Volume(np.full((3, 4, 5), -1000, np.int16), (2.5, 0.6, 0.8), (1.0, 2.0, 3.0))
    write_volume(volume, root / f"subset{subset}" / f"{uid}.mhd", compress=compress)


@pytest.fixture
def luna(tmp_path) -> Path:
    """Three scans in two subsets; two nodules in the first scan, one in the second, none in the third."""
    for subset, uid in ((0, "1.1"), (0, "1.2"), (1, "1.3")):
        _scan(tmp_path, subset, uid, compress=uid == "1.2")
    (tmp_path / "annotations.csv").write_text(HEADER + "1.1,1,2,3,4\n1.1,5,2,3,4\n1.2,1,2,3,4\n")
    return tmp_path


def _add_row(root: Path, row: str) -> None:
    table = root / "annotations.csv"
    table.write_text(table.read_text() + row + "\n")


def test_counts_and_what_is_no_fault(luna):
    found = survey_luna(luna, [0, 1])
    assert found.counts == {"subset0": 2, "subset1": 1, "scans": 3, "nodules": 3, "scans_without_nodules": 1}
    assert found.warnings == ()
    assert found.notes == (
        "annotations.csv differs from LUNA16's: 3 nodules in 2 series instead of 1186 in 601",
        "scans without a row in annotations.csv (no nodule was found in them): 1",
    )


def test_subset_that_is_not_chosen_is_a_note(luna):
    found = survey_luna(luna, [1])
    assert found.counts == {"subset1": 1, "scans": 1, "nodules": 0, "scans_without_nodules": 1}
    assert "not chosen in dataset.subsets: subset0 (2 scans)" in found.notes
    assert found.warnings == (), "the rows of subset0 have their files there"


def test_missing_subsets_are_all_named(luna):
    with pytest.raises(ScanError, match=r"subset3, subset7 do not exist; unpack subset3\.zip there, or choose"):
        survey_luna(luna, [0, 3, 7])
    (luna / "subset3").mkdir()
    with pytest.raises(ScanError, match=r"subset3 holds no \.mhd file"):
        survey_luna(luna, [0, 3])
    assert survey_luna(luna, [0, 1]).counts["scans"] == 3, "an empty folder that nobody chose does no harm"


def test_subset_chosen_twice_is_refused(luna):
    with pytest.raises(ScanError, match=r"subsets \[1\] are chosen twice"):
        survey_luna(luna, [0, 1, 1])


@pytest.mark.parametrize("chosen", [[0, 1], [0]])
def test_series_in_two_subsets_is_refused(luna, chosen):
    """Even where only one is chosen: the copy may be in the test set tomorrow."""
    _scan(luna, 1, "1.2")
    with pytest.raises(ScanError, match=r"series 1\.2 lies in subset0 and in subset1; keep one of them"):
        survey_luna(luna, chosen)


def test_rows_without_a_file_are_a_warning(luna):
    _add_row(luna, "1.8,1,2,3,4\n1.9,1,2,3,4\n1.9,7,2,3,4")
    (warning,) = survey_luna(luna, [0, 1]).warnings
    assert warning.startswith("annotations.csv has 3 nodules of 2 series (1.8, ...) without a file in any subset")
    assert survey_luna(luna, [0, 1]).counts["nodules"] == 3


def test_repeated_row_is_a_warning(luna):
    _add_row(luna, "1.2,1.0,2,3,4")
    found = survey_luna(luna, [0, 1])
    assert found.warnings == ("annotations.csv: dropped 1 repeated line (5)",)
    assert found.counts["nodules"] == 3


def test_conflicting_row_is_refused(luna):
    _add_row(luna, "1.2,1,2,3,9")
    with pytest.raises(ScanError, match=r"line 5: the diameter is 9\.0 mm, but line 4 gives 4\.0 mm"):
        survey_luna(luna, [0, 1])


@pytest.mark.parametrize("name", ["1.1.raw", "1.2.zraw"])
def test_scans_that_are_not_whole_are_a_warning(luna, name):
    voxels = luna / "subset0" / name
    voxels.write_bytes(voxels.read_bytes()[:-1])
    (warning,) = survey_luna(luna, [0, 1]).warnings
    assert f"1 scan ({name[:3]}) cannot be read" in warning
    assert "cut short" in warning
    voxels.unlink()
    (warning,) = survey_luna(luna, [0, 1]).warnings
    assert f"its data file {name} is missing" in warning


def test_missing_folder_and_table(tmp_path):
    with pytest.raises(ScanError, match=r"annotations\.csv: no such file"):
        survey_luna(tmp_path / "gone", [0])


REAL = pytest.mark.skipif(not os.environ.get("NODULES_REAL_DATA"), reason="NODULES_REAL_DATA is not set")


def _link_all(root: Path, uids: list[str]) -> None:
    """A scan a series, spread over ten subsets; all share the voxels of one."""
    _scan(root, 0, "0")
    header = (root / "subset0" / "0.mhd").read_text()
    (root / "subset0" / "0.mhd").unlink()
    voxels = (root / "subset0" / "0.raw").rename(root / "shared.raw")
    for place, uid in enumerate(uids):
        folder = root / f"subset{place % 10}"
        folder.mkdir(exist_ok=True)
        (folder / f"{uid}.mhd").write_text(header.replace("0.raw", f"{uid}.raw"))
        (folder / f"{uid}.raw").symlink_to(voxels)


@REAL
def test_the_published_set_is_known(tmp_path):
    tables = Path(os.environ["NODULES_REAL_DATA"]) / "tables" / "luna16"
    uids = (tables / "seriesuids.csv").read_text().split()
    shutil.copy(tables / "annotations.csv", tmp_path)
    _link_all(tmp_path, uids)
    found = survey_luna(tmp_path, range(10))
    assert (found.counts["scans"], found.counts["nodules"], found.counts["scans_without_nodules"]) == (888, 1186, 287)
    assert found.notes[0] == "LUNA16 is complete: 888 scans, 1186 nodules"
    assert found.warnings == ()
    part = survey_luna(tmp_path, [0])
    assert part.notes[0] == "a part of LUNA16: 89 of 888 scans, 1 of 10 subsets"
    assert part.warnings == ()


@REAL
def test_real_slices():
    found = survey_luna(Path(os.environ["NODULES_REAL_DATA"]) / "luna16_slices", [0])
    assert found.counts == {"subset0": 67, "scans": 67, "nodules": 112, "scans_without_nodules": 0}
    assert found.warnings == ()
