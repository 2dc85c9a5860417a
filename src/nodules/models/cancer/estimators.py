"""Model families with one interface: random forest, extra trees, logistic regression, XGBoost and constants."""

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

# A tree fitted to this many patients, with leaves of at least a thousandth of them, is as good a member of a forest as
# one fitted to all patients. Without these limits a forest for 100,000 patients takes hours and gigabytes.
_PATIENTS_PER_TREE = 20_000
_LEAVES_PER_TREE = 1000
# With many columns, histograms of 64 bins take a third of the time of 256 bins and find equally good splits.
_VALUES_PER_HISTOGRAM = 64

Array = NDArray[np.float64]
TreesClassifier: TypeAlias = RandomForestClassifier | ExtraTreesClassifier


class Estimator(Protocol):
    """A fitted model."""

    def probabilities(self, values: Array) -> Array:
        """Probability of cancer, float64 (patients,), from the values (patients, features) of the fitted features."""


@dataclass(frozen=True)
class ConstantModel:
    """A model that gives every patient the same probability."""

    probability: float

    def probabilities(self, values: Array) -> Array:
        """Repeat the probability."""
        return np.full(len(values), self.probability)


@dataclass(frozen=True)
class Forest:
    """A random forest or extremely randomised trees; both handle missing values themselves."""

    trees: TreesClassifier

    def probabilities(self, values: Array) -> Array:
        """Mean over the trees of the share of cancer in a patient's leaf."""
        # Several threads would add up the trees in the order in which they finish, which changes the last digit.
        self.trees.set_params(n_jobs=1)
        return np.asarray(self.trees.predict_proba(values)[:, 1], dtype=np.float64)


@dataclass(frozen=True)
class BoostedTrees:
    """XGBoost models that differ only in their random seed; their log-odds are averaged."""

    models: tuple[XGBClassifier, ...]

    def probabilities(self, values: Array) -> Array:
        """Probability of the mean log-odds."""
        margins = [model.predict(values, output_margin=True) for model in self.models]
        return np.asarray(expit(np.mean(margins, axis=0, dtype=np.float64)), dtype=np.float64)


def families_of(name: ModelName) -> tuple[Family, ...]:
    """Families whose mean probability a model predicts; none for a constant model.

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
    """Fit a constant: 1 for ``all_positive``, 0 for ``all_negative``, the share of cancer for ``prior``."""
    return ConstantModel({"all_positive": 1.0, "all_negative": 0.0, "prior": float(truth.mean())}[name])


def fit_variants(
    family: Family,
    values: Array,
    truth: NDArray[np.int64],
    params: ClassifierParams,
    seed: int,
    threads: int = 1,
) -> list[Estimator]:
    """Fit every variant of a family: one logistic model per penalty, and a single model of any other family.

    `threads` changes only the speed. Without columns, or with a single class, every variant is the constant share of
    cancer.
    """
    if values.shape[1] == 0 or truth.min() == truth.max():
        return [ConstantModel(float(truth.mean()))] * variants_of(family, params)
    if family == "logistic":
        return list(fit_path(values, truth, params.logistic.inverse_penalties))
    if family == "xgboost":
        return [_fit_boosted(values, truth, params.xgboost, seed, threads)]
    return [Forest(_forest(family, len(truth), params, seed, threads).fit(values, truth))]


def variants_of(family: Family, params: ClassifierParams) -> int:
    """Number of models that `fit_variants` returns."""
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
    forest_params = params.random_forest if family == "random_forest" else params.extra_trees
    large = patients > _PATIENTS_PER_TREE
    settings: dict[str, Any] = {
        "n_estimators": forest_params.trees,
        "min_samples_leaf": max(forest_params.min_samples_leaf, min(patients, _PATIENTS_PER_TREE) // _LEAVES_PER_TREE),
        "max_samples": _PATIENTS_PER_TREE if large else None,
        "random_state": seed,
        "n_jobs": threads,
    }
    if family == "random_forest":
        return RandomForestClassifier(**settings)
    return ExtraTreesClassifier(bootstrap=large, **settings)
