"""The verdict on a scan, made from what its reader says."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from nodules.imaging.geometry.volume import Volume
from nodules.scans.result import Reading, ReadingParams, ScanError, verdict_of, verdict_of_error

LIMITS = ReadingParams(max_gap_mm=5.0, max_tilt_degrees=10.0, max_thickness_mm=3.0)
VOXELS = np.array([-1000, -3, 0, 7, 40, 1200], dtype=np.int16).reshape(1, 2, 3)
READING = Reading(Volume(VOXELS, (2.5, 0.6, 0.8), (-1.0, 2.0, 3.5)), "DICOM", series_uid="1.2.3", thickness_mm=1.25)


def test_flawless_scan_is_ok_and_described():
    verdict = verdict_of(READING, LIMITS)
    assert (verdict.status, verdict.reasons) == ("ok", ())
    assert verdict.facts == {
        "kind": "DICOM",
        "series_uid": "1.2.3",
        "other_series": {},
        "left_out": {},
        "shape_zyx": [1, 2, 3],
        "spacing_zyx_mm": [2.5, 0.6, 0.8],
        "origin_xyz_mm": [-1.0, 2.0, 3.5],
        "direction_xyz": [1, 0, 0, 0, 1, 0, 0, 0, 1],
        "thickness_mm": 1.25,
        "hu_range": [-1000, 1200],
        "repairs": [],
        "warnings": [],
    }
    assert json.loads(json.dumps(verdict.as_dict()))["status"] == "ok"
    assert verdict.as_row() == {"verdict": "ok", "reasons": ""}


@pytest.mark.parametrize(
    ("changes", "findings", "reason"),
    [
        ({"repairs": ("2 slices dropped",)}, (), "2 slices dropped"),
        ({"warnings": ("derived",)}, (), "derived"),
        ({"other_series": {"1.2.4": 30}}, (), "1 other CT series"),
        ({"thickness_mm": 5.0}, (), "5.00 mm thick and 2.50 mm apart"),
        (
            {"thickness_mm": None, "volume": replace(READING.volume, spacing_zyx_mm=(4.0, 1.0, 1.0))},
            (),
            "4.00 mm apart",
        ),
        ({}, ("no lungs found",), "no lungs found"),
    ],
)
def test_one_reason_makes_it_usable(changes, findings, reason):
    verdict = verdict_of(replace(READING, **changes), LIMITS, findings)
    assert verdict.status == "usable"
    assert len(verdict.reasons) == 1
    assert reason in verdict.reasons[0]


def test_left_out_files_are_no_reason():
    assert verdict_of(replace(READING, left_out={"localizer": 2}), LIMITS).status == "ok"


def test_thickness_at_the_limit_is_no_reason():
    assert verdict_of(replace(READING, thickness_mm=3.0 + 1e-9), LIMITS).status == "ok"


def test_reasons_come_in_the_order_in_which_they_arose():
    reading = replace(READING, repairs=("a", "b"), warnings=("c",))
    verdict = verdict_of(reading, LIMITS, ["d"])
    assert verdict.reasons == ("a", "b", "c", "d")
    assert verdict.as_row() == {"verdict": "usable", "reasons": "a; b; c; d"}


def test_refusal():
    verdict = verdict_of_error(ScanError("x.mha: cut short"))
    assert verdict.as_dict() == {"status": "unusable", "reasons": ["x.mha: cut short"], "facts": {}}
