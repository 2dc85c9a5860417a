"""Alternative classifiers and settings, each a function from training patients to probabilities.

`values` and `truth` are features and labels of the training patients; the probabilities are those of `unseen`. NaN is a
missing value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier

from nodules import params
from nodules.models.cancer.estimators import Family
from nodules.models.cancer.params import ClassifierParams

Array = NDArray[np.float64]
Truth = NDArray[np.int64]
Model = Callable[[Array, Truth, Array, int], Array]


@dataclass(frozen=True)
class Rival:
    """A model that replaces a member of the average, or joins it."""

    name: str
    replaces: Family | None
    model: Model
    columns: Literal["screened", "all"] = "screened"


def extra_trees(
    values: Array,
    truth: Truth,
    unseen: Array,
    seed: int,
    *,
    missing: Literal["median", "zero"] | None = None,
    **other: int,
) -> Array:
    """Extremely randomised trees as in params.yaml, except for `other`; missing values are filled or kept."""
    if missing:
        put = np.nanmedian(values, axis=0) if missing == "median" else np.zeros(values.shape[1])
        values, unseen = (np.where(np.isnan(part), put, part) for part in (values, unseen))
    own = params.load("classifier", ClassifierParams).extra_trees
    settings = {"n_estimators": own.trees, "min_samples_leaf": own.min_samples_leaf} | other
    trees = ExtraTreesClassifier(random_state=seed, **settings).fit(values, truth)
    return np.asarray(trees.predict_proba(unseen)[:, 1])


def random_forest(values: Array, truth: Truth, unseen: Array, seed: int) -> Array:
    """Random Forest as in params.yaml."""
    own = params.load("classifier", ClassifierParams).random_forest
    forest = RandomForestClassifier(own.trees, min_samples_leaf=own.min_samples_leaf, random_state=seed)
    return np.asarray(forest.fit(values, truth).predict_proba(unseen)[:, 1])


def xgboost(values: Array, truth: Truth, unseen: Array, seed: int, *, seeds: int = 4, **other: float) -> Array:
    """XGBoost as in params.yaml, except for `other`; the log-odds of several seeds are averaged."""
    own = dict(vars(params.load("classifier", ClassifierParams).xgboost), max_bin=64, n_jobs=1)
    del own["seeds"]
    models = [XGBClassifier(random_state=seed + one, **own | other).fit(values, truth) for one in range(seeds)]
    return np.asarray(expit(np.mean([one.predict(unseen, output_margin=True) for one in models], axis=0)))


def on_ranks(model: Model, values: Array, truth: Truth, unseen: Array, seed: int) -> Array:
    """Apply a model to the normal scores of ranks among the training patients; a missing value is 0."""
    ordered, present = np.sort(values, axis=0), (~np.isnan(values)).sum(axis=0)

    def scores(part: Array) -> Array:
        places = [
            np.mean([np.searchsorted(ordered[:count, one], part[:, one], side) for side in ("left", "right")], axis=0)
            for one, count in enumerate(present)
        ]
        share = np.clip(np.column_stack(places) / present, 0.5 / present, 1 - 0.5 / present)
        return np.where(np.isnan(part), 0.0, norm.ppf(share))

    return model(scores(values), truth, scores(unseen), seed)


def logistic(values: Array, truth: Truth, unseen: Array, seed: int) -> Array:
    """Logistic regression on standardised features."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=500, random_state=seed))
    return np.asarray(model.fit(values, truth).predict_proba(unseen)[:, 1])


def kernel_logistic(values: Array, truth: Truth, unseen: Array, seed: int) -> Array:
    """Logistic regression with a Gaussian kernel, whose width grows with the number of features."""
    gamma = 0.3 / values.shape[1]
    kernel = rbf_kernel(values, gamma=gamma)
    squares, axes = np.linalg.eigh(kernel)
    held = squares > squares[-1] * 1e-10
    turn = axes[:, held] / np.sqrt(squares[held])
    model = LogisticRegression(C=3.0, max_iter=500, random_state=seed).fit(kernel @ turn, truth)
    return np.asarray(model.predict_proba(rbf_kernel(unseen, values, gamma=gamma) @ turn)[:, 1])


def perceptrons(values: Array, truth: Truth, unseen: Array, seed: int) -> Array:
    """Mean of five neural networks with one hidden layer."""
    settings = {"hidden_layer_sizes": (32,), "alpha": 10.0, "max_iter": 30, "batch_size": 64}
    networks = [MLPClassifier(random_state=seed + one, **settings).fit(values, truth) for one in range(5)]
    return np.asarray(np.mean([one.predict_proba(unseen)[:, 1] for one in networks], axis=0))


RIVALS = (
    Rival("ExtraTrees", "extra_trees", extra_trees, "all"),
    Rival("ExtraTrees of 1,000 trees", "extra_trees", partial(extra_trees, n_estimators=1000)),
    Rival("ExtraTrees, 0 for missing values", "extra_trees", partial(extra_trees, missing="zero")),
    Rival("ExtraTrees, medians for missing values", "extra_trees", partial(extra_trees, missing="median")),
    Rival("ExtraTrees, leaves of one patient", "extra_trees", partial(extra_trees, min_samples_leaf=1), "all"),
    Rival("ExtraTrees, leaves of eight patients", "extra_trees", partial(extra_trees, min_samples_leaf=8)),
    Rival("Random Forest", "extra_trees", random_forest, "all"),
    Rival("Random Forest", "extra_trees", random_forest),
    Rival("Random Forest", None, random_forest, "all"),
    Rival("XGBoost, eight seeds", "xgboost", partial(xgboost, seeds=8), "all"),
    Rival("XGBoost, eight seeds", "xgboost", partial(xgboost, seeds=8)),
    Rival("XGBoost, three tenths of the columns at each node", "xgboost", partial(xgboost, colsample_bynode=0.3)),
    Rival("XGBoost, thrice the trees", "xgboost", partial(xgboost, learning_rate=0.01, n_estimators=750)),
    Rival("XGBoost, a tenth of the columns a tree", "xgboost", partial(xgboost, colsample_bytree=0.1)),
    Rival("XGBoost, histograms of eight values", "xgboost", partial(xgboost, max_bin=8)),
    Rival("logistic on ranks", "logistic", partial(on_ranks, logistic)),
    Rival("logistic in a Gaussian kernel's space, on ranks", None, partial(on_ranks, kernel_logistic)),
    Rival("perceptrons on ranks", None, partial(on_ranks, perceptrons)),
)
