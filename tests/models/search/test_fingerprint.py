"""Equal data and settings have equal fingerprints, and any change shows."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import pandas as pd

from nodules.models.search.fingerprint import fingerprint_of


@dataclass(frozen=True)
class Ranges:
    trials: int
    depth: tuple[int, int] = (1, 4)


def test_tables_and_settings() -> None:
    table = pd.DataFrame({"a": [1.0, 2.0]}, index=["p", "q"])
    fingerprint = fingerprint_of(table, table["a"], Ranges(3))
    assert fingerprint == fingerprint_of(table.copy(), table["a"].copy(), replace(Ranges(3)))
    changed = [table * 2, table.rename(columns={"a": "b"}), table.rename(index={"p": "z"})]
    others = {fingerprint_of(other, table["a"], Ranges(3)) for other in changed}
    others.add(fingerprint_of(table, table["a"], Ranges(4)))
    assert len(others | {fingerprint}) == 5


def test_files_count_by_what_they_hold(tmp_path) -> None:
    for name in ("here", "there"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "map.nii").write_bytes(b"voxels")
        (tmp_path / name / "deep" / "hu.nii").write_bytes(b"more")
    os.utime(tmp_path / "there" / "map.nii", (0, 0))
    here, there = tmp_path / "here", tmp_path / "there"
    assert fingerprint_of(here) == fingerprint_of(there)
    assert fingerprint_of(here / "map.nii") == fingerprint_of(there / "map.nii")
    (there / "map.nii").write_bytes(b"voxelz")
    assert fingerprint_of(here) != fingerprint_of(there)
    assert fingerprint_of(here / "map.nii") != fingerprint_of(there / "map.nii")


def test_names_within_a_folder_count(tmp_path) -> None:
    (tmp_path / "1.1").write_bytes(b"voxels")
    before = fingerprint_of(tmp_path)
    (tmp_path / "1.1").rename(tmp_path / "1.2")
    assert fingerprint_of(tmp_path) != before


def test_bytes_do_not_run_from_one_part_into_the_next() -> None:
    assert fingerprint_of("ab", "c") != fingerprint_of("a", "bc")
