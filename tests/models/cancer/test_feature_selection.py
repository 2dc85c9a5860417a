"""Which columns reach a model, on tables of a few columns made for it."""

import time

import numpy as np
import pytest

from nodules.models.cancer.feature_selection import screen


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_constant_absent_and_nearly_absent_columns_are_dropped(rng):
    noise = rng.normal(size=40)
    rare = np.where(np.arange(40) < 4, noise, np.nan)
    table = np.column_stack([np.full(40, 3.7), noise, np.full(40, np.nan), rare, np.full(40, 0.1)])
    assert screen(table, np.arange(40) % 2, 10).tolist() == [1]


def test_first_of_twins_stays_whatever_its_scale_or_sign(rng):
    first, other = rng.normal(size=(2, 60))
    table = np.column_stack([other, first, 100 * first + 3, -first, np.exp(first), first + rng.normal(size=60)])
    assert screen(table, np.arange(60) % 2, 10).tolist() == [0, 1, 5]


def test_twins_are_found_across_blocks_of_columns(rng):
    table = rng.normal(size=(30, 1500))
    table[:, 1400] = -2 * table[:, 7]
    kept = screen(table, np.arange(30) % 2, 1500)
    assert set(range(1500)) - set(kept.tolist()) == {1400}


def test_what_stays_is_what_goes_with_the_label_in_either_direction(rng):
    truth = np.arange(200) % 2
    table = rng.normal(size=(200, 20))
    table[:, 4] += 2 * truth
    table[:, 17] -= 2 * truth
    assert screen(table, truth, 2).tolist() == [4, 17]


def test_being_missing_can_be_what_goes_with_the_label(rng):
    truth = np.arange(200) % 2
    table = rng.normal(size=(200, 20))
    table[truth == 1, 11] = np.nan
    assert screen(table, truth, 1).tolist() == [11]


def test_presence_of_a_constant_counts_as_a_column(rng):
    truth = np.arange(100) % 2
    table = np.column_stack([rng.normal(size=100), np.where(truth == 1, 1.0, np.nan)])
    assert screen(table, truth, 1).tolist() == [1]


def test_nothing_to_keep():
    assert screen(np.full((10, 3), np.nan), np.arange(10) % 2, 5).tolist() == []
    assert screen(np.empty((10, 0)), np.arange(10) % 2, 5).tolist() == []


def test_five_thousand_columns_take_seconds(rng):
    table = rng.normal(size=(300, 5000))
    started = time.process_time()
    assert len(screen(table, np.arange(300) % 2, 100)) == 100
    assert time.process_time() - started < 10
