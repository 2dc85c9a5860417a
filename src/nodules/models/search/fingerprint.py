"""Short hash of data and settings, equal on every machine."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd


def fingerprint_of(*parts: Any) -> str:
    """Hash tables, dataclasses, plain values, and the contents of files and folders.

    A `Path` counts by what it holds, not by where it lies or when it was written; the files of a folder also by their
    names within it.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            _add_files(digest, part)
        else:
            digest.update(_bytes_of(part))
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def _bytes_of(part: Any) -> bytes:
    if isinstance(part, pd.DataFrame | pd.Series):
        names = list(part.columns) if isinstance(part, pd.DataFrame) else [part.name]
        return (
            json.dumps([str(name) for name in names]).encode() + pd.util.hash_pandas_object(part).to_numpy().tobytes()
        )
    plain = asdict(part) if hasattr(part, "__dataclass_fields__") else part
    return json.dumps(plain, sort_keys=True).encode()


def _add_files(digest: hashlib._Hash, path: Path) -> None:
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    for file in files:
        digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
