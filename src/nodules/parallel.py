"""Parallel processing of many scans, in local processes or on a Dask cluster, with resume and a table of failures."""

from __future__ import annotations

import csv
import functools
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
from typing import Any, TypeVar

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError
from threadpoolctl import threadpool_limits

from nodules import progress
from nodules.checkpoint import FinishedScans, identity

logger = logging.getLogger(__name__)

ProcessScan = Callable[[Any, Path], dict[str, Any]]

SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,150}")
NAMED_FAILURES = 5
ONE_TENSORFLOW_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
"""Environment of a process that shares the cores with others; TensorFlow reads it when it first computes."""

T = TypeVar("T")


class TooManyFailures(RuntimeError):  # noqa: N818 - the name says what happened
    """More scans failed than the stage allows, or all of them."""


class WorkerLost(RuntimeError):  # noqa: N818
    """A worker process was killed, most often because memory ran out."""


class _DaskWorkerKilled(RuntimeError):  # noqa: N818
    """Stands for Dask's KilledWorker, which cannot be named where `distributed` is not installed."""


@dataclass(frozen=True)
class Failure:
    """One scan that could not be processed; `verdict` is "unusable" if the scan itself is the cause, else empty."""

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
    """Process every scan once and collect the files, a manifest and the failures in one folder.

    A finished scan is kept in ``.work/<stage>/<hash>/`` until all scans are done, so an interrupted run resumes where
    it stopped. The hash covers the function with its bound arguments, the package's source, the output path, and the
    size and modification time of every file that the arguments name. A scan's own input files affect only that scan.

    Parameters
    ----------
    function : callable
        ``function(item, folder)`` writes the files of one scan into `folder`, which is empty and used by no other
        scan, and returns one small JSON-serialisable row. It must be importable (module level or `functools.partial`).
        Bind everything else that affects the result with `functools.partial`. A changed file among these arguments
        invalidates all finished scans.
    items : mapping
        The input of the function by scan id: paths or small values, no arrays.
    stage : str
        Name on the progress bar and of the folder of finished scans.
    output : Path
        Folder to create. A folder written by an earlier call is replaced; any other folder that holds files is an
        error. It holds the files of the scans, ``manifest.csv`` (the column ``scan``, then those of the rows) and
        ``failures.csv``.
    max_failures : int
        Number of scans that may fail without ending the stage.
    n_jobs : int, optional
        Number of local processes; 1 runs in this process. Default: NODULES_JOBS, or one per core. If NODULES_DASK
        holds the address of a Dask scheduler, its workers are used instead; they must share this file system.

    Returns
    -------
    list of dict
        The rows of the manifest, sorted by scan id. They do not depend on the number of workers.

    Raises
    ------
    TooManyFailures
        If more than `max_failures` scans fail, or all of them. No output is written. Finished scans are kept for the
        next run.
    WorkerLost
        If a worker was killed. Finished scans are kept.
    ValueError
        If there are no items, a scan id is not a valid file name, `output` holds files of something else, or two scans
        wrote the same file.
    """
    _check(items, stage, output)
    finished_scans = FinishedScans.for_stage(stage, function, output, items)
    finished_scans.clear_unfinished()
    failures = _run(function, items, stage, finished_scans, n_jobs)
    _stop_on_failures(stage, failures, len(items), max_failures, finished_scans.folder)
    rows = _write_output(
        finished_scans, sorted(items.keys() - {failure.scan for failure in failures}), failures, output
    )
    for failure in failures:
        logger.warning("%s: %s", stage, failure)
    return rows


def load_once(load: Callable[[Path], T], folder: Path) -> T:
    """Load a network in the first call of a process, and again only if another folder or other files are asked for.

    For functions that `map_scans` calls. They import `load` themselves, because the process that hands out the work
    would otherwise load TensorFlow as well.

    Parameters
    ----------
    load : callable
        Reads the folder, for example `Segmenter.load`.
    folder : Path
        What to read. Its files may change while the process lives, as for the worker of a Dask cluster.
    """
    loaded: T = _loaded(load, folder, identity(folder))
    return loaded


@functools.lru_cache(maxsize=1)
def _loaded(load: Callable[[Path], Any], folder: Path, identity: str) -> Any:  # noqa: ARG001 - part of the key
    return load(folder)


def job_count() -> int:
    """Return the number of local processes: NODULES_JOBS, or one per core."""
    return int(os.environ.get("NODULES_JOBS") or joblib.cpu_count())


def _check(items: Mapping[str, Any], stage: str, output: Path) -> None:
    if not items:
        raise ValueError(f"{stage}: no scans to process; check the stage's inputs and the subsets in params.yaml")
    invalid = [key for key in items if not SAFE_NAME.fullmatch(key)]
    if invalid:
        raise ValueError(
            f"{stage}: expected scan ids of letters, digits, '.', '_' and '-', got {invalid[:NAMED_FAILURES]}"
        )
    if not SAFE_NAME.fullmatch(stage.replace("@", "-")):
        raise ValueError(f"expected a stage name of letters, digits, '.', '_', '-' and '@', got {stage!r}")
    if output.exists() and not (output / "failures.csv").exists() and any(output.iterdir()):
        raise ValueError(
            f"{stage}: {output} holds files that this stage did not write; move them or choose another folder"
        )


