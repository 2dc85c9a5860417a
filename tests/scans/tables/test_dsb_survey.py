from __future__ import annotations

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from nodules.scans.result import ScanError
from nodules.scans.tables.surveys import survey_dsb


@pytest.fixture
def dsb(tmp_path) -> Path:
    """Three patients; a and b have a label."""
    for patient in "abc":
        (tmp_path / patient).mkdir()
        (tmp_path / patient / "1.dcm").touch()
    (tmp_path / "stage1_labels.csv").write_text("id,cancer\na,0\nb,1\n")
    return tmp_path


def test_counts_and_what_is_no_fault(dsb):
    found = survey_dsb(dsb)
    assert found.counts == {"patients": 3, "labels": 2, "patients_with_label": 2}
    assert found.warnings == ()
    assert found.notes == (
        "the labels differ from those of DSB 2017: 2 in stage1_labels.csv and 0 in stage1_solution.csv instead of "
        "1397 and 198",
        "patients without a label (not used for training): 1",
    )


def test_solution_gives_the_rest_their_labels(dsb):
    (dsb / "stage1_solution.csv").write_text("id,cancer,Usage\nc,1,Public\n")
    found = survey_dsb(dsb)
    assert found.counts == {"patients": 3, "labels": 3, "patients_with_label": 3}
    assert not [note for note in found.notes if "without a label" in note]


def test_labels_without_folder_are_a_warning(dsb):
    (dsb / "stage1_labels.csv").write_text("id,cancer\na,0\nx,1\ny,1\n")
    found = survey_dsb(dsb)
    assert found.warnings == ("2 labels (x, ...) without a folder; not used",)
    assert found.counts == {"patients": 3, "labels": 3, "patients_with_label": 1}


def test_repeated_rows_and_empty_folders_are_warnings(dsb):
    (dsb / "stage1_labels.csv").write_text("id,cancer\na,0\nb,1\na,0\n")
    (dsb / "c" / "1.dcm").unlink()
    assert survey_dsb(dsb).warnings == (
        "stage1_labels.csv: dropped 1 repeated line (4)",
        "1 patient folder (c) without files; no scan to read",
    )


def test_what_cannot_be_used_is_refused(dsb, tmp_path):
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
def test_the_published_set_is_known(tmp_path):
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
