"""Tables of features as people have them, and what is said about those that cannot be used."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nodules.scans.result import ScanError
from nodules.scans.tables.features import read_features

TABLE = "patient_id,size,hu\n007,1.5,-20\nb2,,30\n"
WANTED = pd.DataFrame({"size": [1.5, np.nan], "hu": [-20.0, 30.0]}, index=pd.Index(["007", "b2"], name="id"))


def written(folder: Path, text: str, name: str = "features.csv") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["features.csv", "features.csv.gz", "FEATURES.CSV"])
def test_ids_stay_words_and_empty_cells_are_missing(tmp_path, name):
    pd.testing.assert_frame_equal(read_features(written(tmp_path, TABLE, name)), WANTED)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + TABLE,
        TABLE.replace("\n", "\r\n"),
        TABLE.replace("007", " 007 "),
        TABLE.replace("hu", " hu "),
        TABLE.replace(",,", ",nan,"),
    ],
    ids=["byte order mark", "Windows", "spaces", "spaces in the head", "nan"],
)
def test_quirks_that_change_nothing(tmp_path, text):
    pd.testing.assert_frame_equal(read_features(written(tmp_path, text)), WANTED)


def test_parquet_with_ids_as_a_column_or_as_index(tmp_path):
    WANTED.reset_index().to_parquet(tmp_path / "column.parquet")
    WANTED.to_parquet(tmp_path / "index.parquet")
    for name in ("column", "index"):
        pd.testing.assert_frame_equal(read_features(tmp_path / f"{name}.parquet"), WANTED)


def test_parquet_with_numbers_as_ids(tmp_path):
    pd.DataFrame({"id": [7, 8], "size": [1, 2]}).to_parquet(tmp_path / "a.parquet")
    assert list(read_features(tmp_path / "a.parquet").index) == ["7", "8"]


def test_column_without_any_value_and_true_or_false(tmp_path):
    table = read_features(written(tmp_path, "id,never,flag\na,,True\nb,,False\n"))
    assert table["never"].isna().all()
    assert table["flag"].tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as a table"),
        ("id,size\n", "at least one patient, got 0 rows"),
        ("id\na\nb\n", "got 2 rows and 1 columns"),
        ("id;size\na;1\n", "got 1 rows and 1 columns"),
        ("id,size\na,1\nb,2\na,3\n", "patient 'a' appears more than once"),
        ("id,size\n a,1\na,2\n", "patient 'a' appears more than once"),
        ("id,size,size\na,1,2\n", "column 'size' appears more than once"),
        ("id,size\n,1\n", "row 1 has no patient id"),
        ("id,size,side\na,1,left\nb,2,right\n", "got 'left' in 'side'"),
        ("id,size\na,1\nb,about 3\n", "got 'about 3' in 'size'"),
        ("id,size\na,inf\n", "infinite value in 'size'"),
        ("id,size\na,1,2,3\n", "cannot be read as a table: Length of header"),
        ("\x00\x01\x02", "table|patient id"),
    ],
)
def test_unusable_tables_are_refused_in_words(tmp_path, text, message):
    with pytest.raises(ScanError, match=message) as refused:
        read_features(written(tmp_path, text))
    assert "features.csv" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("table.xlsx", b"x", r"ends in \.csv, \.csv\.gz, \.parquet"),
        ("broken.parquet", b"no parquet", "cannot be read as a table"),
        ("broken.csv.gz", b"no gzip", "cannot be read as a table"),
    ],
)
def test_other_files_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ScanError, match=message):
        read_features(tmp_path / name)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ScanError, match=r"nowhere\.csv: no such file"):
        read_features(tmp_path / "nowhere.csv")
