"""Finished scans of a stage that still runs: they wait in a work folder and survive a killed run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from hashlib import md5
from pathlib import Path
from typing import Any

import joblib

PACKAGE = Path(__file__).parent


@dataclass(frozen=True)
class WaitingScans:
    """The folder in which finished scans wait, one sub-folder each; names with a leading dot are not scans."""

    folder: Path
    scan_folders: Mapping[str, Path]

    @classmethod
    def for_stage(
        cls, stage: str, function: Callable[..., Any], output: Path, items: Mapping[str, Any]
    ) -> WaitingScans:
        """Name the folders after all that decides the result.

        Parameters
        ----------
        stage : str
            Folder under ``.work`` of the project (DVC_ROOT, or the current folder).
        function : callable
            What processes a scan, with its bound arguments; the package's source is added here.
        output : Path
            Where the scans will go, so that two stages with the same settings never share a folder.
        items : mapping
            Scan id to the scan's own input.
        """
        folder = work_folder(stage, (function, str(output.resolve())))
        return cls(folder, {key: folder / f"{key}@{identity(item)}" for key, item in items.items()})

    @property
    def unfinished(self) -> Path:
        """Folder of the private folders of the scans in work."""
        return self.folder / ".unfinished"

    def finished(self, key: str) -> bool:
        """Tell whether this scan, with this input, is done."""
        return self.scan_folders[key].is_dir()

    def clear_unfinished(self) -> None:
        """Drop what a killed run left half done."""
        shutil.rmtree(self.unfinished, ignore_errors=True)
        self.unfinished.mkdir(parents=True, exist_ok=True)

    def gather(self, keys: Iterable[str]) -> tuple[Path, list[dict[str, Any]]]:
        """Link the files of these scans into one folder; their rows come in the same order.

        Links, not moves: whenever this is interrupted, the finished scans are still whole.

        Raises
        ------
        ValueError
            If two scans wrote the same file.
        """
        together = self.folder / ".output"
        shutil.rmtree(together, ignore_errors=True)
        together.mkdir()
        rows = []
        for key in keys:
            _link_files(self.scan_folders[key] / "files", together, key)
            rows.append({"scan": key} | json.loads((self.scan_folders[key] / "row.json").read_text(encoding="utf-8")))
        return together, rows

    def forget(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder)


def work_folder(stage: str, decides_result: Any) -> Path:
    """Name the folder in which a stage keeps what must survive a kill; other settings or inputs have another one."""
    root = Path(os.environ.get("DVC_ROOT") or ".").resolve()
    return root / ".work" / stage / identity((decides_result, source_md5()))


def identity(value: Any) -> str:
    """Short hash of a value and of size and time of every file that it names."""
    marks = [(str(path), _file_marks(path)) for path in _paths_in(value)]
    return md5(f"{joblib.hash(value)}{marks}".encode(), usedforsecurity=False).hexdigest()[:12]


def source_md5() -> str:
    """Hash the package's source: what other code would have found is not taken up."""
    digest = md5(usedforsecurity=False)
    for file in sorted(PACKAGE.rglob("*.py")):
        digest.update(f"{file.relative_to(PACKAGE)}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _link_files(source: Path, target: Path, key: str) -> None:
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        new = target / file.relative_to(source)
        if new.exists():
            raise ValueError(f"{key} wrote {new.relative_to(target)}, which another scan wrote too")
        new.parent.mkdir(parents=True, exist_ok=True)
        try:
            new.hardlink_to(file)
        except OSError:  # a file system without hard links
            shutil.copy2(file, new)


def _paths_in(value: Any) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, partial):
        yield from _paths_in((value.args, value.keywords))
    elif isinstance(value, Mapping):
        yield from _paths_in(tuple(value.values()))
    elif is_dataclass(value) and not isinstance(value, type):
        yield from _paths_in(tuple(getattr(value, field.name) for field in fields(value)))
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _paths_in(part)


def _file_marks(path: Path) -> list[tuple[str, int, int]]:
    # A MetaImage header names its voxels' file, which lies beside it.
    beside = [path.with_suffix(end) for end in (".raw", ".zraw")] if path.suffix == ".mhd" else []
    files = [path, *beside] if not path.is_dir() else sorted(p for p in path.rglob("*") if p.is_file())
    found = [(file, file.stat()) for file in files if file.exists()]
    return [(str(file), stat.st_size, stat.st_mtime_ns) for file, stat in found]
