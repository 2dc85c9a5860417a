"""Table and charts of an Optuna study."""

from __future__ import annotations

import warnings

import numpy as np
import optuna
import pandas as pd
from matplotlib.figure import Figure
from optuna.exceptions import ExperimentalWarning
from optuna.trial import TrialState

MIN_TRIALS_FOR_IMPORTANCE = 4


def trial_table(study: optuna.Study) -> pd.DataFrame:
    """One row per trial: ``number``, ``value``, ``state`` and one column per setting; no times, so it reproduces.

    A pruned trial has no value.
    """
    rows = [
        {
            "number": trial.number,
            "value": trial.value if trial.state == TrialState.COMPLETE else None,
            "state": trial.state.name,
            **trial.params,
        }
        for trial in study.get_trials(deepcopy=False)
    ]
    return pd.DataFrame(rows, columns=None if rows else ["number", "value", "state"])


def study_figures(study: optuna.Study) -> dict[str, Figure]:
    """Optuna's charts: ``history``, ``slice``, and ``importances`` where trials and settings are enough for them."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        return {}
    charts = {"history": "plot_optimization_history", "slice": "plot_slice"}
    values, settings = {trial.value for trial in complete}, complete[0].params
    if len(complete) >= MIN_TRIALS_FOR_IMPORTANCE and len(settings) > 1 and len(values) > 1:
        charts["importances"] = "plot_param_importances"
    return {name: _drawn(function, study) for name, function in charts.items()}


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
