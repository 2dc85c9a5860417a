"""One function over many scans: progress, resume, failures as rows; local processes or a Dask cluster."""

from __future__ import annotations

import csv
import json
import logging
import os
import re
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError
from threadpoolctl import threadpool_limits

from nodules import progress
from nodules.checkpoint import WaitingScans

logger = logging.getLogger(__name__)

ProcessScan = Callable[[Any, Path], dict[str, Any]]

SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,150}")
NAMED_FAILURES = 5


class TooManyFailures(RuntimeError):  # noqa: N818 - reads as the sentence it is
    """More scans failed than the stage allows, or all of them."""


class WorkerLost(RuntimeError):  # noqa: N818
    """A worker process was ended from outside, most often for want of memory."""


class _DaskWorkerKilled(RuntimeError):  # noqa: N818
    """Dask's KilledWorker under a name that exists without `distributed`."""


@dataclass(frozen=True)
class Failure:
    """One scan that could not be processed; `verdict` is "unusable" where the scan is to blame, else empty."""

    scan: str
    verdict: str
    error: str
    message: str
    trace: str

    def __str__(self) -> str:
        return f"{self.scan}: {self.error}: {self.message}"


@dataclass(frozen=True)
class _Caller:
    folder: Path
    process: int
    unfinished: Path


def map_scans(
    function: ProcessScan,
    items: Mapping[str, Any],
    *,
    stage: str,
    output: Path,
    max_failures: int,
    n_jobs: int | None = None,
) -> list[dict[str, Any]]:
    """Process every scan once and gather files, a manifest and the failures in one folder.

    A finished scan waits in ``.work/<stage>/<hash>/`` until all are done, so that a run killed at any moment continues
    where it was. The hash covers the function with its bound arguments, the package's source, the output path, and size
    and time of every file that the arguments name; each scan's own input files count for that scan.

    Parameters
    ----------
    function : callable
        ``function(item, folder)`` writes the files of one scan into `folder`, private and empty, and returns one
        small JSON-serialisable row. It must be importable (module level or `functools.partial`). Bind everything else
        that decides the result with `functools.partial`; paths among these arguments are watched like inputs.
    items : mapping
        Scan id to what the function needs: paths or small values, no arrays.
    stage : str
        Name for progress and for the folder of finished scans.
    output : Path
        Folder to make. One left by an earlier call is replaced, any other that holds files is refused. Beside the
        files of the scans it gets ``manifest.csv`` (column ``scan``, then those of the rows) and ``failures.csv``.
    max_failures : int
        Scans that may fail without ending the stage.
    n_jobs : int, optional
        Local processes; 1 stays in this process. Default: NODULES_JOBS, or one per core. When NODULES_DASK holds the
        address of a Dask scheduler, its workers are used instead; they must share this file system.

    Returns
    -------
    list of dict
        The manifest's rows, sorted by scan id; the same for any number of workers.

    Raises
    ------
    TooManyFailures
        If more than `max_failures` scans fail, or all of them. There is no output; finished scans stay for the next
        run.
    WorkerLost
        If a worker was killed. Finished scans stay.
    ValueError
        If there are no items, or a scan id cannot be a file name, or two scans wrote the same file.
    """
    _check(items, stage, output)
    waiting = WaitingScans.for_stage(stage, function, output, items)
    waiting.clear_unfinished()
    failures = _run(function, items, stage, waiting, n_jobs)
    _stop_on_failures(stage, failures, len(items), max_failures, waiting.folder)
    rows = _deliver(waiting, sorted(items.keys() - {failure.scan for failure in failures}), failures, output)
    for failure in failures:
        logger.warning("%s: %s", stage, failure)
    return rows


def job_count() -> int:
    """Return the number of local processes: NODULES_JOBS, or one per core."""
    return int(os.environ.get("NODULES_JOBS") or joblib.cpu_count())


def _check(items: Mapping[str, Any], stage: str, output: Path) -> None:
    if not items:
        raise ValueError(f"{stage}: no scans to process; check the stage's inputs and the subsets in params.yaml")
    odd = [key for key in items if not SAFE_NAME.fullmatch(key)]
    if odd:
        raise ValueError(f"{stage}: scan ids must be letters, digits, '.', '_' and '-', got {odd[:NAMED_FAILURES]}")
    if not SAFE_NAME.fullmatch(stage.replace("@", "-")):
        raise ValueError(f"stage must be letters, digits, '.', '_', '-' and '@', got {stage!r}")
    if output.exists() and not (output / "failures.csv").exists() and any(output.iterdir()):
        raise ValueError(
            f"{stage}: {output} holds files that this stage did not write; move them or name another folder"
        )


# --- running ---


def _run(
    function: ProcessScan, items: Mapping[str, Any], stage: str, waiting: WaitingScans, n_jobs: int | None
) -> list[Failure]:
    todo = [key for key in sorted(items) if not waiting.finished(key)]
    bar = progress.bar(stage, len(items), "scan", done=len(items) - len(todo))
    caller = _Caller(Path.cwd(), os.getpid(), waiting.unfinished)
    calls = [(function, key, items[key], waiting.scan_folders[key], caller) for key in todo]
    address = os.environ.get("NODULES_DASK")
    failures = []
    try:
        with bar:
            for failure in _on_dask(calls, address) if address else _on_processes(calls, n_jobs):
                bar.update()
                failures += [failure] if failure else []
    except (TerminatedWorkerError, _DaskWorkerKilled) as error:
        raise _worker_lost(stage, waiting) from error
    return sorted(failures, key=lambda failure: failure.scan)


