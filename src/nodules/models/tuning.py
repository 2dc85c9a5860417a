"""Optuna studies that can be killed and resumed, and the search spaces of the pipeline."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import optuna
import pandas as pd
from annotated_types import Gt
from matplotlib.figure import Figure
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import TPESampler
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from sklearn.metrics import log_loss

from nodules.models.classifier import ClassifierParams, XGBoostParams, out_of_fold

Objective = Callable[[optuna.Trial], float]
MIN_TRIALS_FOR_IMPORTANCE = 4


@dataclass(frozen=True)
class SegmentationSearch:
    """Ranges (low, high) of the settings that turn a probability map into nodules.

    `threshold` is a share of each nodule's peak. `allowed_false_positives` per scan are free in the score searched for.
    """

    trials: Annotated[int, Gt(0)]
    allowed_false_positives: Annotated[float, Gt(0)]
    threshold: tuple[float, float]
    dilation_mm: tuple[float, float]
    min_probability: tuple[float, float]


@dataclass(frozen=True)
class XGBoostSearch:
    """Ranges (low, high) of XGBoost's settings; each trial is the mean over `shuffles` divisions into folds.

    `learning_rate`, `min_child_weight` and `reg_lambda` are searched on a log scale, so their lows are above 0.
    """

    trials: Annotated[int, Gt(0)]
    shuffles: Annotated[int, Gt(0)]
    learning_rate: tuple[float, float]
    max_depth: tuple[int, int]
    n_estimators: tuple[int, int]
    subsample: tuple[float, float]
    colsample_bytree: tuple[float, float]
    min_child_weight: tuple[float, float]
    reg_lambda: tuple[float, float]
    scale_pos_weight: tuple[float, float]


def run_study(
    objective: Objective,
    *,
    name: str,
    direction: Literal["minimize", "maximize"],
    trials: int,
    seed: int,
    first_trials: Sequence[dict[str, Any]] = (),
    journal: Path | None = None,
    fingerprint: str = "",
) -> optuna.Study:
    """Search with a seeded TPE sampler until `trials` trials are complete.

    The sampler is seeded anew for each trial by how many are complete, so a study that was killed and resumed tries the
    same values as one that ran through. What a dead process left unfinished is given up and tried again.

    Parameters
    ----------
    objective : callable
        Takes a trial, returns the value to optimise; what it raises ends the study.
    first_trials : sequence of dict
        Settings to try first, in this order: the published ones belong here.
    journal : Path, optional
        File that keeps the trials, used by one process at a time; without it nothing outlives the call.
    fingerprint : str
        Stands for the data and the search space (see `fingerprint_of`). With another one, another seed or other first
        trials the journal's earlier trials are not taken up.

    Returns
    -------
    optuna.Study
        In memory, with exactly the complete trials, numbered from 0.

    Raises
    ------
    ValueError
        If a first trial lies outside the search space or names a setting that does not exist, or the objective returns
        no finite number.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    identity = fingerprint_of(fingerprint, seed, direction, list(first_trials))
    study = optuna.create_study(
        storage=_storage(journal), study_name=f"{name}-{identity}", direction=direction, load_if_exists=True
    )
    _give_up_unfinished(study)
    for index in range(len(_complete(study)), trials):
        wanted = first_trials[index] if index < len(first_trials) else {}
        study.sampler = TPESampler(seed=_seed_of(seed, index))
        if wanted:
            study.enqueue_trial(wanted)
        study.optimize(_checked(objective, wanted), n_trials=1)
    result = optuna.create_study(study_name=name, direction=direction)
    result.add_trials(_complete(study)[:trials])
    return result


def fingerprint_of(*parts: Any) -> str:
    """Short hash of tables, dataclasses and plain values; equal parts give equal hashes on every machine."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(_bytes_of(part) + b"\0")
    return digest.hexdigest()[:16]


def trial_table(study: optuna.Study) -> pd.DataFrame:
    """One row per trial: ``number``, ``value``, ``state`` and one column per setting; no times, so it reproduces."""
    rows = [
        {"number": trial.number, "value": trial.value, "state": trial.state.name, **trial.params}
        for trial in study.get_trials(deepcopy=False)
    ]
    return pd.DataFrame(rows, columns=None if rows else ["number", "value", "state"])


def study_figures(study: optuna.Study) -> dict[str, Figure]:
    """Optuna's charts: ``history``, ``slice``, and ``importances`` where trials and settings are enough for them."""
    complete = _complete(study)
    if not complete:
        return {}
    charts = {"history": "plot_optimization_history", "slice": "plot_slice"}
    values, settings = {trial.value for trial in complete}, complete[0].params
    if len(complete) >= MIN_TRIALS_FOR_IMPORTANCE and len(settings) > 1 and len(values) > 1:
        charts["importances"] = "plot_param_importances"
    return {name: _drawn(function, study) for name, function in charts.items()}


