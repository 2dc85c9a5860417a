"""`nodules froc` on tables small enough to count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.command_line import nodules


@pytest.fixture
def challenge(tmp_path) -> tuple[str | Path, ...]:
    """Two nodules in two scans; one is found, with a false positive beside it that an excluded finding explains."""
    table = "seriesuid,coordX,coordY,coordZ,"
    (tmp_path / "found.csv").write_text(f"{table}probability\na,1,0,0,0.9\na,50,0,0,0.8\n")
    (tmp_path / "nodules.csv").write_text(f"{table}diameter_mm\na,0,0,0,6\nb,0,0,0,6\n")
    (tmp_path / "excluded.csv").write_text(f"{table}diameter_mm\na,50,0,0,-1\n")
    return "froc", tmp_path / "found.csv", "--annotations", tmp_path / "nodules.csv"


def test_froc_by_hand(challenge, tmp_path):
    plain = json.loads(nodules(*challenge, "--json").stdout)
    assert {name: plain[name] for name in ("scans", "nodules", "hits", "false_positives", "ignored")} == {
        "scans": 2,
        "nodules": 2,
        "hits": 1,
        "false_positives": 1,
        "ignored": 0,
    }
    assert [point["sensitivity"] for point in plain["froc"]] == [0.5] * 8
    assert plain["froc"][-1]["false_positives_per_scan"] is None
    spared = nodules(*challenge, "--excluded", tmp_path / "excluded.csv")
    assert spared.exit_code == 0
    assert "false_positives  0" in spared.stdout
    assert "mean (CPM)  0.5000" in spared.stdout


def test_froc_counts_scans_without_anything(challenge, tmp_path):
    (tmp_path / "scans.csv").write_text("a\nb\nc\nd\n")
    found = json.loads(nodules(*challenge, "--seriesuids", tmp_path / "scans.csv", "--json").stdout)
    assert (found["scans"], found["false_positives_per_scan"]) == (4, 0.25)


def test_froc_of_a_damaged_table_is_refused(challenge, tmp_path):
    (tmp_path / "found.csv").write_text("seriesuid\n")
    result = nodules(*challenge)
    assert result.exit_code == 1
    assert "found.csv: lacks the column(s) coordX" in result.stderr
