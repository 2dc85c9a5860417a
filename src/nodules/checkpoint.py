"""Finished scans of a running stage, kept in a work folder so that an interrupted run can resume."""

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
class FinishedScans:
    """Folder with one sub-folder per finished scan; a sub-folder whose name starts with a dot is not a scan."""

    folder: Path
    scan_folders: Mapping[str, Path]

    @classmethod
    def for_stage(
        cls, stage: str, function: Callable[..., Any], output: Path, items: Mapping[str, Any]
    ) -> FinishedScans:
        """Name the folders by a hash of everything that affects the result.

        Parameters
        ----------
        stage : str
            Name of the folder under ``.work`` of the project (DVC_ROOT, or the current folder).
        function : callable
            The function that processes a scan, with its bound arguments. The hash also covers the package's source.
        output : Path
            Final folder of the scans. It is part of the hash, so two stages with the same settings never share a
            folder.
        items : mapping
            The input of each scan, by scan id.
        """
        folder = work_folder(stage, (function, str(output.resolve())))
        return cls(folder, {key: folder / f"{key}@{identity(item)}" for key, item in items.items()})

    @property
    def unfinished(self) -> Path:
        """Folder that holds one private folder per scan in progress."""
        return self.folder / ".unfinished"

    def has(self, key: str) -> bool:
        """Return whether this scan is finished for its present input."""
        return self.scan_folders[key].is_dir()

    def clear_unfinished(self) -> None:
        """Delete scans that an interrupted run left incomplete."""
        shutil.rmtree(self.unfinished, ignore_errors=True)
        self.unfinished.mkdir(parents=True, exist_ok=True)

    def gather(self, keys: Iterable[str]) -> tuple[Path, list[dict[str, Any]]]:
        """Link the files of these scans into one folder, and return it with the rows in the same order.

        The files are linked, not moved, so the finished scans stay complete if this is interrupted.

        Raises
        ------
        ValueError
            If two scans wrote the same file.
        """
        merged = self.folder / ".output"
        shutil.rmtree(merged, ignore_errors=True)
        merged.mkdir()
        rows = []
        for key in keys:
            _link_files(self.scan_folders[key] / "files", merged, key)
            rows.append({"scan": key} | json.loads((self.scan_folders[key] / "row.json").read_text(encoding="utf-8")))
        return merged, rows

    def delete(self) -> None:
        """Delete the folder with all finished scans."""
        shutil.rmtree(self.folder)


def work_folder(stage: str, settings_and_inputs: Any) -> Path:
    """Return the folder for a stage's intermediate results; each combination of settings and inputs has its own."""
    root = Path(os.environ.get("DVC_ROOT") or ".").resolve()
    return root / ".work" / stage / identity((settings_and_inputs, source_md5()))


def identity(value: Any) -> str:
    """Short hash of a value, and of the size and modification time of every file that it names."""
    marks = [(str(path), _file_marks(path)) for path in _paths_in(value)]
    return md5(f"{joblib.hash(value)}{marks}".encode(), usedforsecurity=False).hexdigest()[:12]


def source_md5() -> str:
    """Hash the package's source, so that results of other code are never reused."""
    digest = md5(usedforsecurity=False)
    for file in sorted(PACKAGE.rglob("*.py")):
        digest.update(f"{file.relative_to(PACKAGE)}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _link_files(source: Path, target: Path, key: str) -> None:
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        new = target / file.relative_to(source)
        if new.exists():
            raise ValueError(
                f"{key} wrote {new.relative_to(target)}, which another scan wrote too; "
                "include the scan id in each file name"
            )
        new.parent.mkdir(parents=True, exist_ok=True)
        try:
            new.hardlink_to(file)
        except OSError:  # the file system has no hard links
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
    # The voxels of a MetaImage header lie in a second file beside it.
    voxel_files = [path.with_suffix(end) for end in (".raw", ".zraw")] if path.suffix == ".mhd" else []
    files = [path, *voxel_files] if not path.is_dir() else sorted(p for p in path.rglob("*") if p.is_file())
    found = [(file, file.stat()) for file in files if file.exists()]
    return [(str(file), stat.st_size, stat.st_mtime_ns) for file, stat in found]
