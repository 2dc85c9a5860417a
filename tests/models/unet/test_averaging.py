"""Normalisation statistics of weights that were not trained with: the plain mean over some batches."""

import keras
import numpy as np
import pytest

from nodules.models.unet import training
from nodules.models.unet.network import UNetParams, build
from nodules.models.unet.training import settle_averages


def batches(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(1)
    images = [random.normal(number, 1 + number, (2, 4, 6, 3)).astype(np.float32) for number in range(count)]
    return [(image, np.zeros((2, 4, 6, 1), np.float32)) for image in images]


@pytest.mark.parametrize("count", [1, 3, 5])
def test_statistics_are_the_mean_over_the_first_batches(monkeypatch, count):
    monkeypatch.setattr(training, "STATISTICS_BATCHES", 3)
    image = keras.Input((None, None, 3))
    norm = keras.layers.BatchNormalization(momentum=0.9)
    model = keras.Model(image, norm(image))
    norm.moving_mean.assign(np.full(3, 77.0))
    shown = batches(count)
    settle_averages(model, shown)
    used = [images for images, _ in shown[:3]]
    mean = np.mean([images.mean(axis=(0, 1, 2)) for images in used], axis=0)
    variance = np.mean([images.var(axis=(0, 1, 2)) for images in used], axis=0)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(norm.moving_mean), mean, rtol=1e-4)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(norm.moving_variance), variance, rtol=1e-4)
    assert norm.momentum == 0.9


def test_network_without_normalisation_is_left_alone():
    model = build(UNetParams(filters=2, depth=1, stem_stride=1, normalisation="none", residual=False), channels=3)
    before = model.get_weights()
    settle_averages(model, batches(2))
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
