"""3-D network that rates a nodule: from a cube around its centre to the scores that LIDC's readers would give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import keras
import numpy as np
from annotated_types import Ge, Gt, Lt
from keras import layers, ops

from nodules.models.false_positive_reduction.network import BATCH_MOMENTUM, convolution

TARGETS = (
    "malignant",
    "malignancy",
    "subtlety",
    "sphericity",
    "margin",
    "lobulation",
    "spiculation",
    "texture",
    "calcification",
    "diameter",
)
"""What the network learns at once, in the order of its outputs; the first is the question, the others help it learn."""


@dataclass(frozen=True)
class RatingNetworkParams:
    """Shape of the network.

    Attributes
    ----------
    filters : int
        Number of filters of the first convolution; later ones have up to four times as many.
    dropout : float
        Share of the pooled features that are set to 0 in a training step.
    """

    filters: Annotated[int, Gt(0)]
    dropout: Annotated[float, Ge(0), Lt(1)]


def mask_size_px(size_px: int) -> int:
    """Edge length of the mask that the network draws, in voxels: half of that of its input, which saves two thirds."""
    return size_px // 2


def build(params: RatingNetworkParams, size_px: int) -> keras.Model:
    """Uncompiled network for cubes (N, size_px, size_px, size_px, 1), where `size_px` is a multiple of 4.

    It returns ``log_odds`` (N, len(TARGETS)) and ``mask`` (N, M, M, M, 1), the share of each voxel that the nodule at
    the centre fills, with M of `mask_size_px`. The scores are computed from measurements of that mask and of the HU
    inside it and around it, and from the features there. Without a mask, a thousand nodules are too few to learn even
    their diameters.
    """
    filters = params.filters
    cube = keras.Input((size_px, size_px, size_px, 1), name="cube")
    x = convolution(cube, filters, 4, 2, "stem")
    fine = convolution(x, 2 * filters, 3, 1, "fine")
    x = convolution(fine, 4 * filters, 3, 2, "half")
    x = convolution(x, 4 * filters, 3, 1, "middle")
    coarse = convolution(x, 4 * filters, 3, 1, "coarse")
    x = layers.UpSampling3D(2, name="up")(layers.Conv3D(filters, 1, name="narrow")(coarse))
    x = WithDistance(name="distance")(layers.Concatenate(name="joined")([fine, x]))
    outline = convolution(layers.Conv3D(filters, 1, name="few")(x), filters, 3, 1, "outline")
    rare = keras.initializers.Constant(-3.0)  # few voxels belong to the nodule
    mask = layers.Conv3D(1, 1, activation="sigmoid", bias_initializer=rare, dtype="float32", name="mask")(outline)
    around = layers.AveragePooling3D(3, 1, "same", name="around")(mask) * (1.0 - mask)
    measured = _measurements(layers.AveragePooling3D(2, name="half_cube")(cube), mask, around)
    measured = layers.BatchNormalization(momentum=BATCH_MOMENTUM, name="measured")(measured)
    coarse_mask = layers.AveragePooling3D(2, name="coarse_mask")(mask)
    pooled = [_mean_inside(*pair) for pair in ((fine, mask), (outline, mask), (fine, around), (coarse, coarse_mask))]
    x = layers.BatchNormalization(momentum=BATCH_MOMENTUM, name="pooled")(layers.Concatenate(name="features")(pooled))
    x = layers.Concatenate(name="all")([measured, layers.Dropout(params.dropout, name="dropout")(x)])
    x = layers.Dense(4 * filters, activation="relu", name="hidden")(x)
    x = layers.Concatenate(name="hidden_and_measured")([measured, x])
    log_odds = layers.Dense(len(TARGETS), dtype="float32", name="log_odds")(x)
    return keras.Model(cube, {"log_odds": log_odds, "mask": mask}, name="malignancy")


def _measurements(cube: Any, mask: Any, around: Any) -> Any:
    """Measure a mask (N, 8): its volume and surface, and mean, deviation and maximum of the HU inside and around it."""
    volume = ops.log(ops.sum(mask, axis=(1, 2, 3)) + 0.5)
    steps = (
        mask[:, 1:] - mask[:, :-1],
        mask[:, :, 1:] - mask[:, :, :-1],
        mask[:, :, :, 1:] - mask[:, :, :, :-1],
    )
    surface = ops.log(sum(ops.sum(ops.abs(step), axis=(1, 2, 3)) for step in steps) + 0.5)
    found = [volume, surface]
    for weights in (mask, around):
        mean = _mean_inside(cube, weights)
        variance = _mean_inside(ops.square(cube), weights) - ops.square(mean)
        found += [mean, ops.sqrt(ops.maximum(variance, 0.0) + 1e-4), ops.max(cube * weights, axis=(1, 2, 3))]
    return layers.Concatenate(name="measurements")(found)


@keras.saving.register_keras_serializable("nodules")
class WithDistance(layers.Layer):
    """Adds a channel with the distance of each voxel from the centre of the cube, 1 at the middle of a face."""

    def call(self, inputs: Any) -> Any:
        """(N, Z, Y, X, C) -> (N, Z, Y, X, C + 1)."""
        axes = [np.linspace(-1, 1, size) for size in inputs.shape[1:4]]
        z, y, x = np.meshgrid(*axes, indexing="ij")
        distance = ops.convert_to_tensor(np.sqrt(z**2 + y**2 + x**2)[None, ..., None], inputs.dtype)
        return ops.concatenate([inputs, ops.ones_like(inputs[..., :1]) * distance], axis=-1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """One more channel."""
        return (*input_shape[:-1], input_shape[-1] + 1)


def _mean_inside(features: Any, weights: Any) -> Any:
    """Weighted mean (N, C) of features (N, Z, Y, X, C) with weights (N, Z, Y, X, 1); near 0 if all weights are."""
    return ops.sum(features * weights, axis=(1, 2, 3)) / (ops.sum(weights, axis=(1, 2, 3)) + 0.1)
