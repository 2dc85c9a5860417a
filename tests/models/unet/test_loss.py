"""The loss and the metric against values worked out by hand: 1 pixel is added with a nodule, 10 without."""

import keras
import numpy as np
import pytest

from nodules.models.unet.loss import DiceLoss, PooledDice, soft_dice


def masks(*pixels: int, size: int = 12) -> np.ndarray:
    """One sample for each number: so many ones at the start of the first row."""
    samples = np.zeros((len(pixels), 1, size, 1), dtype=np.float32)
    for sample, count in zip(samples, pixels, strict=True):
        sample[0, :count] = 1
    return samples


def dice(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(soft_dice(y_true, y_pred))


def loss(y_true: np.ndarray, y_pred: np.ndarray, cross_entropy_weight: float = 0.0, focal_gamma: float = 0.0) -> float:
    return float(keras.ops.convert_to_numpy(DiceLoss(cross_entropy_weight, focal_gamma)(y_true, y_pred)))


@pytest.mark.parametrize(
    ("y_true", "y_pred", "expected"),
    [
        (masks(5), masks(5), 1.0),
        (masks(3), masks(12) - masks(8), 1 / (3 + 4 + 1)),
        (masks(0), masks(0), 1.0),
        (masks(0), masks(9), 10 / (9 + 10)),
        (masks(4), masks(4) / 2, (2 * 2 + 1) / (4 + 2 + 1)),
        (masks(4), masks(6), (2 * 4 + 1) / (4 + 6 + 1)),
    ],
    ids=["identical", "disjoint", "both_empty", "empty_reference", "half_sure", "too_large"],
)
def test_one_sample(y_true, y_pred, expected):
    assert dice(y_true, y_pred) == pytest.approx([expected])
    assert loss(y_true, y_pred) == pytest.approx(1 - expected)


def test_loss_is_the_mean_of_the_samples_not_the_dice_of_the_batch():
    y_true, y_pred = masks(100, 3, size=120), masks(100, 0, size=120)
    over_the_batch = 1 - (2 * 100 + 1) / (100 + 100 + 3 + 1)
    assert loss(y_true, y_pred) == pytest.approx(1 - (1 + 1 / (3 + 1)) / 2) != pytest.approx(over_the_batch)


def test_share_of_cross_entropy():
    y_true, y_pred = np.zeros((1, 4, 4, 1), np.float32), np.full((1, 4, 4, 1), 0.25, np.float32)
    without = 1 - 10 / (4 + 10)
    assert loss(y_true, y_pred) == pytest.approx(without)
    assert loss(y_true, y_pred, 0.5) == pytest.approx(without + 0.5 * -np.log(0.75), rel=1e-5)


def test_focal_cross_entropy_weighs_a_pixel_by_the_probability_of_the_wrong_class():
    y_true, y_pred = masks(4, size=8), np.full((1, 1, 8, 1), 0.25, np.float32)
    dice_part = loss(y_true, y_pred)
    nodule, other = 0.75**2 * -np.log(0.25), 0.25**2 * -np.log(0.75)
    assert loss(y_true, y_pred, 1.0, 2.0) == pytest.approx(dice_part + (nodule + other) / 2, rel=1e-5)


def test_half_precision_predictions_do_not_overflow():
    large = np.ones((1, 512, 512, 1), np.float16)  # its sum is beyond the largest float16
    assert dice(large, large) == pytest.approx([1.0])


def test_loss_keeps_its_settings_when_saved():
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(DiceLoss(0.7, 2.0)))
    assert isinstance(restored, DiceLoss)
    assert (restored.cross_entropy_weight, restored.focal_gamma) == (0.7, 2.0)


def test_metric_pools_all_pixels_of_all_batches():
    metric = PooledDice()
    metric.update_state(masks(3), masks(5) - masks(1))  # 2 of 3 found, 2 beside
    metric.update_state(masks(0), masks(4))
    assert float(metric.result()) == pytest.approx(2 * 2 / (3 + 4 + 4))


def test_metric_counts_only_what_is_above_one_half():
    metric = PooledDice()
    metric.update_state(masks(6), masks(6) * 0.5)
    assert float(metric.result()) == 0
    metric.update_state(masks(6), masks(6) * 0.51)
    assert float(metric.result()) == pytest.approx(2 * 6 / (6 + 6 + 6))


def test_metric_begins_anew_each_epoch():
    metric = PooledDice()
    metric.update_state(masks(3), masks(0))
    metric.reset_state()
    assert float(metric.result()) == 1


def test_metric_of_nothing_is_one():
    assert float(PooledDice().result()) == 1


def test_metric_refuses_weights():
    with pytest.raises(ValueError, match="sample_weight"):
        PooledDice().update_state(masks(1), masks(1), sample_weight=np.ones(1))
