"""Optuna study with a seeded sampler, run by one or several processes; it resumes after a kill."""

from __future__ import annotations

import copy
import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import joblib
import numpy as np
import optuna
from joblib.externals.loky.process_executor import TerminatedWorkerError
from optuna import Study
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler, PartialFixedSampler, TPESampler
from optuna.storages import fail_stale_trials
from optuna.trial import FrozenTrial, TrialState
from threadpoolctl import threadpool_limits

from nodules.models.runtime.seeds import seed_of
from nodules.models.search.fingerprint import fingerprint_of
from nodules.models.search.storage import Place, TryAgain, is_stale, opened

Objective = Callable[[optuna.Trial], float]
Direction = Literal["minimize", "maximize"]
Space = dict[str, BaseDistribution]

IN_FLIGHT = 4
POLL_S = 1.0
MOST_DEATHS = 3
HAS_HEARTBEAT = "has heartbeat"
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


class WorkerKilled(RuntimeError):  # noqa: N818 - reads as the sentence it is
    """Worker processes died again and again."""


def run_study(
    objective: Objective,
    *,
    name: str,
    direction: Direction,
    trials: int,
    seed: int,
    first_trials: Sequence[dict[str, Any]] = (),
    storage: Place = None,
    fingerprint: str = "",
    workers: int = 1,
    in_flight: int = IN_FLIGHT,
    time_budget_s: float | None = None,
    pruner: BasePruner | None = None,
) -> Study:
    """Search with a seeded TPE sampler until `trials` trials are complete or pruned.

    Trial n, from 0, depends on the seed, n and the outcomes of the trials 0 to n - `in_flight`, and starts when these
    are there. So the study is the same for any number of workers and machines, and however often any of them was
    killed. An unfinished trial of a dead process is tried again: at once if a worker died, at the next start if the
    process that calls this died, and with a database when its heartbeat has been missing for two minutes. Machines that
    call this with the same database and arguments share the trials out, and each returns the whole study.

    Parameters
    ----------
    objective : callable
        Takes a trial, returns the value to optimise; what it raises ends the study. It may report a value per step
        and raise `optuna.TrialPruned`. With several workers it travels to other processes, which its data must.
    trials : int
        Number of trials that are complete or pruned in the end.
    first_trials : sequence of dict
        Settings to try first, in this order, and never to prune: the published ones belong here.
    storage : Path or str, optional
        Journal file, or URL of a database (see `opened`); without it nothing outlives the call.
    fingerprint : str
        Stands for the data, the code and the search space (see `fingerprint_of`). With another one, another seed,
        direction, pruner, `in_flight` or Optuna, or other first trials, earlier trials are not taken up.
    workers : int
        Processes that run trials; more than `in_flight` of them have nothing to do. 1 is this process itself.
    in_flight : int
        Trials that may run at once, by all workers of all machines together. Part of the result: the sampler does not
        know the outcome of the `in_flight` - 1 trials before its own.
    time_budget_s : float, optional
        After so many seconds no trial starts any more. One trial is always run. The result then depends on the speed
        of the machine.
    pruner : optuna.pruners.BasePruner, optional
        Judges what the objective reports against the trials known to the sampler. Without it none is pruned.

    Returns
    -------
    optuna.Study
        In memory, with exactly the complete and pruned trials, numbered as above; with a time budget some numbers may
        be missing, and those after them move up.

    Raises
    ------
    ValueError
        If there are no trials or workers to run, a first trial lies outside the search space or names a setting that
        does not exist, or the objective returns no finite number.
    WorkerKilled
        If worker processes were killed three times.
    ConnectionError
        If the database does not answer.
    """
    for what, count in (("trials", trials), ("workers", workers), ("in_flight", in_flight)):
        if count < 1:
            raise ValueError(f"{what} must be at least 1, got {count}")
    workers = min(workers, in_flight, trials)
    pruner, first = pruner or NopPruner(), tuple(first_trials)
    settings = (seed, direction, list(first), joblib.hash(pruner), in_flight, optuna.__version__)
    view = _View(seed, first, in_flight, pruner)
    deadline = float("inf") if time_budget_s is None else time.monotonic() + time_budget_s
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _no_experimental_warnings(), opened(storage, for_processes=workers > 1) as kept:
        study = optuna.create_study(
            storage=kept,
            study_name=f"{name}-{fingerprint_of(fingerprint, *settings)}",
            direction=direction,
            sampler=view,
            pruner=view,
            load_if_exists=True,
        )
        search = _Search(study, view, objective, trials, deadline, os.getpid(), shared=isinstance(storage, str))
        finished = search.run(workers)
    result = optuna.create_study(study_name=name, direction=direction)
    result.add_trials([finished[number] for number in sorted(finished)])
    return result


