"""One trial of a study as a pure function of the seed, its number and the trials it knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial
from threadpoolctl import threadpool_limits

from nodules.models.runtime.seeds import seed_of

Objective = Callable[[optuna.Trial], float]
Direction = Literal["minimize", "maximize"]


@dataclass(frozen=True)
class TrialTask:
    """What all trials of a study share; it travels to the processes that run them.

    Attributes
    ----------
    objective : callable
        Takes a trial, returns the value to optimise.
    direction : str
        Where better values lie.
    seed : int
        Of the sampler.
    first_trials : tuple of dict
        Settings of the first trials; these are never pruned.
    pruner : BasePruner
        Judges the values that the objective reports.
    """

    objective: Objective
    direction: Direction
    seed: int
    first_trials: tuple[dict[str, Any], ...]
    pruner: BasePruner

    def run(self, number: int, known: Sequence[FrozenTrial]) -> FrozenTrial:
        """Run trial `number`, whose sampler and pruner see the `known` trials, at most `number` of them.

        One thread is left to numerical libraries, so that the same trial gives the same number in any process.

        Returns
        -------
        FrozenTrial
            COMPLETE or PRUNED, with this number.

        Raises
        ------
        ValueError
            If a first trial lies outside the search space or names a setting that does not exist, or the objective
            returns no finite number.
        """
        wanted = self.first_trials[number] if number < len(self.first_trials) else {}
        study = optuna.create_study(
            direction=self.direction,
            sampler=TPESampler(seed=seed_of(self.seed, number)),
            pruner=NopPruner() if wanted else self.pruner,
        )
        study.add_trials(known)
        # Samplers and pruners overlook failed trials: these only let the trial have its own number.
        study.add_trials([create_trial(state=TrialState.FAIL)] * (number - len(known)))
        if wanted:
            study.enqueue_trial(wanted)
        with threadpool_limits(limits=1):
            study.optimize(_checked(self.objective, wanted), n_trials=1)
        return study.trials[-1]


def _checked(objective: Objective, wanted: dict[str, Any]) -> Objective:
    """Refuse, before the trial counts, a value that is no number and wanted settings outside the search space."""

    def checked(trial: optuna.Trial) -> float:
        value = objective(trial)
        if not np.isfinite(value):
            raise ValueError(f"the objective must return a finite number, got {value} for {trial.params}")
        for setting, wish in wanted.items():
            space = trial.distributions.get(setting)
            if space is None:
                raise ValueError(f"a first trial names {setting!r}, the search space has {sorted(trial.params)}")
            if isinstance(space, FloatDistribution | IntDistribution) and not space.low <= wish <= space.high:
                limits = f"{space.low}..{space.high}"
                raise ValueError(f"a first trial must lie in the search space, got {setting} = {wish} outside {limits}")
        return value

    return checked
