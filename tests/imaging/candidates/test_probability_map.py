"""Which HU are kept beside the network's answer."""

import numpy as np
import pytest

from nodules.imaging.candidates.probability_map import responding_hu

SPACING = (5.0, 2.0, 4.0)


def hu(shape) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.int16).reshape(shape)


def test_kept_are_20_mm_along_each_axis_around_an_answer():
    """4 slices, 10 rows and 5 columns on either side, cut at the grid's end."""
    probability = np.zeros((12, 30, 20), np.float32)
    probability[2, 14, 8] = 0.1
    kept = responding_hu(hu(probability.shape), probability, SPACING)
    wanted = np.full(probability.shape, -1000, np.int16)
    box = np.s_[0:7, 4:25, 3:14]
    wanted[box] = hu(probability.shape)[box]
    assert kept.dtype == np.int16
    np.testing.assert_array_equal(kept, wanted)


def test_two_answers_keep_both_surroundings_and_nothing_between():
    probability = np.zeros((1, 1, 40), np.float32)
    probability[0, 0, [3, 30]] = 0.5
    kept = responding_hu(hu(probability.shape), probability, SPACING)
    assert np.flatnonzero(kept.ravel() >= 0).tolist() == [*range(9), *range(25, 36)]


def test_a_spacing_that_does_not_divide_the_reach_keeps_more_rather_than_less():
    probability = np.zeros((1, 1, 40), np.float32)
    probability[0, 0, 20] = 1.0
    kept = responding_hu(hu(probability.shape), probability, (3.0, 3.0, 3.0))  # 20 / 3 = 6.7
    assert np.flatnonzero(kept.ravel() >= 0).tolist() == list(range(13, 28))


@pytest.mark.parametrize("value", [0.0, np.nextafter(np.float32(0.1), np.float32(0))])
def test_nothing_is_kept_where_nothing_answers(value):
    kept = responding_hu(hu((2, 3, 4)), np.full((2, 3, 4), value, np.float32), SPACING)
    assert (kept == -1000).all()


def test_the_scan_itself_is_not_changed():
    scan = hu((2, 3, 4))
    responding_hu(scan, np.zeros((2, 3, 4), np.float32), SPACING)
    np.testing.assert_array_equal(scan, hu((2, 3, 4)))