# --- running ---


def _run(
    function: ProcessScan, items: Mapping[str, Any], stage: str, finished_scans: FinishedScans, n_jobs: int | None
) -> list[Failure]:
    todo = [key for key in sorted(items) if not finished_scans.has(key)]
    bar = progress.bar(stage, len(items), "scan", done=len(items) - len(todo))
    caller = _Caller(Path.cwd(), os.getpid(), finished_scans.unfinished)
    calls = [(function, key, items[key], finished_scans.scan_folders[key], caller) for key in todo]
    address = os.environ.get("NODULES_DASK")
    failures = []
    try:
        with bar:
            for failure in _on_dask(calls, address) if address else _on_processes(calls, n_jobs):
                bar.update()
                failures += [failure] if failure else []
    except (TerminatedWorkerError, _DaskWorkerKilled) as error:
        raise _worker_lost(stage, finished_scans) from error
    return sorted(failures, key=lambda failure: failure.scan)


def _on_processes(calls: Sequence[tuple[Any, ...]], n_jobs: int | None) -> Iterator[Failure | None]:
    n_processes = min(n_jobs or job_count(), len(calls))
    backend: dict[str, Any] = {"backend": "sequential"}
    if n_processes > 1:
        backend = {"backend": "loky", "n_jobs": n_processes, "inner_max_num_threads": 1}
    with joblib.parallel_config(**backend):
        parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1, max_nbytes=None)
        yield from parallel(joblib.delayed(_process)(*call) for call in calls)


def _on_dask(calls: Sequence[tuple[Any, ...]], address: str) -> Iterator[Failure | None]:
    # joblib's Dask backend is not used: while the cluster has a single thread, it runs the calls in this process.
    try:
        from distributed import Client, KilledWorker, as_completed
    except ImportError as error:
        raise ImportError(
            "NODULES_DASK is set, but distributed is not installed; use the environment of `make env`, which includes "
            "it, or run `pip install -e '.[cluster]'` in the project folder"
        ) from error
    try:
        client = Client(address, timeout="10s")
    except OSError as error:
        raise ConnectionError(
            f"NODULES_DASK: no Dask scheduler answers at {address}; start it or unset NODULES_DASK"
        ) from error
    with client:
        try:
            for future in as_completed([client.submit(_process, *call, pure=False) for call in calls]):
                yield future.result()
        except KilledWorker as error:
            raise _DaskWorkerKilled(str(error)) from error


def _worker_lost(stage: str, finished_scans: FinishedScans) -> WorkerLost:
    in_work = sorted({folder.name.split("@")[0] for folder in finished_scans.unfinished.iterdir()})
    return WorkerLost(
        f"{stage}: a worker process was killed, most often because memory ran out, while working on "
        f"{', '.join(in_work) or 'no scan'}. Finished scans are kept in {finished_scans.folder}: run again, with fewer "
        "processes (NODULES_JOBS) if memory was short."
    )


def _process(function: ProcessScan, key: str, item: Any, finished: Path, caller: _Caller) -> Failure | None:
    """Process one scan in a worker: write to a private folder, and rename it once it is complete and on disk."""
    _prepare_worker(caller)
    private = Path(tempfile.mkdtemp(prefix=f"{key}@", dir=caller.unfinished))
    try:
        (private / "files").mkdir()
        with threadpool_limits(limits=1):
            row = function(item, private / "files")
        if not isinstance(row, dict):
            raise TypeError(f"expected the function to return a dict, got {type(row).__name__}")
        (private / "row.json").write_text(json.dumps(row, default=_as_number))
        _flush(private)
    except Exception as error:  # noqa: BLE001 - one bad scan must not end a run of hours, whatever is wrong with it
        shutil.rmtree(private)
        message = " ".join(str(error).split())
        return Failure(key, getattr(error, "verdict", ""), type(error).__name__, message, traceback.format_exc())
    try:
        private.rename(finished)
    except OSError:
        if not finished.is_dir():  # otherwise Dask ran this scan twice, and the other run finished first
            raise
        shutil.rmtree(private)
    return None


def _prepare_worker(caller: _Caller) -> None:
    """Set one thread and the caller's working folder: a worker may predate this call or run on another machine."""
    os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")
    if os.getpid() != caller.process:  # in the caller's own process TensorFlow may use all cores
        os.environ.update(ONE_TENSORFLOW_THREAD)
    if Path.cwd() != caller.folder:
        os.chdir(caller.folder)


def _as_number(value: Any) -> Any:
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"expected a row of numbers and text, got {type(value).__name__}")


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


def _write_output(
    finished_scans: FinishedScans, keys: Sequence[str], failures: Sequence[Failure], output: Path
) -> list[dict[str, Any]]:
    merged, rows = finished_scans.gather(keys)
    _write_csv(merged / "manifest.csv", rows, ["scan"])
    _write_failures(merged, failures)
    if output.exists():
        shutil.rmtree(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(merged, output)
    finished_scans.delete()
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
