"""LUNA16's hit rule, FROC and submissions, by the official script's figures and on scans small enough to count."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nodules.evaluation.detection import (
    MAX_CANDIDATES,
    ScanDetections,
    detection_summary,
    evaluate_submission,
    froc_points,
    match_candidates,
)
from nodules.scans.tables.luna import NoduleAnnotation, read_annotations
from nodules.scans.tables.submission import COORDINATES, read_excluded, read_series_uids, read_submission


def test_candidate_hits_inside_the_radius_only():
    centre = [-70.0, 20.0, 150.0]
    candidates = [[-70.0, 20.0, 152.9], [-70.0, 20.0, 153.0], [-66.0, 20.0, 150.0]]
    scan = match_candidates(candidates, [0.9, 0.8, 0.7], [centre], [6.0])
    assert scan.hit_probabilities.tolist() == [0.9]  # at exactly the radius is outside, as in LUNA16
    assert scan.false_positive_probabilities.tolist() == [0.8, 0.7]


def test_second_candidate_in_a_nodule_is_neither_hit_nor_false_positive():
    scan = match_candidates([[0, 0, 1], [0, 1, 0]], [0.3, 0.6], [[0, 0, 0]], [10.0])
    assert scan.hit_probabilities.tolist() == [0.6]
    assert scan.false_positive_probabilities.size == 0
    assert scan.doubles == 1


def test_candidate_in_two_nodules_hits_both():
    scan = match_candidates([[0, 0, 4]], [0.5], [[0, 0, 0], [0, 0, 6]], [20.0, 20.0])
    assert scan.hit_probabilities.tolist() == [0.5, 0.5]
    assert scan.doubles == 0


def test_candidate_in_an_excluded_finding_does_not_count():
    candidates, probabilities = [[0, 0, 0], [9, 0, 0], [50, 0, 0]], [0.5, 0.6, 0.7]
    # the first lies in a nodule and in an excluded finding: a hit; the second in the excluded finding alone
    scan = match_candidates(candidates, probabilities, [[0, 0, 0]], [4.0], [[5, 0, 0]], [12.0])
    assert scan.hit_probabilities.tolist() == [0.5]
    assert scan.false_positive_probabilities.tolist() == [0.7]
    assert scan.ignored == 1


@pytest.mark.parametrize(
    ("candidates", "nodules", "false_positives"), [([], [[0, 0, 0]], 0), ([[0, 0, 0]], [], 1), ([], [], 0)]
)
def test_scan_without_candidates_or_nodules(candidates, nodules, false_positives):
    scan = match_candidates(candidates, [0.5] * len(candidates), nodules, [5.0] * len(nodules))
    assert scan.hit_probabilities.size == len(nodules)
    assert np.isnan(scan.hit_probabilities).all()
    assert scan.false_positive_probabilities.size == false_positives


def test_refuses_lengths_that_differ_and_missing_values():
    with pytest.raises(ValueError, match="probabilities: expected 1 values"):
        match_candidates([[0, 0, 0]], [], [], [])
    with pytest.raises(ValueError, match="excluded_diameters_mm: expected 1 values"):
        match_candidates([], [], [], [], [[0, 0, 0]], [])
    with pytest.raises(ValueError, match="shape"):
        match_candidates([[0, 0]], [0.5], [], [])
    with pytest.raises(ValueError, match="finite"):
        match_candidates([[0, 0, np.nan]], [0.5], [], [])


def three_scans():
    """4 nodules, 3 found at .9 .6 .2; false positives at .8 .5 .5; the last scan has nothing at all."""
    nodules = [[0, 0, 0], [50, 0, 0]]
    first = match_candidates([[0, 0, 0], [50, 0, 0], [99, 0, 0]], [0.9, 0.2, 0.8], nodules, [5, 5])
    second = match_candidates([[0, 0, 0], [99, 0, 0], [0, 99, 0]], [0.6, 0.5, 0.5], nodules, [5, 5])
    return [first, second, match_candidates([], [], [], [])]


def test_summary_by_hand():
    assert detection_summary(three_scans()) == {
        "scans": 3,
        "nodules": 4,
        "hits": 3,
        "false_positives": 3,
        "ignored": 0,
        "doubles": 0,
        "sensitivity": 0.75,
        "false_positives_per_scan": 1.0,
    }


def test_summary_leaves_out_what_is_undefined():
    found = detection_summary([])
    assert "sensitivity" not in found
    assert "false_positives_per_scan" not in found
    assert set(found.values()) == {0}


def test_points_by_hand():
    points = froc_points(three_scans(), rates=(0.0, 0.3, 0.34, 0.9, 1.0, 8.0))
    assert points["sensitivity"].tolist() == pytest.approx([0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 3.0 / 6])
    assert np.isnan(points["false_positives_per_scan"].iloc[-1])


def test_between_tied_candidates_the_curve_is_a_line():
    tied = match_candidates([[0, 0, 0], [99, 0, 0]], [0.5, 0.5], [[0, 0, 0]], [5])
    assert froc_points([tied], rates=(0.5, 1.0))["sensitivity"].tolist() == [0.5, 1.0, 0.75]


def test_without_nodules_or_scans_there_are_no_rows():
    for scans in ([], [match_candidates([[0, 0, 0]], [0.5], [], [])]):
        assert froc_points(scans, draws=10).empty


def test_no_candidate_at_all():
    missed = match_candidates([], [], [[0, 0, 0]], [5])
    assert froc_points([missed], rates=(1.0,))["sensitivity"].tolist() == [0.0, 0.0]


def slow_interval(scans: list[ScanDetections], rate: float, draws: int) -> tuple[float, float]:
    """The interval by drawing the scans one by one and computing every curve anew."""
    random = np.random.default_rng(5)
    found = []
    for _ in range(draws):
        drawn = [scans[k] for k in random.integers(len(scans), size=len(scans))]
        table = froc_points(drawn, rates=(rate,))
        found += [] if table.empty else [table["sensitivity"].iloc[0]]
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def test_interval_is_that_of_drawing_scans_one_by_one():
    random = np.random.default_rng(3)
    scans = [
        ScanDetections(np.where(random.random(2) < 0.7, random.random(2), np.nan), random.random(random.integers(4)))
        for _ in range(30)
    ]
    points = froc_points(scans, rates=(1.0,), draws=1500, seed=1)
    assert (points["low"][0], points["high"][0]) == pytest.approx(slow_interval(scans, 1.0, 1500), abs=0.03)
    assert points["low"][0] < points["sensitivity"][0] < points["high"][0]
    pd.testing.assert_frame_equal(points, froc_points(scans, rates=(1.0,), draws=1500, seed=1))


REAL = os.environ.get("NODULES_REAL_DATA")


@pytest.mark.skipif(REAL is None, reason="NODULES_REAL_DATA is not set")
def test_figures_of_the_official_script():
    tables = Path(REAL or "") / "tables"
    example = tables / "froc_example"
    scans = evaluate_submission(
        read_submission(example / "submission.csv"),
        read_annotations(tables / "luna16" / "annotations.csv"),
        read_excluded(tables / "luna16" / "annotations_excluded.csv.gz"),
        read_series_uids(example / "seriesuids.csv"),
    )
    counts = {"scans": 88, "nodules": 105, "hits": 104, "false_positives": 986, "ignored": 358, "doubles": 51}
    assert {name: detection_summary(scans)[name] for name in counts} == counts
    expected = [0.7619, 0.8762, 0.8952, 0.9238, 0.9333, 0.9810, 0.9905, 0.9088]
    assert froc_points(scans)["sensitivity"].tolist() == pytest.approx(expected, abs=1e-4)
    official = pd.read_csv(example / "expected_froc.csv", names=["rate", "sensitivity", "threshold"])
    rates = np.linspace(0.01, 11, 1000)
    ours = froc_points(scans, rates.tolist())["sensitivity"][:-1]
    np.testing.assert_allclose(ours, np.interp(rates, official["rate"], official["sensitivity"]), atol=1e-6)


def candidates(*rows: tuple[str, float, float]) -> pd.DataFrame:
    """Rows of series, x and probability."""
    return pd.DataFrame(
        [[uid, x, 0.0, 0.0, p] for uid, x, p in rows], columns=["seriesuid", *COORDINATES, "probability"]
    )


def at(x: float, diameter_mm: float) -> NoduleAnnotation:
    return NoduleAnnotation("a", (x, 0.0, 0.0), diameter_mm)


def test_scans_without_candidates_and_without_nodules_count():
    found = evaluate_submission(candidates(("a", 1.0, 0.9), ("z", 0.0, 0.9)), {"a": [at(0.0, 4.0)]}, {}, ["a", "b"])
    assert detection_summary(found)["scans"] == 2
    assert detection_summary(found)["hits"] == 1
    assert detection_summary(found)["false_positives"] == 0, "series z is not among the scans"


def test_excluded_finding_forgives():
    found = evaluate_submission(candidates(("a", 20.0, 0.9)), {"a": [at(0.0, 4.0)]}, {"a": [at(21.0, 10.0)]}, ["a"])
    assert (detection_summary(found)["ignored"], detection_summary(found)["false_positives"]) == (1, 0)


def test_only_the_most_probable_hundred_count():
    rows = candidates(*(("a", 50.0 + n, 0.5) for n in range(MAX_CANDIDATES)), ("a", 0.0, 0.4), ("a", 0.0, 0.6))
    (scan,) = evaluate_submission(rows, {"a": [at(0.0, 4.0)]}, {}, ["a"])
    assert scan.hit_probabilities.tolist() == [0.6]
    assert scan.false_positive_probabilities.size == MAX_CANDIDATES - 1
