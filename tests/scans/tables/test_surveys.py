"""Surveys of LUNA16 and DSB folders: counts, notes, warnings and refusals."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nodules.imaging.geometry.volume import Volume
from nodules.scans.result import ScanError
from nodules.scans.tables.surveys import survey_dsb, survey_luna
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


class TestLuna:
    """LUNA16."""

    def test_counts_and_what_is_no_fault(self, luna):
        found = survey_luna(luna, [0, 1])
        assert found.counts == {"subset0": 2, "subset1": 1, "scans": 3, "nodules": 3, "scans_without_nodules": 1}
        assert found.warnings == ()
        assert found.notes == (
            "annotations.csv differs from LUNA16's: 3 nodules in 2 series instead of 1186 in 601",
            "scans without a row in annotations.csv (no nodule was found in them): 1",
        )

    def test_subset_that_is_not_chosen_is_a_note(self, luna):
        found = survey_luna(luna, [1])
        assert found.counts == {"subset1": 1, "scans": 1, "nodules": 0, "scans_without_nodules": 1}
        assert "not chosen in dataset.subsets: subset0 (2 scans)" in found.notes
        assert found.warnings == (), "the rows of subset0 have their files there"

    def test_missing_subsets_are_all_named(self, luna):
        with pytest.raises(ScanError, match=r"subset3, subset7 do not exist; unpack subset3\.zip there, or choose"):
            survey_luna(luna, [0, 3, 7])
        (luna / "subset3").mkdir()
        with pytest.raises(ScanError, match=r"subset3 holds no \.mhd file"):
            survey_luna(luna, [0, 3])
        assert survey_luna(luna, [0, 1]).counts["scans"] == 3, "an empty folder that nobody chose does no harm"

    def test_subset_chosen_twice_is_refused(self, luna):
        with pytest.raises(ScanError, match=r"subsets \[1\] are chosen twice"):
            survey_luna(luna, [0, 1, 1])

    @pytest.mark.parametrize("chosen", [[0, 1], [0]])
    def test_series_in_two_subsets_is_refused(self, luna, chosen):
        """Even where only one is chosen: the copy may be in the test set tomorrow."""
        _scan(luna, 1, "1.2")
        with pytest.raises(ScanError, match=r"series 1\.2 lies in subset0 and in subset1; keep one of them"):
            survey_luna(luna, chosen)

    def test_rows_without_a_file_are_a_warning(self, luna):
        _add_row(luna, "1.8,1,2,3,4\n1.9,1,2,3,4\n1.9,7,2,3,4")
        (warning,) = survey_luna(luna, [0, 1]).warnings
        assert warning.startswith("annotations.csv has 3 nodules of 2 series (1.8, ...) without a file in any subset")
        assert survey_luna(luna, [0, 1]).counts["nodules"] == 3

    def test_repeated_row_is_a_warning(self, luna):
        _add_row(luna, "1.2,1.0,2,3,4")
        found = survey_luna(luna, [0, 1])
        assert found.warnings == ("annotations.csv: dropped 1 repeated line (5)",)
        assert found.counts["nodules"] == 3

    def test_conflicting_row_is_refused(self, luna):
        _add_row(luna, "1.2,1,2,3,9")
        with pytest.raises(ScanError, match=r"line 5: the diameter is 9\.0 mm, but line 4 gives 4\.0 mm"):
            survey_luna(luna, [0, 1])

    @pytest.mark.parametrize("name", ["1.1.raw", "1.2.zraw"])
    def test_scans_that_are_not_whole_are_a_warning(self, luna, name):
        voxels = luna / "subset0" / name
        voxels.write_bytes(voxels.read_bytes()[:-1])
        (warning,) = survey_luna(luna, [0, 1]).warnings
        assert f"1 scan ({name[:3]}) cannot be read" in warning
        assert "cut short" in warning
        voxels.unlink()
        (warning,) = survey_luna(luna, [0, 1]).warnings
        assert f"its data file {name} is missing" in warning

    def test_missing_folder_and_table(self, tmp_path):
        with pytest.raises(ScanError, match=r"annotations\.csv: no such file"):
            survey_luna(tmp_path / "gone", [0])

    @REAL
    def test_the_published_set_is_known(self, tmp_path):
        tables = Path(os.environ["NODULES_REAL_DATA"]) / "tables" / "luna16"
        uids = (tables / "seriesuids.csv").read_text().split()
        shutil.copy(tables / "annotations.csv", tmp_path)
        _link_all(tmp_path, uids)
        found = survey_luna(tmp_path, range(10))
        assert (found.counts["scans"], found.counts["nodules"], found.counts["scans_without_nodules"]) == (
            888,
            1186,
            287,
        )
        assert found.notes[0] == "LUNA16 is complete: 888 scans, 1186 nodules"
        assert found.warnings == ()
        part = survey_luna(tmp_path, [0])
        assert part.notes[0] == "a part of LUNA16: 89 of 888 scans, 1 of 10 subsets"
        assert part.warnings == ()

    @REAL
    def test_real_slices(self):
        found = survey_luna(Path(os.environ["NODULES_REAL_DATA"]) / "luna16_slices", [0])
        assert found.counts == {"subset0": 67, "scans": 67, "nodules": 112, "scans_without_nodules": 0}
        assert found.warnings == ()


@pytest.fixture
def dsb(tmp_path) -> Path:
    """Three patients; a and b have a label."""
    for patient in "abc":
        (tmp_path / patient).mkdir()
        (tmp_path / patient / "1.dcm").touch()
    (tmp_path / "stage1_labels.csv").write_text("id,cancer\na,0\nb,1\n")
    return tmp_path


class TestDsb:
    """Data Science Bowl 2017."""

    def test_counts_and_what_is_no_fault(self, dsb):
        found = survey_dsb(dsb)
        assert found.counts == {"patients": 3, "labels": 2, "patients_with_label": 2}
        assert found.warnings == ()
        assert found.notes == (
            "the labels differ from those of DSB 2017: 2 in stage1_labels.csv and 0 in stage1_solution.csv instead of "
            "1397 and 198",
            "patients without a label (not used for training): 1",
        )

    def test_solution_gives_the_rest_their_labels(self, dsb):
        (dsb / "stage1_solution.csv").write_text("id,cancer,Usage\nc,1,Public\n")
        found = survey_dsb(dsb)
        assert found.counts == {"patients": 3, "labels": 3, "patients_with_label": 3}
        assert not [note for note in found.notes if "without a label" in note]

    def test_labels_without_folder_are_a_warning(self, dsb):
        (dsb / "stage1_labels.csv").write_text("id,cancer\na,0\nx,1\ny,1\n")
        found = survey_dsb(dsb)
        assert found.warnings == ("2 labels (x, ...) without a folder; not used",)
        assert found.counts == {"patients": 3, "labels": 3, "patients_with_label": 1}

    def test_repeated_rows_and_empty_folders_are_warnings(self, dsb):
        (dsb / "stage1_labels.csv").write_text("id,cancer\na,0\nb,1\na,0\n")
        (dsb / "c" / "1.dcm").unlink()
        assert survey_dsb(dsb).warnings == (
            "stage1_labels.csv: dropped 1 repeated line (4)",
            "1 patient folder (c) without files; no scan to read",
        )

    def test_what_cannot_be_used_is_refused(self, dsb, tmp_path):
        with pytest.raises(ScanError, match="gone does not exist"):
            survey_dsb(tmp_path / "gone")
        (dsb / "stage1_labels.csv").write_text("id,cancer\nx,0\ny,1\n")
        with pytest.raises(ScanError, match=r"none of its 2 patients is among the 3 folders \(the first: a\)"):
            survey_dsb(dsb)
        (dsb / "stage1_labels.csv").write_text("id,cancer\na,0\na,1\n")
        with pytest.raises(ScanError, match="patient a has two values"):
            survey_dsb(dsb)
        (dsb / "stage1_labels.csv").unlink()
        with pytest.raises(ScanError, match=r"stage1_labels\.csv: no such file"):
            survey_dsb(dsb)

    @pytest.mark.skipif(not os.environ.get("NODULES_REAL_DATA"), reason="NODULES_REAL_DATA is not set")
    def test_the_published_set_is_known(self, tmp_path):
        tables = Path(os.environ["NODULES_REAL_DATA"]) / "tables" / "dsb2017"
        ids = [pd.read_csv(tables / f"stage1_{name}.csv")["id"] for name in ("labels", "solution")]
        for patient in pd.concat(ids):
            (tmp_path / patient).mkdir()
            (tmp_path / patient / "1.dcm").touch()
        shutil.copy(tables / "stage1_labels.csv", tmp_path)
        found = survey_dsb(tmp_path)
        assert found.notes == (
            "DSB 2017 is complete: 1595 of 1595 patients, 1397 + 0 labels",
            "patients without a label (not used for training): 198",
        )
        shutil.copy(tables / "stage1_solution.csv", tmp_path)
        found = survey_dsb(tmp_path)
        assert found.notes == ("DSB 2017 is complete: 1595 of 1595 patients, 1397 + 198 labels",)
        assert (found.counts["labels"], found.warnings) == (1595, ())
        shutil.rmtree(tmp_path / ids[0][0])
        assert survey_dsb(tmp_path).notes[0].startswith("a part of DSB 2017: 1594 of 1595 patients")
