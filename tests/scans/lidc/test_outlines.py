"""Outlines as voxels, counted by hand, and the readings that are of one nodule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lidc_outlines import reader_counts
from nodules.imaging.geometry.volume import Volume
from nodules.scans.lidc.outlines import outlined_nodules
from nodules.scans.lidc.xml_file import Contour, NoduleReading, SeriesReadings
from nodules.scans.result import Reading, ScanError
from support.lidc_files import SCORES, UID, square

SHAPE = (6, 30, 40)
VOLUME = Volume(np.zeros(SHAPE, np.int16), (2.5, 0.5, 0.5), (-100.0, -50.0, -200.0))
SCAN = Reading(VOLUME, "MetaImage")


def contour(z: float, points, *, included: bool = True) -> Contour:
    """An outline in a slice, given by its index."""
    return Contour(-200.0 + 2.5 * z, tuple(points), included)


def reading(reader: int, *contours: Contour, **scores: int) -> NoduleReading:
    return NoduleReading(reader, contours, SCORES | scores)


def readings(*nodules: NoduleReading) -> SeriesReadings:
    return SeriesReadings(UID, 4, nodules, (), ())


def counts(*nodules: NoduleReading, scan: Reading = SCAN) -> np.ndarray:
    return reader_counts(readings(*nodules), scan)


def test_the_outline_lies_outside():
    """A square of 5 x 5 pixels surrounds 3 x 3."""
    found = counts(reading(0, contour(2, square(10, 20, 14, 24))))
    wanted = np.zeros(SHAPE, np.uint8)
    wanted[2, 21:24, 11:14] = 1
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == np.uint8


def test_outline_in_steps_of_several_pixels_or_left_open_is_closed_by_lines():
    corners = [(10, 20), (14, 20), (14, 24), (10, 24)]
    whole = counts(reading(0, contour(2, square(10, 20, 14, 24))))
    np.testing.assert_array_equal(counts(reading(0, contour(2, corners))), whole)
    np.testing.assert_array_equal(counts(reading(0, contour(2, [*corners, corners[0]]))), whole)
    np.testing.assert_array_equal(counts(reading(0, contour(2, square(10, 20, 14, 24)[:-1]))), whole)


def test_diamond_by_hand():
    """Corners two pixels from the centre, and the four pixels between them: a cross of five is surrounded."""
    edge = [(12, 20), (13, 21), (14, 22), (13, 23), (12, 24), (11, 23), (10, 22), (11, 21)]
    found = np.argwhere(counts(reading(0, contour(0, edge))))
    assert found.tolist() == [[0, 21, 12], [0, 22, 11], [0, 22, 12], [0, 22, 13], [0, 23, 12]]


def test_outline_that_surrounds_nothing():
    thin = [(10, 20), (11, 20), (12, 20), (11, 21)]
    assert not counts(reading(0, contour(0, thin))).any()
    assert outlined_nodules(readings(reading(0, contour(0, thin))), SCAN) == []


def test_hole_is_taken_away_but_not_its_own_outline():
    """25 pixels, and a hole outlined by 3 x 3 that surrounds one."""
    outer, hole = contour(1, square(10, 10, 16, 16)), contour(1, square(12, 12, 14, 14), included=False)
    for order in ((outer, hole), (hole, outer)):
        found = counts(reading(0, *order))
        assert found.sum() == 24
        assert found[1, 13, 13] == 0


def test_hole_of_one_slice_or_one_reader_stays_there():
    hole = contour(1, square(12, 12, 14, 14), included=False)
    both = [contour(z, square(10, 10, 16, 16)) for z in (1, 2)]
    found = counts(reading(0, *both, hole), reading(1, *both))
    assert found[:, 13, 13].tolist() == [0, 1, 2, 0, 0, 0]


def test_two_outlines_of_one_slice_are_joined():
    apart = contour(1, square(10, 10, 14, 14)), contour(1, square(20, 10, 24, 14))
    assert counts(reading(0, *apart)).sum() == 18


def test_a_reader_counts_once_where_two_of_their_nodules_overlap():
    edge = square(10, 10, 14, 14)
    found = counts(reading(0, contour(1, edge)), reading(0, contour(1, edge)), reading(3, contour(1, edge)))
    assert found.max() == 2


@pytest.mark.parametrize(("z", "slice_index"), [(2.0, 2), (2.4, 2), (1.6, 2), (-0.4, 0), (5.4, 5)])
def test_contour_belongs_to_the_nearest_slice(z, slice_index):
    found = counts(reading(0, contour(z, square(10, 10, 14, 14))))
    assert np.flatnonzero(found.any(axis=(1, 2))).tolist() == [slice_index]


@pytest.mark.parametrize(
    ("z", "points"),
    [
        (-0.6, square(10, 10, 14, 14)),
        (5.6, square(10, 10, 14, 14)),
        (1, square(36, 10, 40, 14)),
        (1, square(10, 26, 14, 30)),
        (1, square(10, 10, 99_999, 99_999)[::1000]),
    ],
)
def test_outline_beyond_the_grid_is_refused(z, points):
    for function in (reader_counts, outlined_nodules):
        with pytest.raises(ScanError, match=rf"series {UID}: an outline .* leaves the scan"):
            function(readings(reading(0, contour(z, points))), SCAN)


def test_outlines_follow_a_flipped_scan():
    """What is at column 11 and row 21 of the stored slice is at 39 - 11 and 29 - 21 of the volume."""
    one = reading(0, contour(2, square(10, 20, 14, 23)))
    plain = counts(one)
    for flipped_xy, axes in (((True, True), (1, 2)), ((True, False), 2), ((False, True), 1)):
        found = counts(one, scan=replace(SCAN, flipped_xy=flipped_xy))
        np.testing.assert_array_equal(found, np.flip(plain, axes))


def test_resampled_scan_is_refused():
    with pytest.raises(ScanError, match=f"series {UID}: the scan was resampled"):
        counts(reading(0, contour(2, square(10, 20, 14, 24))), scan=replace(SCAN, flipped_xy=None))


def test_no_readings():
    assert not counts().any()
    assert outlined_nodules(readings(), SCAN) == []


def test_majority_of_one_to_four_readers():
    """Readers draw 1 x 1, 3 x 3, 5 x 5 and 7 x 7 pixels around one place: two of n agree on the second largest."""
    drawn = [reading(n, contour(1, square(18 - n, 13 - n, 20 + n, 15 + n))) for n in range(4)]
    for number, pixels in ((1, 1), (2, 1), (3, 9), (4, 25)):
        (found,) = outlined_nodules(readings(*drawn[:number]), SCAN)
        assert found.readers == number
        assert len(found.voxels_zyx) == pixels
        assert len(found.drawn_zyx) == (2 * number - 1) ** 2
        np.testing.assert_array_equal(found.voxels_zyx.mean(axis=0), (1, 14, 19))
        assert found.centre_world_xyz == (-100.0 + 19 * 0.5, -50.0 + 14 * 0.5, -200.0 + 2.5)
        assert found.diameter_mm == pytest.approx((6 * pixels * 0.5 * 0.5 * 2.5 / np.pi) ** (1 / 3))


def test_scores_are_means():
    edge = contour(1, square(10, 10, 14, 14))
    first, second = reading(0, edge, malignancy=5), reading(1, edge, malignancy=2)
    (found,) = outlined_nodules(readings(first, second), SCAN)
    assert found.scores == SCORES | {"malignancy": 3.5}


def test_readings_that_share_no_voxel_are_of_two_nodules():
    """Two outlines whose edges coincide: 3 x 3 pixels each, side by side."""
    first, second = reading(0, contour(1, square(10, 10, 14, 14))), reading(1, contour(1, square(14, 10, 18, 14)))
    found = outlined_nodules(readings(first, second), SCAN)
    assert [(one.readers, len(one.voxels_zyx)) for one in found] == [(1, 9), (1, 9)]


def test_readings_of_one_reader_are_never_of_one_nodule():
    edge = contour(1, square(10, 10, 14, 14))
    found = outlined_nodules(readings(reading(0, edge), reading(0, edge), reading(1, edge)), SCAN)
    assert [one.readers for one in found] == [2, 1]


def test_the_closest_readings_join_first():
    """Reader 1 drew two nodules where reader 0 drew one; the larger shares more with it."""
    whole = reading(0, contour(1, square(10, 10, 20, 14)))
    left, right = reading(1, contour(1, square(10, 10, 13, 14))), reading(1, contour(1, square(13, 10, 20, 14)))
    found = outlined_nodules(readings(left, whole, right), SCAN)
    assert [(one.readers, len(one.drawn_zyx)) for one in found] == [(1, 6), (2, 27)]


def test_a_chain_of_readers_is_one_nodule():
    """The first and the third share nothing, but both overlap with the second."""
    chain = [reading(n, contour(1, square(10 + 4 * n, 10, 16 + 4 * n, 14))) for n in range(3)]
    (found,) = outlined_nodules(readings(*chain), SCAN)
    assert found.readers == 3
    assert len(found.voxels_zyx) == 2 * 3  # one column of three pixels in each overlap
