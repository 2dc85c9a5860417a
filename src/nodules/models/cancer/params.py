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
    """Random Forest; the tutorial's has 100 trees and leaves of one patient."""

    trees: Annotated[int, Gt(0)]
    min_samples_leaf: Annotated[int, Gt(0)]


@dataclass(frozen=True)
class ExtraTreesParams:
    """Extremely randomised trees."""

    trees: Annotated[int, Gt(0)]
    min_samples_leaf: Annotated[int, Gt(0)]


@dataclass(frozen=True)
class LogisticParams:
    """Logistic regression; the inverse penalty with the lowest log-loss inside the training patients is taken."""

    inverse_penalties: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)]


@dataclass(frozen=True)
class XGBoostParams:
    """Boosted trees; the tutorial's raise `scale_pos_weight` to 3, which costs calibration.

    `seeds` equal models that differ in their random draws only are averaged.
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
    """Settings of every model and of the folds they are judged by.

    `folds` hold patients out, shuffled anew `repeats` times. Among the others, `inner_folds` choose the model, its
    penalty and its calibration. At most `max_features` columns reach a model.
    """

    folds: Annotated[int, Ge(2)]
    repeats: Annotated[int, Ge(1)]
    inner_folds: Annotated[int, Ge(2)]
    max_features: Annotated[int, Ge(1)]
    random_forest: RandomForestParams
    extra_trees: ExtraTreesParams
    logistic: LogisticParams
    xgboost: XGBoostParams
