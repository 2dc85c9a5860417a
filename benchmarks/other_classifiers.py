"""Other classifiers for the cancer probability: each alone, and as a member of the average.

PYTHONPATH=src:benchmarks python benchmarks/other_classifiers.py FEATURES.csv.gz LABELS.csv --repeats 4

The labelled patients are cross-validated, with new folds in each repeat. Features are selected in each fold, and
nothing is calibrated. The change of the average is given with the standard error of the patients' mean change of loss.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import joblib
import numpy as np
from scipy.special import expit, logit
from threadpoolctl import threadpool_limits

from nodules import params
from nodules.log_loss import log_losses
from nodules.models.cancer.cross_fitting import HeldOut, choose_variants, held_out_predictions, mean_of
from nodules.models.cancer.estimators import AVERAGED, FAMILIES
from nodules.models.cancer.feature_selection import screen
from nodules.models.cancer.params import ClassifierParams
from nodules.models.cancer.table import LabelledTable, labelled_table, splits
from nodules.models.runtime.seeds import seed_of
from nodules.parallel import job_count
from nodules.stages.shared.patients import Patients
from rival_classifiers import RIVALS, Array, Model, Rival

SEED, ALL_COLUMNS = 2017, 10**6


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--repeats", type=int, default=4)
    chosen = parser.parse_args()
    patients = Patients.load(chosen.features, chosen.labels)
    table = labelled_table(patients.features, patients.labels)
    seeds = [seed_of(SEED, repeat) for repeat in range(chosen.repeats)]
    members = [_members(table, seed) for seed in seeds]
    average = _losses(table, [mean_of("average", one) for one in members])
    print(f"| | alone | the average of {', '.join(AVERAGED)}: {average.mean():.4f} |\n| --- | ---: | --- |", flush=True)
    for family in FAMILIES:
        print(_row(family, _losses(table, [one[family][:, 0] for one in members])))
    odds = [np.asarray(expit(np.mean([_log_odds(one[name][:, 0]) for name in AVERAGED], axis=0))) for one in members]
    print(_row("log-odds averaged, not probabilities", None, f"itself {_change(_losses(table, odds) - average)}"))
    for rival in RIVALS:
        alone = [_held_out(rival, table, seed) for seed in seeds]
        kept = [family for family in AVERAGED if family != rival.replaces]
        joined = [
            np.mean([*(one[family][:, 0] for family in kept), new], axis=0)
            for one, new in zip(members, alone, strict=True)
        ]
        place = f"in place of {rival.replaces}" if rival.replaces else "as one more"
        change = f"{place} {_change(_losses(table, joined) - average)}"
        print(_row(f"{rival.name}, {rival.columns} columns", _losses(table, alone), change), flush=True)


def _members(table: LabelledTable, seed: int) -> HeldOut:
    """Held-out probabilities of the project's own models, with the penalty chosen on all patients."""
    settings = params.load("classifier", ClassifierParams)
    found = held_out_predictions(FAMILIES, table, settings, seed, folds=settings.folds, jobs=job_count())
    return choose_variants(settings, table, found)[1]


def _held_out(rival: Rival, table: LabelledTable, seed: int) -> Array:
    settings = params.load("classifier", ClassifierParams)
    columns = settings.max_features if rival.columns == "screened" else ALL_COLUMNS
    division = list(splits(table.truth, settings.folds, seed))
    parts = joblib.Parallel(n_jobs=job_count())(
        joblib.delayed(_predict)(rival.model, table.rows(train), table.values[unseen], columns, seed_of(seed, fold))
        for fold, (train, unseen) in enumerate(division)
    )
    probabilities = np.empty(len(table.truth))
    for (_, unseen), part in zip(division, parts, strict=True):
        probabilities[unseen] = part
    return probabilities


def _predict(model: Model, training: LabelledTable, unseen: Array, columns: int, seed: int) -> Array:
    kept = screen(training.values, training.truth, columns)
    with threadpool_limits(1):
        return model(training.values[:, kept], training.truth, unseen[:, kept], seed % 2**31)


def _log_odds(probabilities: Array) -> Array:
    return np.asarray(logit(np.clip(probabilities, 1e-6, 1 - 1e-6)))


def _losses(table: LabelledTable, repeats: Sequence[Array]) -> Array:
    """Loss of each patient, averaged over the repeats."""
    floor = 1 / (2 * (len(table.truth) + 1))
    return np.asarray(log_losses(table.truth, repeats, floor).mean(axis=0))


def _change(change: Array) -> str:
    return f"{change.mean():+.4f} ± {change.std(ddof=1) / np.sqrt(len(change)):.4f}"


def _row(name: str, alone: Array | None, change: str = "") -> str:
    return f"| {name} | {'' if alone is None else f'{alone.mean():.4f}'} | {change} |"


if __name__ == "__main__":
    main()
