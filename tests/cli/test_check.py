"""`nodules check`: the verdict on a scan, in words and as JSON."""

from __future__ import annotations

import json

from support.command_line import nodules, predict
from support.dicom_files import PATIENT_NAME, SERIES_UID


def test_check_says_what_was_read(tiny_pipeline, scans, volume, model, tmp_path):
    settings = ("--params", tiny_pipeline.path("params.yaml"))
    result = nodules("check", scans["folder"], *settings, "--json")
    assert result.exit_code == 0
    verdict = json.loads(result.stdout)
    assert verdict["status"] == "usable"
    assert "6.50 mm" in verdict["reasons"][0]
    assert verdict["facts"]["kind"] == "DICOM"
    assert verdict["facts"]["series_uid"] == SERIES_UID
    assert verdict["facts"]["shape_zyx"] == list(volume.shape_zyx)
    assert verdict["facts"]["spacing_zyx_mm"] == [6.5, 4.5, 4.25]
    assert verdict == predict(scans["folder"], tmp_path, model)["verdict"]
    words = nodules("check", scans["folder"], *settings)
    assert words.exit_code == 0
    assert "6.5, 4.5, 4.25" in words.stdout
    assert "usable" in words.stdout
    assert PATIENT_NAME.split("^")[0] not in words.stdout + result.stdout


def test_asking_for_a_series_that_is_not_there(tiny_pipeline, scans):
    result = nodules(
        "check", scans["folder"], "--series", "1.2.3", "--params", tiny_pipeline.path("params.yaml"), "--json"
    )
    assert result.exit_code == 1
    assert SERIES_UID in json.loads(result.stdout)["reasons"][0]