def _on_processes(calls: Sequence[tuple[Any, ...]], n_jobs: int | None) -> Iterator[Failure | None]:
    wanted = min(n_jobs or job_count(), len(calls))
    backend: dict[str, Any] = {"backend": "sequential"}
    if wanted > 1:
        backend = {"backend": "loky", "n_jobs": wanted, "inner_max_num_threads": 1}
    with joblib.parallel_config(**backend):
        parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1, max_nbytes=None)
        yield from parallel(joblib.delayed(_process)(*call) for call in calls)


def _on_dask(calls: Sequence[tuple[Any, ...]], address: str) -> Iterator[Failure | None]:
    # Not through joblib, which stays in this process when the cluster has one thread so far.
    try:
        from distributed import Client, KilledWorker, as_completed
    except ImportError as error:
        raise ImportError(
            "NODULES_DASK is set, but distributed is not installed; use the environment of `make env`, which holds it, "
            "or run `pip install -e '.[cluster]'` in the project's folder"
        ) from error
    try:
        client = Client(address, timeout="10s")
    except OSError as error:
        raise ConnectionError(f"NODULES_DASK: no Dask scheduler answers at {address}") from error
    with client:
        try:
            for future in as_completed([client.submit(_process, *call, pure=False) for call in calls]):
                yield future.result()
        except KilledWorker as error:
            raise _DaskWorkerKilled(str(error)) from error


def _worker_lost(stage: str, waiting: WaitingScans) -> WorkerLost:
    in_work = sorted({folder.name.split("@")[0] for folder in waiting.unfinished.iterdir()})
    return WorkerLost(
        f"{stage}: a worker process was killed, most often for want of memory, while working on "
        f"{', '.join(in_work) or 'no scan'}. Finished scans are kept in {waiting.folder}: run again, with fewer "
        "processes (NODULES_JOBS) if memory was short."
    )


def _process(function: ProcessScan, key: str, item: Any, finished: Path, caller: _Caller) -> Failure | None:
    """Run in a worker: one scan in a private folder, renamed only when it is complete and on disk."""
    _settle(caller)
    private = Path(tempfile.mkdtemp(prefix=f"{key}@", dir=caller.unfinished))
    try:
        (private / "files").mkdir()
        with threadpool_limits(limits=1):
            row = function(item, private / "files")
        if not isinstance(row, dict):
            raise TypeError(f"wanted one row as dict, got {type(row).__name__}")
        (private / "row.json").write_text(json.dumps(row, default=_number))
        _flush(private)
    except Exception as error:  # noqa: BLE001 - one bad scan, whatever is wrong with it, must not end a run of hours
        shutil.rmtree(private)
        message = " ".join(str(error).split())
        return Failure(key, getattr(error, "verdict", ""), type(error).__name__, message, traceback.format_exc())
    try:
        private.rename(finished)
    except OSError:
        if not finished.is_dir():  # else Dask ran this scan twice, and the other was first
            raise
        shutil.rmtree(private)
    return None


def _settle(caller: _Caller) -> None:
    """Use one thread, and the caller's folder: a worker may be older than this call or live on another machine."""
    os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")
    if os.getpid() != caller.process:  # else TensorFlow has the machine to itself
        os.environ.update({"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"})
    if Path.cwd() != caller.folder:
        os.chdir(caller.folder)


def _number(value: Any) -> Any:
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a row must hold numbers and text, got {type(value).__name__}")


def _flush(folder: Path) -> None:
    """Force all files to the disk, so that a power cut cannot leave empty ones under a finished name."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())


# --- results ---


def _stop_on_failures(stage: str, failures: Sequence[Failure], n_scans: int, max_failures: int, folder: Path) -> None:
    if not failures or (len(failures) <= max_failures and len(failures) < n_scans):
        return
    (folder / "failures.csv").unlink(missing_ok=True)
    _write_failures(folder, failures)
    first = "\n  ".join(str(failure) for failure in failures[:NAMED_FAILURES])
    raise TooManyFailures(
        f"{stage}: {len(failures)} of {n_scans} scans failed, at most {max_failures} may. Finished scans are kept for "
        f"the next run; all failures: {folder / 'failures.csv'}. The first:\n  {first}\n{failures[0].trace}"
    )


def _deliver(
    waiting: WaitingScans, keys: Sequence[str], failures: Sequence[Failure], output: Path
) -> list[dict[str, Any]]:
    together, rows = waiting.gather(keys)
    _write_csv(together / "manifest.csv", rows, ["scan"])
    _write_failures(together, failures)
    if output.exists():
        shutil.rmtree(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(together, output)
    waiting.forget()
    return rows


def _write_failures(folder: Path, failures: Sequence[Failure]) -> None:
    columns = ["scan", "verdict", "error", "message"]
    _write_csv(folder / "failures.csv", [{name: getattr(f, name) for name in columns} for f in failures], columns)


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    columns = list(dict.fromkeys([*columns, *(name for row in rows for name in row)]))
    with path.open("x", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
