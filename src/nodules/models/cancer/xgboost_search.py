"""The search for XGBoost's settings by the log-loss of patients outside the fold.

`search_xgboost` runs it as a study that is kept; `xgboost_tuner` is the same search for use inside a fold.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

import numpy as np
import optuna
import pandas as pd
from annotated_types import Gt
from numpy.typing import NDArray
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import WilcoxonPruner

from nodules.models.cancer.cross_fitting import log_loss
from nodules.models.cancer.estimators import fit_variants
from nodules.models.cancer.feature_selection import screen
from nodules.models.cancer.params import ClassifierParams, XGBoostParams
from nodules.models.cancer.table import LabelledTable, labelled_table, splits
from nodules.models.runtime.seeds import seed_of
from nodules.models.search.fingerprint import fingerprint_of
from nodules.models.search.storage import Place
from nodules.models.search.study import Objective, run_study

NOT_SEARCHED = {"seeds"}
LEAST_FOLDS_TO_PRUNE = 5  # of two equal settings one is worse in all five folds by a chance of 1/32


@dataclass(frozen=True)
class XGBoostSearch:
    """Ranges (low, high) of XGBoost's settings; a trial is judged by `shuffles` divisions of the patients into folds.

    `learning_rate`, `min_child_weight` and `reg_lambda` are searched on a log scale, so their lows are above 0. After
    `time_budget_s` seconds no trial starts any more; the result then depends on the machine's speed.
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
    time_budget_s: Annotated[float, Gt(0)] | None = None


def search_xgboost(
    features: pd.DataFrame,
    labels: pd.Series,
    params: ClassifierParams,
    search: XGBoostSearch,
    seed: int,
    *,
    storage: Place = None,
    fingerprint: str = "",
    workers: int = 1,
    threads: int = 1,
) -> optuna.Study:
    """Run the study; trial 0 has the settings of `params.xgboost`, so the best trial is never worse than these.

    Parameters
    ----------
    features, labels : DataFrame, Series
        The training patients and nobody else, as in `out_of_fold`.
    storage, workers
        As in `run_study`.
    fingerprint : str
        Stands for the code. The data, `params` and the ranges are added here; not the number of trials, so that a
        longer search goes on from a shorter one.
    threads : int
        Of each model; they change its speed only.

    Returns
    -------
    optuna.Study
        Its value is the log-loss of patients outside the fold.
    """
    ranges = replace(search, trials=1, time_budget_s=None)
    return run_study(
        xgboost_objective(features, labels, params, search, seed, threads),
        name="xgboost",
        direction="minimize",
        trials=search.trials,
        seed=seed,
        first_trials=[searched_settings(params.xgboost)],
        storage=storage,
        fingerprint="" if storage is None else fingerprint_of(fingerprint, features, labels, params, ranges),
        workers=workers,
        time_budget_s=search.time_budget_s,
        pruner=fold_pruner(),
    )


def xgboost_tuner(search: XGBoostSearch) -> Callable[[pd.DataFrame, pd.Series, ClassifierParams, int], XGBoostParams]:
    """A function of training patients, settings and seed that gives the best XGBoost settings; it leaves no trace."""

    def tune(features: pd.DataFrame, labels: pd.Series, params: ClassifierParams, seed: int) -> XGBoostParams:
        return best_xgboost(search_xgboost(features, labels, params, search, seed), params.xgboost)

    return tune


def best_xgboost(study: optuna.Study, start: XGBoostParams) -> XGBoostParams:
    """Take the best trial's settings, and from `start` what is not searched."""
    return replace(start, **study.best_params)


def fold_pruner() -> WilcoxonPruner:
    """Give up a trial that is worse than the best one fold by fold (Wilcoxon's signed-rank test, p < 0.1)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return WilcoxonPruner(p_threshold=0.1, n_startup_steps=LEAST_FOLDS_TO_PRUNE)


def suggest_xgboost(trial: optuna.Trial, ranges: XGBoostSearch, start: XGBoostParams) -> XGBoostParams:
    """Draw XGBoost's settings; what is not searched is that of `start`."""
    return replace(
        start,
        learning_rate=trial.suggest_float("learning_rate", *ranges.learning_rate, log=True),
        max_depth=trial.suggest_int("max_depth", *ranges.max_depth),
        n_estimators=trial.suggest_int("n_estimators", *ranges.n_estimators),
        subsample=trial.suggest_float("subsample", *ranges.subsample),
        colsample_bytree=trial.suggest_float("colsample_bytree", *ranges.colsample_bytree),
        min_child_weight=trial.suggest_float("min_child_weight", *ranges.min_child_weight, log=True),
        reg_lambda=trial.suggest_float("reg_lambda", *ranges.reg_lambda, log=True),
        scale_pos_weight=trial.suggest_float("scale_pos_weight", *ranges.scale_pos_weight),
    )


def searched_settings(settings: XGBoostParams) -> dict[str, Any]:
    """Return the settings as a trial of the search."""
    return {name: value for name, value in asdict(settings).items() if name not in NOT_SEARCHED}


def xgboost_objective(
    features: pd.DataFrame,
    labels: pd.Series,
    params: ClassifierParams,
    ranges: XGBoostSearch,
    seed: int,
    threads: int = 1,
) -> Objective:
    """Log-loss of patients outside the fold, over `ranges.shuffles` divisions of all patients into `inner_folds`.

    The folds, the columns chosen in each and the seed of its model are the same in all trials. Each fold is a step
    whose loss is reported, so that a pruner can compare them one by one. One model a fold is fitted, whatever
    `params.xgboost.seeds` says.

    Parameters
    ----------
    features : DataFrame
        One row per training patient, indexed by patient id; the order of the rows does not matter.
    labels : Series of 0 and 1
        The same patients.

    Raises
    ------
    ValueError
        What `fit` raises, and if a class has fewer than two patients.
    """
    table = labelled_table(features, labels)
    folds = list(_folds(table, params, ranges.shuffles, seed))

    def objective(trial: optuna.Trial) -> float:
        settings = replace(params, xgboost=replace(suggest_xgboost(trial, ranges, params.xgboost), seeds=1))
        losses = []
        for step, fold in enumerate(folds):
            losses.append(_loss(table, fold, settings, seed_of(seed, step), threads))
            trial.report(losses[-1], step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(np.average(losses, weights=[len(fold.held_out) for fold in folds]))

    return objective


@dataclass(frozen=True)
class _Fold:
    """Positions of patients, and of the columns that the training patients find worth a model's while."""

    train: NDArray[np.intp]
    held_out: NDArray[np.intp]
    columns: NDArray[np.intp]


def _folds(table: LabelledTable, params: ClassifierParams, shuffles: int, seed: int) -> Iterator[_Fold]:
    for shuffle in range(shuffles):
        for train, held_out in splits(table.truth, params.inner_folds, seed_of(seed, shuffle)):
            columns = screen(table.values[train], table.truth[train], params.max_features)
            yield _Fold(train, held_out, columns)


def _loss(table: LabelledTable, fold: _Fold, params: ClassifierParams, seed: int, threads: int) -> float:
    values = np.ascontiguousarray(table.values[:, fold.columns])
    (model,) = fit_variants("xgboost", values[fold.train], table.truth[fold.train], params, seed, threads)
    return log_loss(table.truth[fold.held_out], model.probabilities(values[fold.held_out]))
