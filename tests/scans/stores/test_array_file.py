"""Arrays of a dataclass on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nodules.scans.result import ScanError
from nodules.scans.stores import array_file


@dataclass(frozen=True)
class Pair:
    """A name and some numbers."""

    name: str
    values: NDArray[np.int16]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).integers(0, 9, (40, 50)).astype(np.int16)
    array_file.save(Pair("a", values), tmp_path / "pair.npz")
    return tmp_path / "pair.npz"


def load(file: Path) -> dict[str, NDArray]:
    return array_file.load(Pair, file, "pair", "make it again")


def test_fields_come_back_and_nothing_else_is_left(file: Path) -> None:
    told = load(file)

    assert set(told) == {"name", "values"}
    assert str(told["name"]) == "a"
    assert told["values"].dtype == np.int16 and told["values"].shape == (40, 50)
    assert [path.name for path in file.parent.iterdir()] == ["pair.npz"]


def test_what_cannot_be_written_leaves_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = file.read_bytes()
    monkeypatch.setattr(np, "savez_compressed", lambda opened, **_: opened.write(b"half") and 1 / 0)

    with pytest.raises(ZeroDivisionError):
        array_file.save(Pair("b", np.zeros(2, dtype=np.int16)), file)

    assert file.read_bytes() == before


def test_any_damage_names_the_file_and_what_to_do(file: Path) -> None:
    whole = file.read_bytes()
    middle = whole.index(b"values.npy") + 200  # inside the compressed numbers: only zlib notices
    for damaged in (b"", whole[:100], whole[:middle] + b"\xff" * 40 + whole[middle + 40 :]):
        file.write_bytes(damaged)
        with pytest.raises(ScanError, match=r"pair\.npz: no readable pair \(.*\); delete it and make it again"):
            load(file)


def test_missing_and_foreign_files(file: Path) -> None:
    np.savez(file, other=np.zeros(3))
    with pytest.raises(ScanError, match="no readable pair"):
        load(file)
    file.unlink()
    with pytest.raises(ScanError, match="no readable pair"):
        load(file)