class _View(BaseSampler, BasePruner):
    """Samples and prunes trial n from the seed, n and the outcomes of the trials 0 to n - `in_flight` alone.

    Of the trial in work it holds `number`, the settings `given` for it, and a study of the `known` trials; it is
    `in_turn` if it has no outcome and all that it may know have one.
    """

    def __init__(self, seed: int, first_trials: Sequence[dict[str, Any]], in_flight: int, pruner: BasePruner) -> None:
        self._seed, self._first_trials, self.in_flight, self._pruner = seed, first_trials, in_flight, pruner

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        attempts = _attempts(study)
        finished = _finished(attempts)
        self.number = next(n for n, tried in attempts.items() if trial.number in [one.number for one in tried])
        before = range(self.number - self.in_flight + 1)
        self.in_turn = self.number not in finished and finished.keys() >= set(before)
        self.given = self._first_trials[self.number] if self.number < len(self._first_trials) else {}
        self.known = optuna.create_study(direction=study.direction)
        self.known.add_trials([finished[n] for n in before if n in finished])
        # The constant liar looks at running trials, which are not in `known`.
        tpe = TPESampler(seed=seed_of(self._seed, self.number), constant_liar=False)
        self._sampler = PartialFixedSampler(self.given, tpe)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> Space:  # noqa: ARG002
        return self._sampler.infer_relative_search_space(self.known, trial)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: Space) -> dict[str, Any]:  # noqa: ARG002
        return self._sampler.sample_relative(self.known, trial, search_space)

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any) -> Any:  # noqa: ARG002
        return self._sampler.sample_independent(self.known, trial, param_name, param_distribution)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:  # noqa: ARG002
        return not self.given and self._pruner.prune(self.known, trial)


class _TooEarlyError(Exception):
    """Two processes asked for one trial at the same time, and this one was given a trial that must wait."""


