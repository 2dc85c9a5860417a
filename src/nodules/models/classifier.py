"""Classifiers from patient features to a probability of cancer: out-of-fold, fitted, saved without pickle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedKFold
from skops import io as skops_io
from xgboost import XGBClassifier

ModelName = Literal["random_forest", "xgboost", "all_positive", "all_negative", "prior"]
MODEL_NAMES: tuple[ModelName, ...] = get_args(ModelName)

_DESCRIPTION, _BOOSTER, _FOREST = "classifier.json", "xgboost.json", "random_forest.skops"
# What a saved Random Forest holds beyond the types skops knows to be harmless; anything else is refused at load.
_FOREST_TYPES = ("sklearn.tree._tree.Tree",)


@dataclass(frozen=True)
class RandomForestParams:
    """Random Forest; the tutorial's has 100 trees and leaves of one patient."""

    trees: Annotated[int, Gt(0)]
    min_samples_leaf: Annotated[int, Gt(0)]


@dataclass(frozen=True)
class XGBoostParams:
    """Boosted trees; the tutorial's raise `scale_pos_weight` to 3, which costs calibration."""

    learning_rate: Annotated[float, Gt(0), Le(1)]
    max_depth: Annotated[int, Gt(0)]
    n_estimators: Annotated[int, Gt(0)]
    subsample: Annotated[float, Gt(0), Le(1)]
    colsample_bytree: Annotated[float, Gt(0), Le(1)]
    min_child_weight: Annotated[float, Ge(0)]
    reg_lambda: Annotated[float, Ge(0)]
    scale_pos_weight: Annotated[float, Gt(0)]


@dataclass(frozen=True)
class ClassifierParams:
    """Settings of every model and the number of folds they are judged by."""

    folds: Annotated[int, Ge(2)]
    random_forest: RandomForestParams
    xgboost: XGBoostParams


