"""Provenance of a run: project folder, Git commit, DVC's hashes of the inputs, and the DVC process that started it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from platform import node
from typing import Any

import psutil
from ruamel.yaml import YAML

LOCK_PATH = Path("dvc.lock")
CLOCK_TOLERANCE_S = 60.0  # a process's start time is derived from the boot time, which clock adjustments shift
EXPERIMENT_RUNS = (["run"], ["exec-run"])  # what follows `dvc exp`; DVC's own workers call `exec-run`


@dataclass(frozen=True)
class PipelineExecution:
    """One execution of ``dvc repro`` or ``dvc exp run``.

    Attributes
    ----------
    process : str
        Name of its process, from `process_name`.
    started : float
        Start time in seconds since 1970.
    """

    process: str
    started: float


def project_root() -> Path:
    """Find the project folder: DVC_ROOT, else the nearest folder upwards with a dvc.yaml, else the current folder.

    ``dvc exp run --temp`` works in a copy of the project, but DVC_ROOT still names the original.
    """
    if os.environ.get("DVC_ROOT"):
        return Path(os.environ["DVC_ROOT"]).resolve()
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "dvc.yaml").exists()), here)


def pipeline_execution() -> PipelineExecution | None:
    """Find the nearest parent process that reproduces a DVC pipeline; None if there is none."""
    try:
        for process in psutil.Process().parents():
            if _reproduces(process.cmdline()):
                return PipelineExecution(process_name(process.pid), process.create_time())
    except psutil.Error:  # the process belongs to another user, or has just ended
        return None
    return None


def process_name(pid: int) -> str:
    """Return a name for a process of this machine: host name and process id."""
    return f"{node()}:{pid}"


def has_ended(process: str, seen: float) -> bool:
    """Tell whether a process has ended that was alive at time `seen` (seconds since 1970).

    For processes of other machines the answer is always False.
    """
    host, _, pid = process.rpartition(":")
    if host != node():
        return False
    try:
        return (
            psutil.Process(int(pid)).create_time() > seen + CLOCK_TOLERANCE_S
        )  # its id now belongs to another process
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def run_tags(lock: Path = LOCK_PATH) -> dict[str, str]:
    """Return tags with the stage, DVC experiment, Git commit and dvc.lock hash of a run; unknown ones are left out."""
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=no")
    tags = {
        "dvc.stage": os.environ.get("DVC_STAGE"),
        "dvc.exp": os.environ.get("DVC_EXP_NAME"),
        "git.commit": commit,
        "git.dirty": None if changes is None else str(bool(changes)).lower(),
        "dvc.lock.md5": md5(lock.read_bytes(), usedforsecurity=False).hexdigest() if lock.exists() else None,
        "mlflow.source.git.commit": commit,
    }
    return {name: value for name, value in tags.items() if value}


def input_md5s(paths: Sequence[Path], lock: Path = LOCK_PATH) -> dict[Path, str | None]:
    """Look up DVC's hash of each path without reading the data.

    Parameters
    ----------
    paths : sequence of Path
        Files or folders as dvc.yaml names them.
    lock : Path
        The pipeline's dvc.lock.

    Returns
    -------
    dict
        MD5 hash per path. The hash of a folder with several outputs is the hash of their hashes. None if DVC does not
        track the path.
    """
    stages = list(_read_yaml(lock).get("stages", {}).values())
    outs, deps = (_md5s(entry for stage in stages for entry in stage.get(kind, ())) for kind in ("outs", "deps"))
    return {path: _md5_of(path, outs, deps) for path in paths}


def _md5_of(path: Path, outs: Mapping[str, str], deps: Mapping[str, str]) -> str | None:
    name = path.as_posix()
    if name in outs:
        return outs[name]
    below = sorted(f"{out} {value}" for out, value in outs.items() if out.startswith(f"{name}/"))
    if below:
        return md5("\n".join(below).encode(), usedforsecurity=False).hexdigest()
    added = _md5s(_read_yaml(path.with_name(f"{path.name}.dvc")).get("outs", ()))  # from `dvc add` or `dvc import-url`
    # A stage's record of its dependency comes last: it is only as recent as the last run of that stage.
    return added.get(path.name) or deps.get(name)


def _md5s(entries: Iterator[Mapping[str, Any]] | Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {str(entry["path"]): str(entry["md5"]) for entry in entries if "md5" in entry}


def _read_yaml(path: Path) -> Mapping[str, Any]:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8")) or {} if path.exists() else {}


def _reproduces(command: Sequence[str]) -> bool:
    """Tell whether a command line is ``dvc repro``, ``dvc exp run``, or DVC's worker process for one experiment."""
    for place, word in enumerate(command[:3]):
        path = Path(word)
        if path.name in {"dvc", "dvc.exe"} or (path.name == "__main__.py" and path.parent.name == "dvc"):
            words = [later for later in command[place + 1 :] if not later.startswith("-")]
            return words[:1] == ["repro"] or (words[:1] in (["exp"], ["experiments"]) and words[1:2] in EXPERIMENT_RUNS)
    return False


def _git(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
