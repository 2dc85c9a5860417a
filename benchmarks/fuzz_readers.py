"""Fuzz test of the scan readers: a mutated DICOM series, zip or volume file must yield a scan or a ScanError.

Run it as `PYTHONPATH=tests python benchmarks/fuzz_readers.py --runs 500 --seed 2017`. The same seed gives the same
files. `--case N` reads one of them again in this process, with its traceback. Every case runs in its own child process,
with limits on time and memory.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

from mutated_scans import Files, mutated, write_seeds
from nodules.imaging.geometry.volume import AIR_HU, MAX_HU
from nodules.scans.read import read_scan, read_scan_bytes
from nodules.scans.result import Reading, ReadingParams, ScanError

PARAMS = ReadingParams(max_gap_mm=10.0, max_tilt_degrees=30.0, max_thickness_mm=3.0)
MEMORY_BYTES = 2 * 2**30
READ, REFUSED, FAILED = "read", "refused", "FAILED"
_FORK = multiprocessing.get_context("fork")  # the libraries are loaded once


@dataclass(frozen=True)
class Outcome:
    """Outcome of one case.

    Attributes
    ----------
    how : str
        `READ`, `REFUSED` or `FAILED`.
    words : str
        The refusal, or what went wrong.
    memory_bytes : int
        Growth of the child's peak resident memory.
    seconds : float
        Run time.
    """

    how: str
    words: str
    memory_bytes: int
    seconds: float


def main() -> int:
    """Print a table of the outcomes, and every failure with the command that repeats it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=2017)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--seconds", type=float, default=60.0, help="longest time for one case")
    parser.add_argument("--case", type=int, help="read this one only, here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        seeds = _seeds(Path(folder))
        if arguments.case is not None:
            print(check_case(seeds, arguments.seed, arguments.case))
            return 0
        _check_seeds(seeds)
        tasks = [partial(check_case, seeds, arguments.seed, index) for index in range(arguments.runs)]
        outcomes = list(run_all(tasks, arguments.jobs, arguments.seconds))
    return report([kind_of(seeds, index) for index in range(arguments.runs)], outcomes, arguments.seed)


def check_case(seeds: dict[str, Files], seed: int, index: int) -> str:
    """Read one mutated scan, from disk or from bytes; return the refusal, or an empty string if it was read.

    Raises
    ------
    RuntimeError
        If the result is not a valid scan, the refusal gives no reason, or a file is left behind.
    """
    random = np.random.default_rng([seed, index])
    files = mutated(seeds[kind_of(seeds, index)], random)
    return _read(files, is_sent=len(files.contents) == 1 and random.random() < 0.5)


def kind_of(seeds: dict[str, Files], index: int) -> str:
    """Kind of scan of a case; the kinds alternate."""
    return list(seeds)[index % len(seeds)]


def run_all(tasks: Sequence[Callable[[], str]], jobs: int, seconds: float) -> Iterator[Outcome]:
    """Run every task in a child process, `jobs` at a time, and yield the outcomes in the order of the tasks."""
    running: list[_Child] = []
    for task in tasks:
        while len(running) >= jobs:
            yield running.pop(0).outcome()
        running.append(_Child.start(task, seconds))
    for child in running:
        yield child.outcome()


def report(kinds: list[str], outcomes: list[Outcome], seed: int) -> int:
    """Print the table and the failures; return 1 if there are failures, else 0."""
    counts = Counter((kind, outcome.how) for kind, outcome in zip(kinds, outcomes, strict=True))
    print("| scan | read | refused | failed |\n| --- | ---: | ---: | ---: |")
    for kind in sorted(set(kinds)):
        print(f"| {kind} |", " | ".join(str(counts[kind, how]) for how in (READ, REFUSED, FAILED)), "|")
    total = Counter(outcome.how for outcome in outcomes)
    print(f"| all {len(outcomes)} | {total[READ]} | {total[REFUSED]} | {total[FAILED]} |")
    print(f"\nMost memory for one case: {max(o.memory_bytes for o in outcomes) / 2**20:.0f} MiB over the libraries.")
    print(f"Longest case: {max(o.seconds for o in outcomes):.1f} s.")
    for index, outcome in enumerate(outcomes):
        if outcome.how == FAILED:
            print(f"\nFAILED: --seed {seed} --case {index} ({kinds[index]}):\n{outcome.words}")
    return min(total[FAILED], 1)


@dataclass(frozen=True)
class _Child:
    """A task in its own process, which sends its outcome through a pipe."""

    process: BaseProcess
    answer: Connection
    started: float
    seconds: float

    @classmethod
    def start(cls, task: Callable[[], str], seconds: float) -> _Child:
        answer, theirs = _FORK.Pipe(duplex=False)
        process = _FORK.Process(target=_run, args=(task, theirs))
        process.start()
        theirs.close()
        return cls(process, answer, time.monotonic(), seconds)

    def outcome(self) -> Outcome:
        left = self.started + self.seconds - time.monotonic()
        try:
            if self.answer.poll(max(left, 0.0)):
                return self.answer.recv()
            self.process.kill()
            return Outcome(FAILED, f"still running after {self.seconds:g} s", 0, self.seconds)
        except EOFError:
            self.process.join()
            return Outcome(FAILED, f"the process died with status {self.process.exitcode}", 0, 0.0)
        finally:
            self.process.join()
            self.answer.close()


def _run(task: Callable[[], str], answer: Connection) -> None:
    """Run a task under a memory limit and send its outcome; output of libraries is suppressed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space_bytes() + MEMORY_BYTES,) * 2)
    before, started = _peak_bytes(), time.monotonic()
    try:
        words = task()
        how = REFUSED if words else READ
    except BaseException:  # noqa: BLE001 any exception is a finding
        how, words = FAILED, traceback.format_exc()
    memory_bytes = _peak_bytes() - before
    if memory_bytes > MEMORY_BYTES:
        how, words = FAILED, f"took {memory_bytes} bytes"
    answer.send(Outcome(how, words, memory_bytes, time.monotonic() - started))


def _read(files: Files, *, is_sent: bool) -> str:
    with tempfile.TemporaryDirectory() as folder:
        given = files.write(Path(folder))
        before = sorted(Path(folder).rglob("*"))
        try:
            _check_reading(read_scan_bytes(given.read_bytes(), PARAMS) if is_sent else read_scan(given, PARAMS))
            return ""
        except ScanError as error:
            if len(str(error)) < len("the sent scan: why"):
                raise RuntimeError(f"a refusal that says nothing: '{error}'") from error
            return str(error).replace(folder, "")
        finally:
            if sorted(Path(folder).rglob("*")) != before:
                raise RuntimeError("files were left beside the scan")


def _check_reading(reading: Reading) -> None:
    voxels = reading.volume.voxels_zyx
    if voxels.dtype != np.int16 or not voxels.size or voxels.min() < AIR_HU or voxels.max() > MAX_HU:
        raise RuntimeError(f"read as {voxels.dtype} of shape {voxels.shape}, {voxels.min()} to {voxels.max()}")
    if not np.isfinite([*reading.volume.spacing_zyx_mm, *reading.volume.origin_xyz_mm]).all():
        raise RuntimeError(f"read with the geometry {reading.volume.spacing_zyx_mm} {reading.volume.origin_xyz_mm}")


def _seeds(folder: Path) -> dict[str, Files]:
    """Valid scans, written in a child process: threads that a library starts here would be missing after a fork."""
    writer = _FORK.Process(target=write_seeds, args=(folder,))
    writer.start()
    writer.join()
    if writer.exitcode:
        sys.exit("the valid scans could not be written")
    return {kind.name: Files.of(kind) for kind in sorted(folder.iterdir())}


def _check_seeds(seeds: dict[str, Files]) -> None:
    """Stop if a valid scan is refused: mutating it would test nothing."""
    unchanged = [partial(_read, files, is_sent=False) for files in seeds.values()]
    for kind, outcome in zip(seeds, run_all(unchanged, 1, 60.0), strict=True):
        if outcome.how != READ:
            sys.exit(f"{kind} is not read even unchanged: {outcome.words}")


def _address_space_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable()
    sys.exit(main())
