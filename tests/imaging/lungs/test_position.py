"""Places in lungs that are boxes, and distances against a search over all pairs of voxels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodules.imaging.lungs.position import LungFrame

SPACING = (2.0, 1.0, 1.5)
SHAPE = (9, 14, 18)


def box() -> LungFrame:
    """Slices 2 .. 7, rows 3 .. 10, columns 4 .. 15, the two sides in different slices."""
    lungs = np.zeros(SHAPE, np.uint8)
    lungs[2:5, 3:11, 4:16], lungs[5:8, 3:11, 4:16] = 1, 2
    return LungFrame(lungs, SPACING)


def voxels(*places) -> np.ndarray:
    return np.array(places, dtype=np.int64).reshape(-1, 3)


def test_relative_places_by_hand():
    frame = box()
    assert [frame.relative_height(z) for z in (2, 3, 7, 0, 8.5)] == [0.0, 0.2, 1.0, 0.0, 1.0]
    assert [frame.relative_y(y) for y in (2.5, 6.5, 10.5)] == [0.0, 0.5, 1.0]
    assert [frame.relative_x(x) for x in (3.5, 6.5, 15.5)] == [0.0, 0.25, 1.0]


def test_relative_places_without_lungs_are_those_in_the_grid():
    frame = LungFrame(np.zeros(SHAPE, np.uint8), SPACING)
    assert (frame.relative_height(3), frame.relative_y(6.5), frame.relative_x(4)) == (0.5, 0.5, 0.25)


def test_lungs_of_one_slice_have_no_height():
    lungs = np.zeros(SHAPE, np.uint8)
    lungs[3] = 1
    assert LungFrame(lungs, SPACING).relative_height(3) == 0.5


@pytest.mark.parametrize(
    ("places", "wanted"),
    [
        ([(4, 6, 9)], 3.0),  # row 3 is three rows away
        ([(4, 6, 6)], 3.0),  # column 4 two columns of 1.5 mm, row 3 three of 1 mm
        ([(3, 6, 9)], 2.0),
        ([(4, 6, 9), (4, 5, 9)], 2.0),
        ([(4, 3, 9)], 0.0),  # on the surface
        ([(4, 6, 9), (4, 6, 16)], 0.0),  # partly outside
        ([(0, 0, 0)], 0.0),
    ],
)
def test_distance_to_the_surface_by_hand(places, wanted):
    assert box().pleura_mm(voxels(*places)) == pytest.approx(wanted)


def test_the_end_of_the_grid_is_a_surface():
    full = LungFrame(np.ones(SHAPE, np.uint8), SPACING)
    assert full.pleura_mm(voxels((1, 7, 9))) == 2.0
    padded = LungFrame(np.pad(full.lungs_zyx, 3), SPACING)
    assert padded.pleura_mm(voxels((4, 10, 12))) == 2.0


def test_within_a_distance_of_the_lungs():
    frame = box()
    outside = voxels((4, 6, 16), (4, 6, 17), (1, 6, 9), (0, 6, 9), (4, 2, 16), (4, 6, 9))
    assert frame.within(outside, 0.0).tolist() == [False, False, False, False, False, True]
    assert frame.within(outside, 1.5).tolist() == [True, False, False, False, False, True]
    assert frame.within(outside, 2.0).tolist() == [True, False, True, False, True, True]  # sqrt(1 + 1.5**2) = 1.80
    assert frame.within(outside, 4.0).all()


def test_nothing_is_near_lungs_that_are_not_there():
    frame = LungFrame(np.zeros(SHAPE, np.uint8), SPACING)
    assert not frame.within(voxels((4, 6, 9)), 100.0).any()
    assert frame.pleura_mm(voxels((4, 6, 9))) == 0.0
    assert box().within(voxels(), 1.0).shape == (0,)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(0.5, 6.0))
def test_random_lungs_against_all_pairs(seed, distance_mm):
    random = np.random.default_rng(seed)
    lungs = (random.random(SHAPE) < random.choice([0.02, 0.5, 0.97])).astype(np.uint8)
    frame = LungFrame(lungs, SPACING)
    everything = np.argwhere(np.ones(SHAPE))
    inside = np.argwhere(lungs) * SPACING
    chosen = everything[random.choice(len(everything), 40, replace=False)]
    apart = np.linalg.norm((chosen * SPACING)[:, None] - inside[None], axis=2) if len(inside) else np.full((40, 1), 1e9)
    np.testing.assert_array_equal(frame.within(chosen, distance_mm), apart.min(axis=1) <= distance_mm + 1e-6)
    padded = np.pad(lungs, 1)
    faces = [padded[1:-1, 1:-1, :-2], padded[1:-1, 1:-1, 2:], padded[1:-1, :-2, 1:-1], padded[1:-1, 2:, 1:-1]]
    faces += [padded[:-2, 1:-1, 1:-1], padded[2:, 1:-1, 1:-1]]
    surface = np.argwhere((lungs > 0) & (np.min(faces, axis=0) == 0)) * SPACING
    within = chosen[lungs[tuple(chosen.T)] > 0]
    if len(within):
        wanted = np.linalg.norm((within * SPACING)[:, None] - surface[None], axis=2).min()
        assert frame.pleura_mm(within) == pytest.approx(wanted)
