"""The fuzzer of the readers sees what it looks for, and repeats itself."""

from __future__ import annotations

import importlib
import io
import os
import signal
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
import pytest

from nodules.imaging.geometry.volume import Volume
from nodules.scans.volume_files.writer import write_volume
from support.code_graph import PROJECT
from support.dicom_files import write_series, zip_folder

HU_ZYX = np.random.default_rng(3).integers(-1000, 2000, (3, 5, 6)).astype(np.int16)


@pytest.fixture(scope="module", autouse=True)
def benchmarks_folder() -> Iterator[None]:
    """No package holds the benchmarks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PROJECT / "benchmarks"))
        yield


@pytest.fixture
def mutations() -> ModuleType:
    return importlib.import_module("mutated_scans")


@pytest.fixture
def fuzzer() -> ModuleType:
    return importlib.import_module("fuzz_readers")


@pytest.fixture
def scans(mutations, tmp_path) -> dict[str, Any]:
    """A DICOM series, its zip and a MetaImage."""
    write_series(tmp_path / "series", HU_ZYX)
    (tmp_path / "zip").mkdir()
    zip_folder(tmp_path / "series", tmp_path / "zip" / "scan.zip")
    (tmp_path / "metaimage").mkdir()
    write_volume(Volume(HU_ZYX, (2.5, 0.6, 0.8)), tmp_path / "metaimage" / "scan.mhd", compress=False)
    return {kind: mutations.Files.of(tmp_path / kind) for kind in ("metaimage", "series", "zip")}


def changes(mutations: ModuleType, scan: Any) -> list[dict[str, bytes]]:
    return [dict(mutations.mutated(scan, np.random.default_rng([5, k])).contents) for k in range(30)]


@pytest.mark.parametrize("kind", ["metaimage", "series", "zip"])
def test_seed_repeats_every_change(mutations, scans, kind, monkeypatch):
    first = changes(mutations, scans[kind])
    monkeypatch.setattr("time.time", lambda: 2e9)  # whenever it is
    assert changes(mutations, scans[kind]) == first
    assert sum(files != dict(scans[kind].contents) for files in first) > 25
    assert len({repr(files) for files in first}) > 25


def test_every_change_of_bytes_changes_some(mutations):
    data = np.random.default_rng(0).bytes(3000)
    for mutation in mutations.BYTE_MUTATIONS:
        found = [mutation(data, np.random.default_rng(k)) for k in range(10)]
        assert sum(changed != data for changed in found) >= 5, mutation.__name__
        assert max(map(len, found)) <= 2 * len(data)
        assert isinstance(mutation(b"", np.random.default_rng(0)), bytes)


def test_an_edited_tag_leaves_a_dicom_file_with_one_difference(mutations, scans):
    data = next(iter(scans["series"].contents.values()))
    before = pydicom.dcmread(io.BytesIO(data))
    kept = 0
    for k in range(20):
        after = pydicom.dcmread(io.BytesIO(mutations.edit_tag(data, np.random.default_rng(k))))
        assert len(after) >= len(before) - 1
        kept += sum(after.get(element.tag) == element for element in before) == len(before) - 1
    assert kept >= 15


def test_an_edited_header_keeps_the_voxels_where_they_are(mutations, scans):
    header = scans["metaimage"].contents["scan.mhd"]
    found = [mutations.edit_text_header(header, np.random.default_rng(k)) for k in range(20)]
    assert all(edited.endswith(header[header.index(b"ElementDataFile") :]) for edited in found)
    assert len(set(found)) > 10


def test_an_edited_zip_is_a_zip(mutations, scans):
    data = scans["zip"].contents["scan.zip"]
    edited = mutations.edit_member(data, np.random.default_rng(1))
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(io.BytesIO(edited)) as new:
        assert new.namelist() == old.namelist()
        assert sum(new.read(name) != old.read(name) for name in old.namelist()) == 1


def test_a_case_is_read_or_refused(fuzzer, scans):
    words = [fuzzer.check_case(scans, 2017, index) for index in range(30)]
    assert 0 < sum(not text for text in words) < 30
    assert not any(tempfile.gettempdir() in text for text in words)


def raise_key_error() -> str:
    raise KeyError("a tag")


def sleep_for_ever() -> str:
    time.sleep(600)
    return ""


def die() -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


def take_3_gigabytes() -> str:
    return str(len(bytes(3 * 2**30)))


def test_outcomes_in_their_order(fuzzer):
    tasks = [raise_key_error, lambda: "", sleep_for_ever, lambda: "too short", die, take_3_gigabytes]
    found = list(fuzzer.run_all(tasks, jobs=2, seconds=3.0))
    assert [outcome.how for outcome in found] == ["FAILED", "read", "FAILED", "refused", "FAILED", "FAILED"]
    for outcome, words in zip(
        found, ["KeyError: 'a tag'", "", "running", "short", "status -9", "MemoryError"], strict=True
    ):
        assert words in outcome.words


def test_a_failure_is_told_with_its_seed_and_counted(fuzzer, capsys):
    outcomes = list(fuzzer.run_all([lambda: "", raise_key_error, lambda: "not DICOM"], jobs=1, seconds=30.0))
    assert fuzzer.report(["zip", "zip", "series"], outcomes, seed=9) == 1
    shown = capsys.readouterr().out
    assert "| zip | 1 | 0 | 1 |" in shown
    assert "| all 3 | 1 | 1 | 1 |" in shown
    assert "--seed 9 --case 1 (zip)" in shown
    assert fuzzer.report(["zip"], outcomes[:1], seed=9) == 0


def test_what_is_left_beside_a_scan_is_a_failure(fuzzer, mutations, scans, monkeypatch):
    def untidy(path: Path, params: object) -> None:
        (path / "left").touch()
        raise fuzzer.ScanError("refused for no reason at all")

    monkeypatch.setattr(fuzzer, "read_scan", untidy)
    with pytest.raises(RuntimeError, match="left beside"):
        fuzzer.check_case({"series": scans["series"]}, 1, 0)
