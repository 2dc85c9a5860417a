"""Names and settings of the classifiers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from annotated_types import Ge, Gt, Le, MinLen

LearnedName = Literal["random_forest", "xgboost", "extra_trees", "logistic", "average"]
ModelName = Literal[
    "random_forest", "xgboost", "extra_trees", "logistic", "average", "all_positive", "all_negative", "prior"
]
LEARNED: tuple[LearnedName, ...] = get_args(LearnedName)
MODEL_NAMES: tuple[ModelName, ...] = get_args(ModelName)


@dataclass(frozen=True)
class RandomForestParams:
    """Settings of the random forest. The tutorial has 100 trees and leaves of one patient."""

    trees: Annotated[int, Gt(0)]
    min_samples_leaf: Annotated[int, Gt(0)]


@dataclass(frozen=True)
class ExtraTreesParams:
    """Settings of the extremely randomised trees."""

    trees: Annotated[int, Gt(0)]
    min_samples_leaf: Annotated[int, Gt(0)]


@dataclass(frozen=True)
class LogisticParams:
    """Inverse penalties of the logistic regression; the one with the lowest out-of-fold log-loss is chosen."""

    inverse_penalties: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)]


@dataclass(frozen=True)
class XGBoostParams:
    """Settings of XGBoost. The tutorial sets `scale_pos_weight` to 3, which worsens the calibration.

    `seeds` is the number of models that are averaged; they differ only in their random seed.
    """

    learning_rate: Annotated[float, Gt(0), Le(1)]
    max_depth: Annotated[int, Gt(0)]
    n_estimators: Annotated[int, Gt(0)]
    subsample: Annotated[float, Gt(0), Le(1)]
    colsample_bytree: Annotated[float, Gt(0), Le(1)]
    min_child_weight: Annotated[float, Ge(0)]
    reg_lambda: Annotated[float, Ge(0)]
    scale_pos_weight: Annotated[float, Gt(0)]
    seeds: Annotated[int, Gt(0)]


@dataclass(frozen=True)
class ClassifierParams:
    """Settings of all models and of the nested cross-validation.

    The outer validation has `folds` folds and is repeated `repeats` times with other folds. The training patients of
    each fold are split into `inner_folds` folds to choose the model, its penalty and its calibration. A model is fitted
    to at most `max_features` features.
    """

    folds: Annotated[int, Ge(2)]
    repeats: Annotated[int, Ge(1)]
    inner_folds: Annotated[int, Ge(2)]
    max_features: Annotated[int, Ge(1)]
    random_forest: RandomForestParams
    extra_trees: ExtraTreesParams
    logistic: LogisticParams
    xgboost: XGBoostParams
