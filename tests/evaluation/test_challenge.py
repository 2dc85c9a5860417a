"""Submissions to LUNA16: the official script's figures, and tables small enough to count."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nodules.evaluation.detection import MAX_CANDIDATES, detection_summary, evaluate_submission, froc_points
from nodules.scans.tables.luna import NoduleAnnotation, read_annotations
from nodules.scans.tables.submission import COORDINATES, read_excluded, read_series_uids, read_submission

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
