"""One classifier at a time, fitted or judged out of fold, where the package fits and judges all of them together."""

import pandas as pd

from nodules.models.cancer import classifier
from nodules.models.cancer.cross_fitting import choose_variants, held_out_predictions, mean_of
from nodules.models.cancer.estimators import families_of
from nodules.models.cancer.table import labelled_table
from nodules.models.runtime.seeds import seed_of


def fit(name, features, labels, params, seed, threads=1):
    """Fit one of `MODEL_NAMES` to all patients, as `nested_validation.fit_models` does."""
    families = families_of(name)
    table = labelled_table(features, labels)
    if not families:
        return classifier.constant(name, table)
    inner = seed_of(seed, classifier._INNER)
    params, held_out = choose_variants(
        params, table, held_out_predictions(families, table, params, inner, folds=params.inner_folds)
    )
    calibration = classifier.calibrate_out_of_fold(name, table, held_out, seed).calibration
    return classifier.fit_learned((name,), table, params, {name: calibration}, seed, threads)[name]


def out_of_fold(name, features, labels, params, seed):
    """Uncalibrated probabilities of each patient by a model that was fitted without them."""
    table = labelled_table(features, labels)
    held_out = held_out_predictions(families_of(name), table, params, seed, folds=params.folds)
    _, held_out = choose_variants(params, table, held_out)
    return pd.Series(mean_of(name, held_out), index=table.patients, name="probability").loc[features.index]
