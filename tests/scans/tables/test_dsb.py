from __future__ import annotations

import os
from pathlib import Path

import pytest

from nodules.scans.result import ScanError
from nodules.scans.tables.dsb import patient_folders, read_all_labels, read_labels, read_truth, repeated_lines


def _csv(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    return path


def test_patient_folders_are_sorted_and_files_left_out(tmp_path):
    for name in ("b", "a", ".work"):
        (tmp_path / name).mkdir()
    (tmp_path / "stage1_labels.csv").touch()
    assert list(patient_folders(tmp_path).items()) == [("a", tmp_path / "a"), ("b", tmp_path / "b")]


def test_missing_or_empty_root_says_what_to_do(tmp_path):
    with pytest.raises(ScanError, match="gone does not exist; unpack the DSB 2017"):
        patient_folders(tmp_path / "gone")
    with pytest.raises(ScanError, match="holds no patient folder"):
        patient_folders(tmp_path)


def test_labels_by_patient_id(tmp_path):
    labels = read_labels(_csv(tmp_path, "id,cancer\n007,1\nb,0\n"))
    assert labels.to_dict() == {"007": 1, "b": 0}
    assert (labels.name, labels.index.name, labels.dtype.kind) == ("cancer", "id", "i")


def test_no_label_is_an_empty_result(tmp_path):
    assert len(read_labels(_csv(tmp_path, "id,cancer\n"))) == 0


@pytest.mark.parametrize("label", ["2", "-1", "0.5", "yes", ""])
def test_label_that_is_neither_0_nor_1(tmp_path, label):
    with pytest.raises(ScanError, match=r"labels\.csv: expected a label of 0 or 1 for patient b"):
        read_labels(_csv(tmp_path, f"id,cancer\na,0\nb,{label}\n"))


def test_patient_twice_missing_id_missing_column_missing_file(tmp_path):
    with pytest.raises(ScanError, match="patient b has two values of cancer"):
        read_labels(_csv(tmp_path, "id,cancer\nb,0\na,0\nb,1\n"))
    with pytest.raises(ScanError, match="line 3: the id is empty"):
        read_labels(_csv(tmp_path, "id,cancer\nb,0\n,0\n"))
    with pytest.raises(ScanError, match=r"lacks the column\(s\) cancer; it has id, label"):
        read_labels(_csv(tmp_path, "id,label\nb,0\n"))
    with pytest.raises(ScanError, match="no such file; expected a table with the columns id and cancer"):
        read_labels(tmp_path / "gone.csv")
    with pytest.raises(ScanError, match="cannot be read as a table"):
        read_labels(_csv(tmp_path, ""))


def test_repeated_row_is_dropped_and_its_line_known(tmp_path):
    csv = _csv(tmp_path, "id,cancer\nb,0\na,1\nb,0\n b ,0\n")
    assert read_labels(csv).to_dict() == {"b": 0, "a": 1}
    assert repeated_lines(csv) == [4, 5]


def test_labels_of_both_tables(tmp_path):
    (tmp_path / "stage1_labels.csv").write_text("id,cancer\nb,0\na,1\n")
    assert read_all_labels(tmp_path).to_dict() == {"b": 0, "a": 1}
    (tmp_path / "stage1_solution.csv").write_text("id,cancer,Usage\nc,1,Public\na,1,Public\n")
    assert read_all_labels(tmp_path).to_dict() == {"b": 0, "a": 1, "c": 1}
    (tmp_path / "stage1_solution.csv").write_text("id,cancer,Usage\nc,1,Public\na,0,Public\n")
    with pytest.raises(ScanError, match=r"stage1_solution\.csv: patient a has a different label in stage1_labels\.csv"):
        read_all_labels(tmp_path)


def test_truth_of_phantoms(tmp_path):
    assert read_truth(_csv(tmp_path, "id,true_probability\na,0.25\nb,1\n")).to_dict() == {"a": 0.25, "b": 1.0}
    with pytest.raises(ScanError, match=r"expected a probability in 0\.\.1 for patient b, got 1\.5"):
        read_truth(_csv(tmp_path, "id,true_probability\na,0.25\nb,1.5\n"))


@pytest.mark.skipif(not os.environ.get("NODULES_REAL_DATA"), reason="NODULES_REAL_DATA is not set")
def test_real_labels():
    labels = read_labels(Path(os.environ["NODULES_REAL_DATA"]) / "tables" / "dsb2017" / "stage1_labels.csv")
    assert (len(labels), labels.sum()) == (1397, 362)
