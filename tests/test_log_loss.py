"""Losses worked out by hand, at the ends and between them."""

import math

import numpy as np
import pytest

from nodules.log_loss import log_losses


@pytest.mark.parametrize("log1p", [False, True])
def test_each_loss_is_minus_the_log_of_what_came_true(log1p):
    found = log_losses([1, 0, 1, 0], [0.8, 0.8, 0.25, 0.25], log1p=log1p)
    np.testing.assert_allclose(found, [-math.log(0.8), -math.log(0.2), math.log(4), -math.log(0.75)])


@pytest.mark.parametrize("log1p", [False, True])
def test_certain_and_wrong_answers_cost_minus_the_log_of_the_clip(log1p):
    found = log_losses([0, 1, 0, 1], [1.0, 0.0, 0.0, 1.0], clip=1e-6, log1p=log1p)
    np.testing.assert_allclose(found, [-math.log(1e-6)] * 2 + [1e-6] * 2, rtol=1e-5)


def test_log1p_keeps_the_digits_of_a_small_probability():
    assert log_losses(0, 1e-12, log1p=True) == pytest.approx(1e-12, rel=1e-12, abs=0)
    assert log_losses(0, 1e-12) != pytest.approx(1e-12, rel=1e-6, abs=0)


def test_a_true_probability_has_an_expected_loss():
    assert log_losses(0.25, 0.5) == pytest.approx(math.log(2))
    by_label = 0.25 * log_losses(1, 0.1) + 0.75 * log_losses(0, 0.1)
    assert log_losses(0.25, 0.1) == pytest.approx(by_label)
