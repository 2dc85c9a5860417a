"""The search for XGBoost's settings, as a study that is kept and as a tuner for use inside a fold."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import optuna
import pandas as pd
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import WilcoxonPruner

from nodules.models.cancer.params import ClassifierParams, XGBoostParams
from nodules.models.cancer.xgboost_objective import XGBoostSearch, searched_settings, xgboost_objective
from nodules.models.search.fingerprint import fingerprint_of
from nodules.models.search.storage import Place
from nodules.models.search.study import run_study

__all__ = [
    "XGBoostSearch",
    "best_xgboost",
    "fold_pruner",
    "search_xgboost",
    "xgboost_tuner",
]

LEAST_FOLDS_TO_PRUNE = 5  # of two equal settings one is worse in all five folds by a chance of 1/32


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
    """Run the study; trial 0 has the settings of `params.xgboost`, which `best_xgboost` can therefore not fall behind.

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
