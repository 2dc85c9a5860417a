"""LUNA16's tables of candidates, right and damaged."""

from __future__ import annotations

import pytest

from nodules.scans.result import ScanError
from nodules.scans.tables.submission import candidate_table, read_false_positives

ROWS = "seriesuid,coordX,coordY,coordZ,class\n1.2,-1.5,2,3.25,0\n1.3,7,8,9,1\n 1.2 ,0,0,1e2,1\n1.2,4,5,6,0\n"


def test_places_of_class_0_by_series(tmp_path):
    (tmp_path / "candidates.csv").write_text(ROWS)
    found = read_false_positives(tmp_path / "candidates.csv")
    assert {uid: places.tolist() for uid, places in found.items()} == {"1.2": [[-1.5, 2.0, 3.25], [4.0, 5.0, 6.0]]}


def test_nothing_but_nodules(tmp_path):
    (tmp_path / "candidates.csv").write_text("\n".join(line for line in ROWS.split("\n") if not line.endswith(",0")))
    assert read_false_positives(tmp_path / "candidates.csv") == {}


def test_second_version_goes_first_and_none_is_no_error(tmp_path):
    assert candidate_table(tmp_path) is None
    (tmp_path / "candidates.csv").write_text(ROWS)
    assert candidate_table(tmp_path) == tmp_path / "candidates.csv"
    (tmp_path / "candidates_V2.csv").write_text(ROWS)
    assert candidate_table(tmp_path) == tmp_path / "candidates_V2.csv"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ROWS.replace(",class", ",kind"), "lacks the column.*class"),
        (ROWS.replace("1e2,1", "1e2,2"), r"line 4: expected .*class 0 or 1, got 1\.2, 0\.0, 0, 100\.0, 2"),
        (ROWS.replace("1e2,1", "1e2,"), "line 4"),
        (ROWS.replace("3.25", "west"), r"line 2: .*got 1\.2, .*west, 0"),
        (ROWS.replace("7,8", "inf,8"), "line 3"),
        (ROWS.replace("1.3,", ","), "line 3"),
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
