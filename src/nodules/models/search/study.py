"""A study: trials proposed by a seeded sampler, run by one process or by many, killed and taken up again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import joblib
import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.trial import FrozenTrial

from nodules.models.search.fingerprint import fingerprint_of
from nodules.models.search.single_trial import Direction, Objective, TrialTask
from nodules.models.search.storage import Place, TrialStore
from nodules.models.search.trial_claims import TrialClaims
from nodules.models.search.trial_processes import Runner, ThisProcess, WorkerProcesses

IN_FLIGHT = 4
POLL_S = 1.0


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
) -> optuna.Study:
    """Search with a seeded TPE sampler until `trials` trials have an outcome.

    Trials are numbered from 0. Trial n is a pure function of the seed, n and the outcomes of the trials 0 to
    n - `in_flight`, of which it waits for the last. So `in_flight` trials can run at once, and the study is the same
    whatever the number of workers, the order in which they end, and however often any of them was killed. What a dead
    process left unfinished is run again.

    Any number of processes may call this at once with the same storage and the same arguments, on one machine with the
    journal file, on many with the database: they share the trials out, and each returns the same whole study.

    Parameters
    ----------
    objective : callable
        Takes a trial, returns the value to optimise; what it raises ends the study. It may report a value per step
        and raise `optuna.TrialPruned`. With several workers it travels to other processes, which its data must.
    trials : int
        Number of trials with an outcome: all complete without a pruner, otherwise complete or pruned.
    first_trials : sequence of dict
        Settings to try first, in this order, and never to prune: the published ones belong here.
    storage : Path or str, optional
        Journal file, or URL of a database (see `TrialStore`); without it nothing outlives the call.
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
        If a trial's process died three times.
    ConnectionError
        If the database does not answer.
    """
    for what, count in (("trials", trials), ("workers", workers), ("in_flight", in_flight)):
        if count < 1:
            raise ValueError(f"{what} must be at least 1, got {count}")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    task = TrialTask(objective, direction, seed, tuple(first_trials), pruner or NopPruner())
    store = TrialStore.open(storage, f"{name}-{_identity(task, fingerprint, in_flight)}", direction)
    with TrialClaims(store.claims_study) as claims, _runner(task, min(workers, in_flight, trials)) as runner:
        deadline = float("inf") if time_budget_s is None else time.monotonic() + time_budget_s
        finished = _run(store, claims, runner, trials, in_flight, deadline)
    result = optuna.create_study(study_name=name, direction=direction)
    result.add_trials([finished[number] for number in sorted(finished) if number < trials])
    return result


def _identity(task: TrialTask, fingerprint: str, in_flight: int) -> str:
    return fingerprint_of(
        fingerprint,
        task.seed,
        task.direction,
        list(task.first_trials),
        joblib.hash(task.pruner),
        in_flight,
        optuna.__version__,
    )


def _runner(task: TrialTask, workers: int) -> Runner:
    return ThisProcess(task) if workers == 1 else WorkerProcesses(task, workers)


def _run(
    store: TrialStore, claims: TrialClaims, runner: Runner, trials: int, in_flight: int, deadline: float
) -> dict[int, FrozenTrial]:
    while True:
        finished = store.finished()
        todo = [number for number in range(trials) if number not in finished]
        late = bool(finished) and time.monotonic() >= deadline
        if not todo or (late and not runner.running):
            return finished
        for number in [] if late else [number for number in todo if number < todo[0] + in_flight]:
            if not runner.free or number in runner.running or not claims.take(number):
                continue
            # Who held it may have finished it, and ended, since `finished` was read: its claim was free for that.
            if number not in store.finished():
                runner.start(number, [finished[earlier] for earlier in range(number - in_flight + 1)])
        if runner.running:
            for number, trial in runner.finished(POLL_S):
                store.add(number, trial)
        else:
            time.sleep(POLL_S)  # what is left runs elsewhere