def suggest_segmentation(trial: optuna.Trial, ranges: SegmentationSearch) -> dict[str, float]:
    """Draw ``threshold``, ``dilation_mm`` and ``min_probability``, the fields of `SegmentationSettings`."""
    return {
        "threshold": trial.suggest_float("threshold", *ranges.threshold),
        "dilation_mm": trial.suggest_float("dilation_mm", *ranges.dilation_mm),
        "min_probability": trial.suggest_float("min_probability", *ranges.min_probability),
    }


def suggest_xgboost(trial: optuna.Trial, ranges: XGBoostSearch) -> XGBoostParams:
    """Draw XGBoost's settings; they are named as in `XGBoostParams`, so `XGBoostParams(**study.best_params)` works."""
    return XGBoostParams(
        learning_rate=trial.suggest_float("learning_rate", *ranges.learning_rate, log=True),
        max_depth=trial.suggest_int("max_depth", *ranges.max_depth),
        n_estimators=trial.suggest_int("n_estimators", *ranges.n_estimators),
        subsample=trial.suggest_float("subsample", *ranges.subsample),
        colsample_bytree=trial.suggest_float("colsample_bytree", *ranges.colsample_bytree),
        min_child_weight=trial.suggest_float("min_child_weight", *ranges.min_child_weight, log=True),
        reg_lambda=trial.suggest_float("reg_lambda", *ranges.reg_lambda, log=True),
        scale_pos_weight=trial.suggest_float("scale_pos_weight", *ranges.scale_pos_weight),
    )


def xgboost_objective(
    features: pd.DataFrame,
    labels: pd.Series,
    params: ClassifierParams,
    ranges: XGBoostSearch,
    seed: int,
    threads: int = 1,
) -> Objective:
    """Log-loss of out-of-fold predictions, averaged over `ranges.shuffles` divisions of the patients into folds."""

    def objective(trial: optuna.Trial) -> float:
        settings = replace(params, xgboost=suggest_xgboost(trial, ranges))
        losses = []
        for shuffle in range(ranges.shuffles):
            chances = out_of_fold("xgboost", features, labels, settings, _seed_of(seed, shuffle), threads)
            losses.append(log_loss(labels.loc[chances.index], chances, labels=[0, 1]))
        return float(np.mean(losses))

    return objective


def _storage(journal: Path | None) -> InMemoryStorage | JournalStorage:
    if journal is None:
        return InMemoryStorage()
    journal.parent.mkdir(parents=True, exist_ok=True)
    _cut_torn_line(journal)
    return JournalStorage(JournalFileBackend(str(journal)))


def _cut_torn_line(journal: Path) -> None:
    """Drop a last line that a power cut left half written: the next one would be glued to it and spoil the file."""
    if not journal.exists():
        return
    whole = journal.read_bytes().rfind(b"\n") + 1
    if whole < journal.stat().st_size:
        with journal.open("r+b") as file:
            file.truncate(whole)


def _give_up_unfinished(study: optuna.Study) -> None:
    # Not queued again by value: the same seed and history draw the same values, also those not yet drawn.
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    for _ in study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        study.tell(study.ask(), state=TrialState.FAIL)


def _complete(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


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


def _seed_of(seed: int, index: int) -> int:
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0] >> 1)


def _bytes_of(part: Any) -> bytes:
    if isinstance(part, pd.DataFrame | pd.Series):
        names = list(part.columns) if isinstance(part, pd.DataFrame) else [part.name]
        return (
            json.dumps([str(name) for name in names]).encode() + pd.util.hash_pandas_object(part).to_numpy().tobytes()
        )
    plain = asdict(part) if hasattr(part, "__dataclass_fields__") else part
    return json.dumps(plain, sort_keys=True).encode()


def _drawn(function: str, study: optuna.Study) -> Figure:
    # Optuna draws through pyplot, which keeps every figure alive until it is closed, and changes the global style.
    from matplotlib import pyplot as plt

    with plt.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        axes = getattr(optuna.visualization.matplotlib, function)(study)
    figure: Figure = np.ravel(axes)[0].figure
    figure.set_layout_engine("constrained")
    plt.close(figure)
    return figure
