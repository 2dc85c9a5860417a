"""Which slices are needed around one slice, and how they are blended."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodules.imaging.network_input.slice_context import ContextParams, neighbours, positions, stack

THREE = ContextParams(slices=3, distance_mm=2.5)
FIVE = ContextParams(slices=5, distance_mm=2.0)


def numbered(count: int) -> np.ndarray:
    """Slices whose value is 100 times their index, with a pattern of their own."""
    return np.arange(count, dtype=np.int16)[:, None, None] * 100 + np.arange(6, dtype=np.int16).reshape(2, 3)


def at(count: int) -> dict[int, int]:
    return {index: index for index in range(count)}


@pytest.mark.parametrize("slices", [2, 4])
def test_even_number_of_slices_is_refused(slices):
    with pytest.raises(ValueError, match=f"expected an odd number of slices, got {slices}"):
        ContextParams(slices, 2.5)


@pytest.mark.parametrize(
    ("params", "slice_mm", "wanted"),
    [
        (THREE, 2.5, [9, 10, 11]),
        (THREE, 1.25, [8, 10, 12]),
        (THREE, 2.0, [8.75, 10, 11.25]),
        (THREE, 5.0, [9.5, 10, 10.5]),
        (FIVE, 1.0, [6, 8, 10, 12, 14]),
        (ContextParams(1, 2.5), 1.25, [10]),
    ],
)
def test_positions_by_hand(params, slice_mm, wanted):
    np.testing.assert_allclose(positions(10, params, slice_mm, 40), wanted)


def test_context_beyond_the_ends_repeats_the_last_slice():
    assert positions(0, FIVE, 1.0, 40).tolist() == [0, 0, 0, 2, 4]
    assert positions(38, FIVE, 1.0, 40).tolist() == [34, 36, 38, 39, 39]


def test_neighbours_have_no_gaps():
    assert neighbours(10, THREE, 1.25, 40).tolist() == [8, 9, 10, 11, 12]
    assert neighbours(10, THREE, 2.0, 40).tolist() == [8, 9, 10, 11, 12]
    assert neighbours(0, THREE, 1.25, 40).tolist() == [0, 1, 2]
    assert neighbours(39, THREE, 1.25, 40).tolist() == [37, 38, 39]


def test_slices_thicker_than_the_context_distance():
    assert neighbours(10, THREE, 5.0, 40).tolist() == [9, 10, 11]
    stacked = stack(numbered(40), at(40), 10, THREE, 5.0, 40)
    np.testing.assert_allclose(stacked[0, 0], [950, 1000, 1050])  # half way to the neighbours


def test_one_slice_volume():
    assert neighbours(0, FIVE, 2.0, 1).tolist() == [0]
    stacked = stack(numbered(1), {0: 0}, 0, FIVE, 2.0, 1)
    assert stacked.shape == (2, 3, 5)
    np.testing.assert_array_equal(stacked, np.repeat(numbered(1)[0][..., None], 5, axis=-1))


def test_stack_by_hand():
    stacked = stack(numbered(40), at(40), 10, THREE, 2.0, 40)
    assert stacked.dtype == np.float32
    assert stacked.shape == (2, 3, 3)
    np.testing.assert_allclose(stacked[1, 2], [880, 1005, 1130])  # slices 8.75, 10, 11.25 and 5 from the pattern


def test_integer_slices_are_blended_without_overflow():
    extreme = np.array([32767, -32768], np.int16)[:, None, None]
    stacked = stack(extreme, {0: 0, 1: 1}, 0, THREE, 5.0, 2)
    np.testing.assert_allclose(stacked[0, 0], [32767, 32767, -0.5])


def test_rows_may_lie_anywhere():
    rows = {12: 0, 8: 1, 10: 2, 9: 3, 11: 4}
    shuffled = numbered(40)[[12, 8, 10, 9, 11]]
    np.testing.assert_array_equal(
        stack(shuffled, rows, 10, THREE, 2.0, 40), stack(numbered(40), at(40), 10, THREE, 2.0, 40)
    )


def test_missing_slice_is_an_error():
    with pytest.raises(KeyError, match="12"):
        stack(numbered(12), at(12), 10, THREE, 2.0, 40)


@settings(deadline=None)
@given(
    st.data(),
    st.integers(1, 60),
    st.sampled_from([1, 3, 5, 7]),
    st.floats(0.3, 12),
    st.floats(0.3, 12),
)
def test_the_neighbours_are_all_that_a_stack_needs(data, count, slices, distance_mm, slice_mm):
    index = data.draw(st.integers(0, count - 1))
    params = ContextParams(slices, distance_mm)
    needed = neighbours(index, params, slice_mm, count)
    assert needed[0] >= 0
    assert needed[-1] < count
    assert np.diff(needed).tolist() == [1] * (len(needed) - 1)
    whole = numbered(count)
    stored = {int(slice_index): row for row, slice_index in enumerate(needed)}
    stacked = stack(whole[needed], stored, index, params, slice_mm, count)
    height_mm = np.clip(
        index * slice_mm + distance_mm * np.arange(-(slices // 2), slices // 2 + 1), 0, (count - 1) * slice_mm
    )
    wanted = np.interp(height_mm, np.arange(count) * slice_mm, whole[:, 1, 1].astype(float))
    np.testing.assert_allclose(stacked[1, 1], wanted, atol=2e-2)
    np.testing.assert_array_equal(stacked[..., slices // 2], whole[index])