@dataclass
class _Search:
    """Starts trials and tries them again; it travels to the worker processes."""

    study: Study
    view: _View
    objective: Objective
    trials: int
    deadline: float
    launcher: int
    shared: bool

    def run(self, workers: int) -> dict[int, FrozenTrial]:
        deaths = 0
        while self._in_turn() and not self._late():
            self._queue_again()
            tasks = [joblib.delayed(self.run_next)()] * self._startable()
            if not tasks:
                time.sleep(POLL_S)  # what is left runs on another machine
                continue
            try:
                joblib.Parallel(n_jobs=workers, backend="loky", batch_size=1, max_nbytes=None)(tasks)
            except TerminatedWorkerError as error:
                deaths += 1
                if deaths == MOST_DEATHS:
                    raise WorkerKilled(
                        f"worker processes were killed {MOST_DEATHS} times; most often memory was short: try fewer "
                        "workers (NODULES_JOBS)"
                    ) from error
        return {n: trial for n, trial in _finished(_attempts(self.study)).items() if n < self.trials}

    def run_next(self) -> None:
        """Run a trial, unless there is none: another machine may have taken it, or time is up."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        orphaned = self.launcher not in (os.getpid(), os.getppid())  # a worker outlives a launcher that was killed
        # One thread, so that a trial gives the same number in any process.
        with _no_experimental_warnings(), threadpool_limits(limits=1):
            if not orphaned and not self._late() and self._startable():
                self.study.optimize(self._checked, n_trials=1, catch=(_TooEarlyError,))

    def _checked(self, trial: optuna.Trial) -> float:
        """Refuse, before the trial counts, a value that is no number and given settings outside the search space."""
        if not self.view.in_turn or self.view.number >= self.trials:
            raise _TooEarlyError("another process took the trial that was next; this one is tried again in its turn")
        if self.shared:
            trial.storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]
            trial.set_user_attr(HAS_HEARTBEAT, True)
        value = self.objective(trial)
        if not np.isfinite(value):
            raise ValueError(f"the objective must return a finite number, got {value} for {trial.params}")
        for setting, wish in self.view.given.items():
            space = trial.distributions.get(setting)
            if space is None:
                raise ValueError(f"a first trial names {setting!r}, the search space has {sorted(trial.params)}")
            if isinstance(space, FloatDistribution | IntDistribution) and not space.low <= wish <= space.high:
                limits = f"{space.low}..{space.high}"
                raise ValueError(f"a first trial must lie in the search space, got {setting} = {wish} outside {limits}")
        return value

    def _late(self) -> bool:
        return time.monotonic() >= self.deadline and bool(_finished(_attempts(self.study)))

    def _in_turn(self) -> dict[int, list[FrozenTrial]]:
        """Return the attempts at each unfinished trial for which all trials that it may know are finished."""
        attempts = _attempts(self.study)
        unfinished = sorted(set(range(self.trials)) - _finished(attempts).keys())
        return {n: attempts.get(n, []) for n in unfinished if n < unfinished[0] + self.view.in_flight}

    def _startable(self) -> int:
        return sum(all(attempt.state != TrialState.RUNNING for attempt in tried) for tried in self._in_turn().values())

    def _queue_again(self) -> None:
        """Queue the trials that a dead process or an error has left unfinished."""
        fail_stale_trials(self.study)
        for attempt in [attempt for tried in self._in_turn().values() for attempt in tried]:
            if attempt.state == TrialState.RUNNING and self._is_abandoned(attempt):
                self.study.tell(attempt.number, state=TrialState.FAIL, skip_if_finished=True)
        for tried in self._in_turn().values():
            if tried and all(attempt.state == TrialState.FAIL for attempt in tried):
                TryAgain()(self.study, copy.deepcopy(tried[-1]))

    def _is_abandoned(self, attempt: FrozenTrial) -> bool:
        if not self.shared:
            return True  # no other process holds this study
        # Optuna overlooks a process that died before the first heartbeat of its trial.
        started = attempt.datetime_start or datetime.now()
        return HAS_HEARTBEAT not in attempt.user_attrs and is_stale(started)


def _no_experimental_warnings() -> warnings.catch_warnings[None]:
    return warnings.catch_warnings(action="ignore", category=ExperimentalWarning)


def _attempts(study: Study) -> dict[int, list[FrozenTrial]]:
    """Return the attempts at each trial, the earliest first.

    Optuna numbers attempts without gap or double, so all processes agree about the numbers of the trials.
    """
    attempts: dict[int, list[FrozenTrial]] = {}
    for attempt in study.get_trials(deepcopy=False):
        first = TryAgain.retried_trial_number(attempt)
        attempts.setdefault(attempt.number if first is None else first, []).append(attempt)
    return dict(enumerate(attempts.values()))


def _finished(attempts: dict[int, list[FrozenTrial]]) -> dict[int, FrozenTrial]:
    """Return the first complete or pruned attempt at each trial that has one."""
    found = {n: [attempt for attempt in tried if attempt.state in FINISHED] for n, tried in attempts.items()}
    return {n: finished[0] for n, finished in found.items() if finished}
