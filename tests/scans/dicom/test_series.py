from __future__ import annotations

import pytest

from nodules.scans.dicom.headers import Slice
from nodules.scans.dicom.series import choose_series
from nodules.scans.result import ScanError


def _series(uid: str, count: int, *, is_derived: bool = False) -> list[Slice]:
    return [
        Slice(f"{uid}-{k}", None, uid, "", (5, 6), (0.7, 0.8), (0.0, 0.0, 2.5 * k), (1, 0, 0, 0, 1, 0), 2.5, is_derived)
        for k in range(count)
    ]


def test_most_slices_first():
    choice = choose_series(_series("1.1", 2) + _series("1.9", 3), None, "scan")
    assert choice.series == _series("1.9", 3)
    assert choice.other_series == {"1.1": 2}
    assert choice.derived_left_out == 0


def test_original_before_more_derived_slices():
    choice = choose_series(_series("1.1", 9, is_derived=True) + _series("1.9", 2), None, "scan")
    assert choice.series == _series("1.9", 2)
    assert choice.other_series == {}
    assert choice.derived_left_out == 9


def test_of_equals_the_smallest_uid():
    slices = _series("1.2", 3) + _series("1.10", 3) + _series("1.3", 3)
    assert choose_series(slices, None, "scan").series == _series("1.10", 3)  # as text, as it is listed


def test_derived_alone():
    slices = _series("1.1", 2, is_derived=True) + _series("1.2", 3, is_derived=True)
    choice = choose_series(slices, None, "scan")
    assert choice.series == _series("1.2", 3, is_derived=True)
    assert choice.other_series == {"1.1": 2}
    assert choice.derived_left_out == 0


def test_derived_slices_within_an_original_series():
    choice = choose_series(_series("1.1", 5) + _series("1.1", 7, is_derived=True), None, "scan")
    assert choice.series == _series("1.1", 5)
    assert choice.derived_left_out == 7


def test_a_derived_series_that_is_wanted():
    slices = _series("1.1", 5) + _series("1.2", 7, is_derived=True) + _series("1.3", 4, is_derived=True)
    choice = choose_series(slices, "1.2", "scan")
    assert choice.series == _series("1.2", 7, is_derived=True)
    assert choice.other_series == {"1.1": 5}
    assert choice.derived_left_out == 4


def test_unknown_series():
    slices = _series("1.2", 7, is_derived=True) + _series("1.1", 5)
    with pytest.raises(ScanError) as caught:
        choose_series(slices, "1.5", "scan")
    assert str(caught.value) == "scan: no CT series 1.5; available: 1.1 (5 slices), 1.2 (7 derived slices)"
