"""The families of models behind one shape: fitted to arrays, asked for probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from xgboost import XGBClassifier

from nodules.models.cancer.params import MODEL_NAMES, ClassifierParams, ModelName, XGBoostParams
from nodules.models.cancer.penalised_logistic import fit_path
from nodules.models.runtime.seeds import seed_of

Family = Literal["random_forest", "extra_trees", "logistic", "xgboost"]
FAMILIES: tuple[Family, ...] = ("random_forest", "extra_trees", "logistic", "xgboost")
AVERAGED: tuple[Family, ...] = ("logistic", "extra_trees", "xgboost")

# A tree that sees so many patients, in leaves of no fewer than a thousandth of them, is as good a member of a forest as
# one that sees them all; without these limits a forest of 100,000 patients takes hours and gigabytes.
_PATIENTS_PER_TREE = 20_000
_LEAVES_PER_TREE = 1000
# Histograms of 64 values find splits as good as those of 256, in a third of the time where columns are many.
_VALUES_PER_HISTOGRAM = 64

Array = NDArray[np.float64]
TreesClassifier: TypeAlias = RandomForestClassifier | ExtraTreesClassifier


class Estimator(Protocol):
    """A fitted model."""

    def probabilities(self, values: Array) -> Array:
        """Probability of cancer, float64 (patients,), of rows of the features it was fitted to."""


@dataclass(frozen=True)
class ConstantModel:
    """Gives every patient one probability."""

    probability: float

    def probabilities(self, values: Array) -> Array:
        """Repeat the probability."""
        return np.full(len(values), self.probability)


@dataclass(frozen=True)
class Forest:
    """A Random Forest or extremely randomised trees; both take missing values as they are."""

    trees: TreesClassifier

    def probabilities(self, values: Array) -> Array:
        """Mean over the trees of the share of cancer in a patient's leaf."""
        # Threads add up the trees in the order they finish, which changes the last digit.
        self.trees.set_params(n_jobs=1)
        return np.asarray(self.trees.predict_proba(values)[:, 1], dtype=np.float64)


@dataclass(frozen=True)
class BoostedTrees:
    """XGBoost models that differ in their random draws only; their log-odds are averaged."""

    models: tuple[XGBClassifier, ...]

    def probabilities(self, values: Array) -> Array:
        """Probability of the mean log-odds."""
        margins = [model.predict(values, output_margin=True) for model in self.models]
        return np.asarray(expit(np.mean(margins, axis=0, dtype=np.float64)), dtype=np.float64)


def families_of(name: ModelName) -> tuple[Family, ...]:
    """Families whose mean a model is.

    Raises
    ------
    ValueError
        If `name` is not one of `MODEL_NAMES`.
    """
    if name == "average":
        return AVERAGED
    if name in FAMILIES:
        return (name,)
    if name not in MODEL_NAMES:
        raise ValueError(f"the model must be one of {', '.join(MODEL_NAMES)}, got {name!r}")
    return ()


def fit_constant(name: ModelName, truth: NDArray[np.int64]) -> ConstantModel:
    """Give ``all_positive`` 1, ``all_negative`` 0 and ``prior`` the share of cancer among the patients."""
    return ConstantModel({"all_positive": 1.0, "all_negative": 0.0, "prior": float(truth.mean())}[name])


def fit_variants(
    family: Family,
    values: Array,
    truth: NDArray[np.int64],
    params: ClassifierParams,
    seed: int,
    threads: int = 1,
) -> list[Estimator]:
    """Fit a family once for each of its settings among which there is a choice: one logistic model per penalty.

    `threads` changes the speed only. Without any column, or with one class only, there is nothing to learn: the share
    of cancer is all there is to say.
    """
    if values.shape[1] == 0 or truth.min() == truth.max():
        return [ConstantModel(float(truth.mean()))] * variants_of(family, params)
    if family == "logistic":
        return list(fit_path(values, truth, params.logistic.inverse_penalties))
    if family == "xgboost":
        return [_fit_boosted(values, truth, params.xgboost, seed, threads)]
    return [Forest(_forest(family, len(truth), params, seed, threads).fit(values, truth))]


def variants_of(family: Family, params: ClassifierParams) -> int:
    """Count the models that `fit_variants` gives."""
    return len(params.logistic.inverse_penalties) if family == "logistic" else 1


def _fit_boosted(
    values: Array, truth: NDArray[np.int64], params: XGBoostParams, seed: int, threads: int
) -> BoostedTrees:
    settings = {name: value for name, value in vars(params).items() if name != "seeds"}
    models = [
        XGBClassifier(
            objective="binary:logistic",
            tree_method="hist",
            max_bin=_VALUES_PER_HISTOGRAM,
            random_state=seed_of(seed, number) % 2**31,
            n_jobs=threads,
            **settings,
        ).fit(values, truth)
        for number in range(params.seeds)
    ]
    return BoostedTrees(tuple(models))


def _forest(family: Family, patients: int, params: ClassifierParams, seed: int, threads: int) -> TreesClassifier:
    wanted = params.random_forest if family == "random_forest" else params.extra_trees
    large = patients > _PATIENTS_PER_TREE
    settings: dict[str, Any] = {
        "n_estimators": wanted.trees,
        "min_samples_leaf": max(wanted.min_samples_leaf, min(patients, _PATIENTS_PER_TREE) // _LEAVES_PER_TREE),
        "max_samples": _PATIENTS_PER_TREE if large else None,
        "random_state": seed,
        "n_jobs": threads,
    }
    if family == "random_forest":
        return RandomForestClassifier(**settings)
    return ExtraTreesClassifier(bootstrap=large, **settings)
