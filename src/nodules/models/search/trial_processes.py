"""Processes that run trials: this one, or several beside it of which any may die."""

from __future__ import annotations

import signal
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self, TypeAlias

import cloudpickle
from optuna.trial import FrozenTrial

from nodules.models.search.single_trial import TrialTask

MOST_DEATHS = 3


class WorkerKilled(RuntimeError):  # noqa: N818 - reads as the sentence it is
    """A trial's process died again and again."""


class ThisProcess:
    """Runs one trial at a time, while the caller waits for it in `finished`."""

    def __init__(self, task: TrialTask) -> None:
        self._task = task
        self._started: dict[int, Sequence[FrozenTrial]] = {}

    @property
    def running(self) -> set[int]:
        """Numbers of the trials that were started and not yet handed back."""
        return set(self._started)

    @property
    def free(self) -> int:
        """How many more can be started."""
        return 1 - len(self._started)

    def start(self, number: int, known: Sequence[FrozenTrial]) -> None:
        """Begin a trial, whose sampler and pruner see the `known` ones."""
        self._started[number] = known

    def finished(self, timeout_s: float) -> list[tuple[int, FrozenTrial]]:  # noqa: ARG002 - a Runner
        """Wait for trials to end, at most so long; what an objective raised is raised here."""
        number, known = self._started.popitem()
        return [(number, self._task.run(number, known))]

    def __enter__(self) -> Self:
        """Nothing to prepare."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing to end."""


@dataclass
class _Worker:
    process: BaseProcess
    line: Connection
    number: int | None = None
    known: Sequence[FrozenTrial] = ()


class WorkerProcesses:
    """Runs `count` trials at a time in processes of their own.

    A process that is killed is replaced, and its trial begun anew; after the third death in the same trial that trial
    is taken to be what kills. Workers share nothing with each other and write nowhere: they end with the process that
    started them.

    Raises
    ------
    WorkerKilled
        From `finished`, if a trial lost three processes.
    """

    def __init__(self, task: TrialTask, count: int) -> None:
        self._task = cloudpickle.dumps(task)  # an objective is most often a function within a function
        self._count = count
        self._context = get_context("spawn")  # a fork would copy the threads' locks and not the threads
        self._workers: list[_Worker] = []
        self._deaths: Counter[int] = Counter()

    @property
    def running(self) -> set[int]:
        """Numbers of the trials that were started and not yet handed back."""
        return {worker.number for worker in self._workers if worker.number is not None}

    @property
    def free(self) -> int:
        """How many more can be started."""
        return self._count - len(self.running)

    def start(self, number: int, known: Sequence[FrozenTrial]) -> None:
        """Begin a trial, whose sampler and pruner see the `known` ones."""
        worker = self._idle_worker()
        worker.number, worker.known = number, known
        try:
            worker.line.send((number, known))
        except OSError:  # died idle; `finished` sees it and begins again
            return

    def finished(self, timeout_s: float) -> list[tuple[int, FrozenTrial]]:
        """Wait for trials to end, at most so long; what an objective raised is raised here."""
        busy = {worker.line: worker for worker in self._workers if worker.number is not None}
        outcomes = []
        # The line of a dead process is ready too: reading finds its end.
        for ready in connection.wait(list(busy), timeout_s):
            worker = busy[ready]  # type: ignore[index]
            number = worker.number
            assert number is not None  # noqa: S101
            try:
                answer = worker.line.recv()
            except (EOFError, OSError):
                self._begin_again(worker, number)
                continue
            worker.number = None
            if isinstance(answer, BaseException):
                raise answer
            outcomes.append((number, answer))
        return outcomes

    def __enter__(self) -> Self:
        """Processes start when they have something to do."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End what still runs."""
        for worker in self._workers:
            worker.process.terminate()
            worker.line.close()
        for worker in self._workers:
            worker.process.join()

    def _idle_worker(self) -> _Worker:
        for worker in self._workers:
            if worker.number is None:
                return worker
        here, there = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(there, self._task), daemon=True)
        process.start()
        there.close()  # else this end would never see the other one closed
        self._workers.append(_Worker(process, here))
        return self._workers[-1]

    def _begin_again(self, worker: _Worker, number: int) -> None:
        worker.process.join()
        worker.line.close()
        self._workers.remove(worker)
        self._deaths[number] += 1
        if self._deaths[number] == MOST_DEATHS:
            raise WorkerKilled(
                f"trial {number} lost {MOST_DEATHS} worker processes, the last with exit code "
                f"{worker.process.exitcode}; most often memory was short: try fewer workers (NODULES_JOBS)"
            )
        self.start(number, worker.known)


Runner: TypeAlias = ThisProcess | WorkerProcesses


def _serve(line: Connection, pickled_task: bytes) -> None:
    """Run in a worker: answer each (number, known trials) by a trial or by what was raised, until the line ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the process that started this one ends it
    task: TrialTask | None = None
    while True:
        try:
            number, known = line.recv()
        except (EOFError, OSError):
            return
        try:
            task = task or cloudpickle.loads(pickled_task)
            answer: Any = task.run(number, known)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised again where the study runs
            answer = _portable(error)
        try:
            line.send(answer)
        except OSError:
            return


def _portable(error: Exception) -> Exception:
    """The error with its traceback as a note; a plain one if it cannot travel."""
    trace = traceback.format_exc()
    error.add_note(f"In a worker process:\n{trace}")
    try:
        cloudpickle.loads(cloudpickle.dumps(error))
    except Exception:  # noqa: BLE001 - an exception may do anything when it is made again
        return RuntimeError(f"{type(error).__name__}: {error}\n{trace}")
    return error
