"""A study whose objective is a bowl, in this process and in ones that are killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from nodules.models.search.charts import trial_table
from nodules.models.search.study import run_study

FIRST = {"x": 3.0, "y": 1.0}
PROGRAM = """
import json, os, sys, time
from pathlib import Path
from nodules.models.search import storage
from nodules.models.search.study import run_study

settings = json.loads(sys.argv[1])
marks, seconds = Path(settings.pop("marks")), settings.pop("seconds")
storage.HEARTBEAT_S, storage.STALE_S = 1, 4
if "://" not in settings["storage"]:
    settings["storage"] = Path(settings["storage"])

def objective(trial):
    (marks / f"{trial.number}-{os.getpid()}-{time.monotonic_ns()}").touch()
    x, y = trial.suggest_float("x", -5, 5), trial.suggest_float("y", -5, 5)
    time.sleep(seconds)
    return (x - 1) ** 2 + (y + 2) ** 2

if __name__ == "__main__":
    run_study(objective, name="bowl", direction="minimize", first_trials=[{"x": 3.0, "y": 1.0}], **settings)
"""


def bowl(trial: optuna.Trial) -> float:
    """Smallest, 0, at x = 1, y = -2."""
    return (trial.suggest_float("x", -5, 5) - 1) ** 2 + (trial.suggest_float("y", -5, 5) + 2) ** 2


def stepwise(trial: optuna.Trial) -> float:
    """The bowl, reported three times, for pruners."""
    value = bowl(trial)
    for step in range(3):
        trial.report(value, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return value


def study_of(objective: Callable[[optuna.Trial], float] = bowl, trials: int = 15, **changes: Any) -> optuna.Study:
    """The study that `started` runs elsewhere."""
    settings = {"name": "bowl", "direction": "minimize", "trials": trials, "seed": 7, "first_trials": [FIRST]}
    return run_study(objective, **(settings | changes))


def values_of(study: optuna.Study) -> dict[str, list[Any]]:
    """Everything that must be equal, to the last digit."""
    return trial_table(study).to_dict("list")


def study_in(storage: BaseStorage, **how: Any) -> optuna.Study:
    """The one study that is kept there."""
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage, **how)


def kept(storage: BaseStorage) -> list[int]:
    """Number of the trial of each complete attempt, in order."""
    attempts = study_in(storage).trials
    firsts = {attempt.number: attempt.system_attrs.get("failed_trial", attempt.number) for attempt in attempts}
    numbers = {first: number for number, first in enumerate(sorted(set(firsts.values())))}
    return sorted(numbers[firsts[attempt.number]] for attempt in attempts if attempt.state == TrialState.COMPLETE)


def started(folder: Path, storage: Path | str, trials: int, workers: int, seconds: float = 0.1) -> subprocess.Popen:
    """A process of its own session that runs the study and leaves a file in `folder` for each trial it begins."""
    import json

    folder.mkdir(exist_ok=True)
    settings = {"marks": str(folder), "seconds": seconds, "storage": str(storage), "trials": trials, "seed": 7}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, json.dumps(settings | {"workers": workers})],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def wait_for_trials(folder: Path, count: int, timeout_s: float = 120.0) -> list[tuple[int, int]]:
    """Number and process of the trials begun so far, once there are `count`, the last one last."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        marks = sorted(folder.iterdir(), key=lambda path: int(path.name.split("-")[2]))
        if len(marks) >= count:
            return [(int(number), int(pid)) for number, pid, _ in (path.name.split("-") for path in marks)]
        time.sleep(0.01)
    raise TimeoutError(f"{count} trials wanted within {timeout_s} s, got {len(list(folder.iterdir()))}")