class ConstantModel:
    """Gives every patient one probability: 1, 0, or the share of cancer among the patients it was fitted to."""

    def __init__(self, probability: float | None = None) -> None:
        self.probability = probability

    def fit(self, values: NDArray[np.float64], labels: NDArray[np.int64]) -> ConstantModel:  # noqa: ARG002
        """Keep the given probability, or take the share of positive labels where none was given."""
        return ConstantModel(float(labels.mean()) if self.probability is None else self.probability)

    def predict_proba(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability of class 0 and of class 1 for each row, as scikit-learn's models give it."""
        if self.probability is None:
            raise ValueError("the prior model must be fitted before it predicts")
        return np.tile([1 - self.probability, self.probability], (len(values), 1))


Estimator: TypeAlias = RandomForestClassifier | XGBClassifier | ConstantModel


@dataclass(frozen=True)
class Classifier:
    """A fitted model with the names of its features in the order it was fitted to."""

    name: ModelName
    estimator: Estimator
    features: tuple[str, ...]


def build(name: ModelName, params: ClassifierParams, seed: int, threads: int = 1) -> Estimator:
    """Make an unfitted model; `threads` changes its speed only.

    Raises
    ------
    ValueError
        If `name` is not one of `MODEL_NAMES`.
    """
    if name == "random_forest":
        forest = params.random_forest
        return RandomForestClassifier(
            forest.trees, min_samples_leaf=forest.min_samples_leaf, random_state=seed, n_jobs=threads
        )
    if name == "xgboost":
        return XGBClassifier(objective="binary:logistic", random_state=seed, n_jobs=threads, **vars(params.xgboost))
    constants = {"all_positive": 1.0, "all_negative": 0.0, "prior": None}
    if name not in constants:
        raise ValueError(f"the model must be one of {', '.join(MODEL_NAMES)}, got {name!r}")
    return ConstantModel(constants[name])


def usable_folds(labels: pd.Series, folds: int) -> int:
    """Lower `folds` to the patients of the rarer class, so that every class can appear in every fold.

    Raises
    ------
    ValueError
        If a class has fewer than two patients.
    """
    rarest = min(int((labels == label).sum()) for label in (0, 1))
    if rarest < 2:
        counts = {label: int((labels == label).sum()) for label in (0, 1)}
        raise ValueError(f"cross-validation needs at least 2 patients of each class, got {counts}")
    return min(folds, rarest)


def out_of_fold(
    name: ModelName,
    features: pd.DataFrame,
    labels: pd.Series,
    params: ClassifierParams,
    seed: int,
    threads: int = 1,
) -> pd.Series:
    """Predict every patient by a model that was fitted without them.

    Folds are shuffled by `seed` and stratified by label. The order of the rows does not matter.

    Parameters
    ----------
    features : DataFrame
        One row per patient, indexed by patient id; missing values may be NaN.
    labels : Series of 0 and 1
        The same patients.
    params : ClassifierParams
        `folds` is lowered to `usable_folds`.

    Returns
    -------
    Series
        ``probability`` of cancer in the order of `features`.

    Raises
    ------
    ValueError
        If a patient appears twice or in only one of the tables, a label is not 0 or 1, a feature is not a number, or a
        class has fewer than two patients.
    """
    values, truth, patients = _table(features, labels)
    chances = np.empty(len(truth))
    for train, held_out in _splits(truth, usable_folds(labels, params.folds), seed):
        estimator = build(name, params, seed, threads).fit(values[train], truth[train])
        chances[held_out] = _positive_column(estimator, values[held_out])
    return pd.Series(chances, index=patients, name="probability").loc[features.index]


def fit(
    name: ModelName,
    features: pd.DataFrame,
    labels: pd.Series,
    params: ClassifierParams,
    seed: int,
    threads: int = 1,
) -> Classifier:
    """Fit one model to all patients; the tables are those of `out_of_fold`."""
    values, truth, _ = _table(features, labels)
    estimator = build(name, params, seed, threads).fit(values, truth)
    return Classifier(name, estimator, tuple(features.columns))


def predict(classifier: Classifier, features: pd.DataFrame) -> pd.Series:
    """Probability of cancer of each row of `features`.

    Columns are taken by name: their order is free and columns the model does not know are left aside.

    Raises
    ------
    ValueError
        If a column the model was fitted to is missing, appears twice or does not hold numbers.
    """
    missing = [name for name in classifier.features if name not in features.columns]
    if missing:
        raise ValueError(f"the {classifier.name} model needs the features {missing}, which the table lacks")
    values = _numbers(features[list(classifier.features)])
    chances = _positive_column(classifier.estimator, values) if len(values) else np.empty(0)
    return pd.Series(chances, index=features.index, name="probability")


def save(classifier: Classifier, folder: Path) -> None:
    """Write `classifier.json` and, beside it, the trees: XGBoost's own JSON, or a Random Forest as a skops file."""
    folder.mkdir(parents=True, exist_ok=True)
    description: dict[str, Any] = {
        "model": classifier.name,
        "classes": [0, 1],
        "features": list(classifier.features),
    }
    if isinstance(classifier.estimator, ConstantModel):
        description["probability"] = classifier.estimator.probability
    elif isinstance(classifier.estimator, XGBClassifier):
        classifier.estimator.save_model(folder / _BOOSTER)
    else:
        skops_io.dump(classifier.estimator, folder / _FOREST)
    (folder / _DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def load(folder: Path) -> Classifier:
    """Read what `save` wrote; nothing in the files is executed.

    Raises
    ------
    ValueError
        If the description is not of a classifier, the trees do not fit it, or a type in the file is not trusted.
    """
    description = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
    name, features = description.get("model"), description.get("features")
    if name not in MODEL_NAMES or not isinstance(features, list) or description.get("classes") != [0, 1]:
        raise ValueError(f"{folder / _DESCRIPTION} must name a model, its classes [0, 1] and features")
    estimator = _load_estimator(name, folder, description)
    width = getattr(estimator, "n_features_in_", len(features))
    if width != len(features):
        raise ValueError(
            f"the model in {folder} was fitted to {width} features, but {_DESCRIPTION} names {len(features)}"
        )
    return Classifier(name, estimator, tuple(features))


def _load_estimator(name: ModelName, folder: Path, description: dict[str, Any]) -> Estimator:
    if name == "xgboost":
        booster = XGBClassifier(n_jobs=1)
        booster.load_model(folder / _BOOSTER)
        return booster
    if name == "random_forest":
        return _load_forest(folder / _FOREST)
    return ConstantModel(float(description["probability"]))


def _load_forest(path: Path) -> RandomForestClassifier:
    strangers = sorted(set(skops_io.get_untrusted_types(file=path)) - set(_FOREST_TYPES))
    if strangers:
        raise ValueError(f"{path} holds types that a Random Forest does not: {strangers}")
    forest = skops_io.load(path, trusted=list(_FOREST_TYPES))
    if not isinstance(forest, RandomForestClassifier):
        raise ValueError(f"{path} must hold a RandomForestClassifier, got {type(forest).__name__}")
    return forest


def _splits(truth: NDArray[np.int64], folds: int, seed: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    return iter(StratifiedKFold(folds, shuffle=True, random_state=seed).split(np.zeros(len(truth)), truth))


def _positive_column(estimator: Estimator, values: NDArray[np.float64]) -> NDArray[np.float64]:
    if isinstance(estimator, RandomForestClassifier):
        # Threads add up the trees in the order they finish, which changes the last digit.
        estimator.set_params(n_jobs=1)
    return np.asarray(estimator.predict_proba(values)[:, 1], dtype=np.float64)


def _table(features: pd.DataFrame, labels: pd.Series) -> tuple[NDArray[np.float64], NDArray[np.int64], pd.Index]:
    """Values, labels and patients, sorted by patient so that nothing depends on the order of the rows."""
    for what, index in (("features", features.index), ("labels", labels.index)):
        if not index.is_unique:
            raise ValueError(f"every patient must appear once in the {what}, got {index[index.duplicated()][0]} twice")
    strangers = features.index.symmetric_difference(labels.index)
    if len(strangers):
        raise ValueError(f"features and labels must hold the same patients, got {list(strangers[:3])} in only one")
    if not labels.isin([0, 1]).all():
        raise ValueError(f"labels must be 0 or 1, got {labels[~labels.isin([0, 1])].iloc[0]!r}")
    ordered = features.sort_index()
    return _numbers(ordered), labels.loc[ordered.index].to_numpy(dtype=np.int64), ordered.index


def _numbers(features: pd.DataFrame) -> NDArray[np.float64]:
    if not features.columns.is_unique:
        raise ValueError(f"feature {features.columns[features.columns.duplicated()][0]!r} appears twice")
    words = [name for name, kind in features.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
    if words:
        raise ValueError(f"features must be numbers, got words or objects in {words[:3]}")
    values = features.to_numpy(dtype=float, na_value=np.nan)
    # Both models work in float32.
    too_large = (np.abs(values) > np.finfo(np.float32).max).any(axis=0)
    if too_large.any():
        raise ValueError(f"features must be finite, got {features.columns[too_large][0]!r} with a value beyond float32")
    return values
