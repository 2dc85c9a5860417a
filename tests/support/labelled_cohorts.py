"""Small labelled tables and quick settings for tests of classifiers."""

import numpy as np
import pandas as pd

from nodules.models.cancer.params import (
    ClassifierParams,
    ExtraTreesParams,
    LogisticParams,
    RandomForestParams,
    XGBoostParams,
)

QUICK = ClassifierParams(
    folds=3,
    repeats=1,
    inner_folds=3,
    max_features=50,
    random_forest=RandomForestParams(trees=20, min_samples_leaf=2),
    extra_trees=ExtraTreesParams(trees=20, min_samples_leaf=2),
    logistic=LogisticParams(inverse_penalties=(0.001, 0.03, 1.0)),
    xgboost=XGBoostParams(
        learning_rate=0.1,
        max_depth=2,
        n_estimators=20,
        subsample=0.8,
        colsample_bytree=0.8,
        min_child_weight=1.0,
        reg_lambda=1.0,
        scale_pos_weight=1.0,
        seeds=2,
    ),
)


def cohort(patients=60, positives=20, seed=0, width=4):
    """Noise features, one constant column, labels independent of both, in no order."""
    rng = np.random.default_rng(seed)
    ids = [f"p{number:03d}" for number in rng.permutation(patients)]
    names = [chr(ord("a") + column) for column in range(width)]
    features = pd.DataFrame(rng.normal(size=(patients, width)), index=ids, columns=names).assign(constant=1.0)
    labels = pd.Series(rng.permutation(np.repeat([1, 0], [positives, patients - positives])), index=ids)
    return features, labels


def telling_cohort(patients=150, seed=0, width=4):
    """Features of which ``a`` raises the chance of cancer and ``b`` lowers it; a fifth of ``c`` is missing."""
    features, _ = cohort(patients, patients // 2, seed, width)
    rng = np.random.default_rng(seed + 1)
    probabilities = 1 / (1 + np.exp(-(2 * features["a"] - features["b"] - 0.5)))
    labels = pd.Series((rng.random(patients) < probabilities).astype(int), index=features.index)
    features.loc[rng.random(patients) < 0.2, "c"] = np.nan
    return features, labels


def skill(labels, probabilities):
    """Return 1 - log-loss / log-loss of the share of cancer among these labels."""
    truth, said = labels.to_numpy(), probabilities.loc[labels.index].to_numpy()

    def loss(probability):
        probability = np.clip(probability, 1e-15, 1 - 1e-15)
        return -np.mean(np.where(truth == 1, np.log(probability), np.log(1 - probability)))

    return 1 - loss(said) / loss(np.full(len(truth), truth.mean()))
