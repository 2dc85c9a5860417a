"""LUNA16's tables of submissions and candidates, right and damaged."""

from __future__ import annotations

import gzip

import pandas as pd
import pytest

from nodules.scans.result import ScanError
from nodules.scans.tables.submission import (
    candidate_table,
    read_excluded,
    read_false_positives,
    read_series_uids,
    read_submission,
    write_submission,
)

ROWS = "seriesuid,coordX,coordY,coordZ,probability\n1.2,-1.5,2,3.25,0.75\n1.2,0,0,0,1e-3\n"


def test_submission_and_back(tmp_path):
    (tmp_path / "a.csv").write_text(ROWS)
    table = read_submission(tmp_path / "a.csv")
    assert table.to_numpy().tolist() == [["1.2", -1.5, 2.0, 3.25, 0.75], ["1.2", 0.0, 0.0, 0.0, 0.001]]
    write_submission(table.assign(more=1), tmp_path / "new" / "b.csv")
    pd.testing.assert_frame_equal(read_submission(tmp_path / "new" / "b.csv"), table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seriesuid,coordX,coordY,coordZ\n1.2,0,0,0\n", "lacks the column.*probability"),
        (ROWS.replace("3.25", "x"), "line 2: expected a series UID and finite numbers"),
        (ROWS + ",0,0,0,0.5\n", "line 4"),
        (ROWS.replace("1e-3", "inf"), "line 3"),
        ("", "cannot be read as a table"),
    ],
)
def test_damaged_submission_names_file_and_line(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ScanError, match=rf"a\.csv.*{message}"):
        read_submission(tmp_path / "a.csv")


def test_missing_files(tmp_path):
    for read in (read_submission, read_excluded, read_series_uids):
        with pytest.raises(ScanError, match="no such file"):
            read(tmp_path / "a.csv")


def test_excluded_findings_of_unknown_size_have_the_official_one(tmp_path):
    with gzip.open(tmp_path / "e.csv.gz", "wt") as file:
        file.write("seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2,1,2,3,-1.0\n1.2,4,5,6,7.5\n1.3,0,0,0,0\n")
    found = read_excluded(tmp_path / "e.csv.gz")
    assert {uid: [finding.diameter_mm for finding in findings] for uid, findings in found.items()} == {
        "1.2": [10.0, 7.5],
        "1.3": [10.0],
    }
    assert found["1.2"][1].centre_world_xyz == (4.0, 5.0, 6.0)


@pytest.mark.parametrize("text", ["1.2\n1.3\n", "seriesuid\n1.2\n1.3\n", '"1.2",\n1.3\n\n'])
def test_series_with_and_without_a_heading(tmp_path, text):
    (tmp_path / "s.csv").write_text(text)
    assert read_series_uids(tmp_path / "s.csv") == ["1.2", "1.3"]


@pytest.mark.parametrize(("text", "message"), [("seriesuid\n", "no series UID"), ("1.2\n1.2\n", "1.2 appears twice")])
def test_series_empty_or_twice(tmp_path, text, message):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(ScanError, match=message):
        read_series_uids(tmp_path / "s.csv")


CANDIDATES = "seriesuid,coordX,coordY,coordZ,class\n1.2,-1.5,2,3.25,0\n1.3,7,8,9,1\n 1.2 ,0,0,1e2,1\n1.2,4,5,6,0\n"


def test_places_of_class_0_by_series(tmp_path):
    (tmp_path / "candidates.csv").write_text(CANDIDATES)
    found = read_false_positives(tmp_path / "candidates.csv")
    assert {uid: places.tolist() for uid, places in found.items()} == {"1.2": [[-1.5, 2.0, 3.25], [4.0, 5.0, 6.0]]}


def test_nothing_but_nodules(tmp_path):
    (tmp_path / "candidates.csv").write_text(
        "\n".join(line for line in CANDIDATES.split("\n") if not line.endswith(",0"))
    )
    assert read_false_positives(tmp_path / "candidates.csv") == {}


def test_second_version_goes_first_and_none_is_no_error(tmp_path):
    assert candidate_table(tmp_path) is None
    (tmp_path / "candidates.csv").write_text(CANDIDATES)
    assert candidate_table(tmp_path) == tmp_path / "candidates.csv"
    (tmp_path / "candidates_V2.csv").write_text(CANDIDATES)
    assert candidate_table(tmp_path) == tmp_path / "candidates_V2.csv"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CANDIDATES.replace(",class", ",kind"), "lacks the column.*class"),
        (CANDIDATES.replace("1e2,1", "1e2,2"), r"line 4: expected .*class 0 or 1, got 1\.2, 0\.0, 0, 100\.0, 2"),
        (CANDIDATES.replace("1e2,1", "1e2,"), "line 4"),
        (CANDIDATES.replace("3.25", "west"), r"line 2: .*got 1\.2, .*west, 0"),
        (CANDIDATES.replace("7,8", "inf,8"), "line 3"),
        (CANDIDATES.replace("1.3,", ","), "line 3"),
        ("", "cannot be read as a table"),
    ],
)
def test_damaged_table_names_file_and_line(tmp_path, text, message):
    (tmp_path / "candidates.csv").write_text(text)
    with pytest.raises(ScanError, match=rf"candidates\.csv.*{message}"):
        read_false_positives(tmp_path / "candidates.csv")


def test_missing_table(tmp_path):
    with pytest.raises(ScanError, match=r"expected LUNA16's candidates\.csv"):
        read_false_positives(tmp_path / "candidates.csv")
