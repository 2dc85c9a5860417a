"""Morphology within slices, against distances worked out pair by pair."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nodules.imaging.geometry import morphology

SPACING = (0.5, 2.0, 3.0)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), radius_mm=st.floats(0.0, 9.0))
def test_dilation_reaches_as_far_as_the_radius_and_no_other_slice(seed: int, radius_mm: float) -> None:
    mask = np.random.default_rng(seed).random((3, 6, 7)) < 0.1
    mask[1] = False
    dilated = morphology.dilate(mask, SPACING, radius_mm)
    assert not dilated[1].any()
    pixels = np.argwhere(np.ones(mask.shape[1:], dtype=bool)) * np.array(SPACING[1:])
    for plane, result in zip(mask, dilated, strict=True):
        inside = pixels[plane.ravel()]
        near = [bool((np.hypot(*(inside - pixel).T) <= radius_mm + 1e-9).any()) for pixel in pixels]
        np.testing.assert_array_equal(result.ravel(), near)


def test_closing_fills_a_bay_narrower_than_its_disc_only() -> None:
    block = np.zeros((2, 40, 40), dtype=bool)
    block[0, 10:30, 10:30] = True
    bay = np.zeros_like(block)
    bay[0, 10:18, 18:22] = True  # 8 rows of 2 mm deep, 4 columns of 3 mm wide
    notched = block & ~bay
    assert morphology.close(notched, SPACING, 3.0)[bay].mean() < 0.1  # no more than the corners of the bay
    assert morphology.close(notched, SPACING, 9.0)[bay].mean() > 0.7
    assert not morphology.close(notched, SPACING, 9.0)[1].any()


def test_closing_fills_holes_of_any_size() -> None:
    ring = np.zeros((1, 20, 20), dtype=bool)
    ring[0, 2:18, 2:18] = True
    ring[0, 5:15, 5:15] = False
    assert morphology.close(ring, SPACING, 0.0)[0, 2:18, 2:18].all()


def test_closing_at_the_edge_of_the_image_adds_nothing_to_a_block() -> None:
    block = np.zeros((1, 12, 12), dtype=bool)
    block[0, :5, :5] = True
    np.testing.assert_array_equal(morphology.close(block, SPACING, 8.0), block)


def test_a_full_mask_has_no_outside() -> None:
    assert morphology.erode(np.ones((2, 3, 4), dtype=bool), SPACING, 1000.0).all()


def test_what_touches_the_edge_is_outside() -> None:
    mask = np.zeros((2, 5, 6), dtype=bool)
    mask[0, 2, 2] = mask[1, 0, 3] = mask[1, 1, 3] = True
    inner = morphology.clear_border(mask)
    assert inner[0, 2, 2]
    assert inner.sum() == 1


def test_share_of_surroundings_counted_by_hand() -> None:
    labels = np.zeros((1, 5, 5), dtype=int)
    labels[0, 2, 2] = 1
    wanted = np.zeros_like(labels, dtype=bool)
    wanted[0, 1] = True  # three of the eight neighbours
    share = morphology.share_of_surroundings(labels, wanted, np.ones_like(wanted), steps=1)
    assert share[1] == 3 / 8


def test_bounding_box_stays_on_the_grid() -> None:
    mask = np.zeros((4, 5, 6), dtype=bool)
    mask[1, 2:4, 5] = True
    assert morphology.bounding_box(mask) == (slice(1, 2), slice(2, 4), slice(5, 6))
    assert morphology.bounding_box(mask, (2, 1, 3)) == (slice(0, 4), slice(1, 5), slice(2, 6))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), slices=st.integers(1, 20), radius_mm=st.floats(0.0, 40.0))
def test_slices_that_share_a_byte_do_not_touch(seed: int, slices: int, radius_mm: float) -> None:
    mask = np.random.default_rng(seed).random((slices, 5, 6)) < 0.1
    apart = np.concatenate([morphology.dilate(plane[np.newaxis], SPACING, radius_mm) for plane in mask])
    np.testing.assert_array_equal(morphology.dilate(mask, SPACING, radius_mm), apart)


def test_erosion_counts_from_the_voxels_outside_and_not_from_the_edge_of_the_image() -> None:
    mask = np.ones((2, 9, 9), dtype=bool)
    mask[0, 4, 4] = False
    eroded = morphology.erode(mask, SPACING, 4.0)  # rows of 2 mm, columns of 3 mm: a cross of 5 rows and 3 columns
    assert eroded[1].all()
    assert np.argwhere(~eroded[0])[:, 0].tolist() == [2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6]


def test_steps_go_along_rows_and_columns() -> None:
    mask = np.zeros((9, 7, 8), dtype=bool)
    mask[8, 0, 3] = True
    wide = morphology.widen(mask, 2)
    assert [np.flatnonzero(row).tolist() for row in wide[8, :4]] == [[1, 2, 3, 4, 5], [2, 3, 4], [3], []]
    assert wide.sum() == 9
