from dataclasses import replace

import keras
import numpy as np
import pytest

from nodules.models.malignancy.cross_fitting import rater_settings
from nodules.models.malignancy.rater import mean_log_odds
from nodules.models.malignancy.training import KnownTargetsLoss, MaskLoss, train
from support.rated_cubes import PARAMS, rated_balls
from support.trained_until import first_good


def share_right(networks) -> float:
    unseen = rated_balls(40, seed=9)
    found = mean_log_odds(networks, rater_settings(PARAMS), unseen.hu)[:, 0]
    return float(((found > 0) == unseen.malignant).mean())


def test_it_learns_to_tell_large_from_small():
    cubes = rated_balls(32)
    lengths = (PARAMS.epochs, 2 * PARAMS.epochs, 4 * PARAMS.epochs)
    trainings = (train(cubes, replace(PARAMS, epochs=epochs), seed=5) for epochs in lengths)
    assert share_right(first_good(trainings, lambda networks: share_right(networks) >= 0.9)) >= 0.9


def test_same_seed_gives_the_same_networks_and_each_has_its_own():
    short = replace(PARAMS, epochs=2, steps_per_epoch=1)
    told = []
    first = train(rated_balls(8), short, seed=6, log_epoch=lambda epoch, numbers: told.append((epoch, numbers)))
    again = train(rated_balls(8), short, seed=6)
    assert len(first) == PARAMS.networks
    for one, two in zip(first, again, strict=True):
        for here, there in zip(one.get_weights(), two.get_weights(), strict=True):
            np.testing.assert_array_equal(here, there)
    assert not np.array_equal(first[0].get_weights()[0], first[1].get_weights()[0])
    assert [epoch for epoch, _ in told] == [1, 2, 3, 4]
    assert all(np.isfinite(numbers["loss"]) for _, numbers in told)


def loss_of(targets, log_odds, weights=(1.0, 2.0)):
    found = KnownTargetsLoss(weights).call(np.array(targets, np.float32), np.array(log_odds, np.float32))
    return keras.ops.convert_to_numpy(found)


def test_loss_is_weighted_cross_entropy():
    one, half = 1 / (1 + np.exp(-1.0)), 0.5
    expected = -np.log(one) + 2 * -(0.25 * np.log(half) + 0.75 * np.log(half))
    assert loss_of([[1, 0.25]], [[1.0, 0.0]]) == pytest.approx([expected])
    assert np.isfinite(loss_of([[1, 0]], [[-500.0, 500.0]])).all()


def test_unknown_targets_do_not_count():
    assert loss_of([[np.nan, np.nan]], [[3.0, -4.0]]) == pytest.approx([0.0])
    assert loss_of([[1, np.nan]], [[1.0, 99.0]]) == pytest.approx(loss_of([[1, 0]], [[1.0, 5.0]], (1.0, 0.0)))


def test_loss_of_the_mask_is_least_for_the_mask_itself():
    mask = (rated_balls(2).mask_percent[..., np.newaxis] / 100).astype(np.float32)
    right, empty, full = (
        keras.ops.convert_to_numpy(MaskLoss().call(mask, guess)) for guess in (mask, 0 * mask, 0 * mask + 1)
    )
    assert right == pytest.approx([0, 0], abs=1e-3)
    assert (right < empty).all()
    assert (right < full).all()
