"""`nodules predict` on one synthetic patient in three kinds of file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nodules.cli import defaults
from nodules.imaging.geometry.volume import Volume
from nodules.scans.volume_files.reader import read_mask
from nodules.scans.volume_files.writer import write_volume
from support.command_line import nodules, predict

OUTPUTS = {"report.json", "nodules.csv", "nodules.nii.gz", "lungs.nii.gz", "overlay.png"}


def test_one_scan_in_any_file_has_one_answer(scans, model, tmp_path):
    answers = {kind: predict(scan, tmp_path / f"out{kind}", model) for kind, scan in scans.items()}
    first = answers.pop(".mha")
    assert first["nodules"]
    for answer in answers.values():
        assert answer["probability"] == pytest.approx(first["probability"], abs=1e-6)
        assert len(answer["nodules"]) == len(first["nodules"])
        for nodule, wanted in zip(answer["nodules"], first["nodules"], strict=True):
            assert nodule == pytest.approx(wanted, abs=1e-6)


def test_predict_writes_all_its_files(scans, volume, model, tmp_path):
    answer = predict(scans[".mha"], tmp_path / "new" / "out", model)
    assert {file.name for file in (tmp_path / "new" / "out").iterdir()} == OUTPUTS
    table = pd.read_csv(tmp_path / "new" / "out" / "nodules.csv")
    assert len(table) == len(answer["nodules"])
    labels = read_mask(tmp_path / "new" / "out" / "nodules.nii.gz")
    assert labels.shape_zyx == volume.shape_zyx
    assert labels.spacing_zyx_mm == pytest.approx(volume.spacing_zyx_mm, abs=1e-4)
    assert set(np.unique(labels.voxels_zyx)) - {0} <= set(table["label"])
    assert labels.voxels_zyx.any()
    lungs = read_mask(tmp_path / "new" / "out" / "lungs.nii.gz")
    assert set(np.unique(lungs.voxels_zyx)) == {0, 1, 2}
    # a nodule of the table lies where the label map shows it
    largest = table.sort_values("volume_mm3").iloc[-1]
    place = np.argwhere(labels.voxels_zyx == largest["label"]).mean(axis=0)
    assert labels.voxel_to_world(place) == pytest.approx(largest[["x_mm", "y_mm", "z_mm"]].to_numpy(float), abs=8.0)


def test_predict_says_probability_and_number_of_nodules(scans, model, tmp_path):
    result = nodules("predict", scans[".nii.gz"], "-o", tmp_path, "--model", model)
    report = json.loads((tmp_path / "report.json").read_text())
    assert f"{report['probability']:.3f}" in result.stdout
    assert f"{len(report['nodules'])} nodules" in result.stdout


def test_json_is_one_object_and_nothing_else(scans, model, tmp_path):
    result = nodules("predict", scans[".zip"], "-o", tmp_path, "--model", model, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json.loads((tmp_path / "report.json").read_text())


def test_scan_without_lungs_is_answered_with_a_warning(model, tmp_path):
    block = Volume(np.full((20, 40, 40), 40, np.int16), (6.0, 5.0, 5.0))
    write_volume(block, tmp_path / "block.nii.gz")
    result = nodules("predict", tmp_path / "block.nii.gz", "-o", tmp_path / "out", "--model", model)
    assert result.exit_code == 0
    assert "no lungs were found" in result.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["nodules"] == []
    assert 0 <= report["probability"] <= 1


def test_missing_model_is_refused(scans, tmp_path):
    result = nodules("predict", scans[".mha"], "-o", tmp_path / "out", "--model", tmp_path / "nowhere")
    assert result.exit_code == 1
    assert "nowhere: no packaged model" in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_model_of_the_checkout_is_taken_and_said(scans, model, tmp_path, here, monkeypatch):
    (tmp_path / "checkout" / "models").mkdir(parents=True)
    (tmp_path / "checkout" / "dvc.yaml").touch()
    (tmp_path / "checkout" / "models" / "diagnosis").symlink_to(model)
    monkeypatch.setattr(defaults, "CHECKOUT", tmp_path / "checkout")
    named = predict(scans[".mha"], tmp_path / "named", model)
    result = nodules("predict", scans[".mha"], "-o", "out", "--json")
    assert json.loads(result.stdout) == named
    assert f"model: {tmp_path}/checkout/models/diagnosis\n" in result.stderr
    assert [file.name for file in here.iterdir()] == ["out"]


# --- a chain without a classifier, as models/pretrained is ---


@pytest.fixture
def pretrained(rating_chain, tmp_path, monkeypatch):
    """A checkout that holds nothing but the pretrained chain."""
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout" / "dvc.yaml").touch()
    shutil.copytree(rating_chain, tmp_path / "checkout" / "models" / "pretrained")
    monkeypatch.setattr(defaults, "CHECKOUT", tmp_path / "checkout")
    return tmp_path / "checkout" / "models" / "pretrained"


@pytest.mark.parametrize("words", [(), ("--model", "pretrained")])
def test_pretrained_chain_is_the_default_where_there_is_no_other(scans, pretrained, words):
    result = nodules("predict", scans[".mha"], "-o", "out", *words)
    assert result.exit_code == 0, result.output
    (line,) = (line for line in result.stderr.splitlines() if line.startswith("model: "))
    assert line.startswith(f"model: {pretrained}, without a classifier of cancer: `probability` is null; `suspicion`")
    report = json.loads(Path("out/report.json").read_text())
    assert report["probability"] is None
    assert 0 < report["suspicion"] < 1
    malignancy = [nodule["malignancy"] for nodule in report["nodules"]]
    assert pd.read_csv("out/nodules.csv")["malignancy"].to_numpy() == pytest.approx(np.array(malignancy), abs=1e-6)
    last = f"suspicion {report['suspicion']:.2f}, {len(report['nodules'])} nodules: out"
    assert result.stdout.splitlines()[-1] == last


def test_chain_that_judges_nothing_finds_nodules(scans, pretrained):
    shutil.rmtree(pretrained / "malignancy")
    result = nodules("predict", scans[".mha"], "-o", "out")
    assert result.exit_code == 0, result.output
    assert f"model: {pretrained}, which finds nodules and does not judge them" in result.stderr
    report = json.loads(Path("out/report.json").read_text())
    assert (report["probability"], report["suspicion"]) == (None, None)
    assert report["nodules"]
    assert all(nodule["malignancy"] is None for nodule in report["nodules"])


def test_chain_folder_is_a_model_too(scans, rating_chain, tmp_path):
    answer = predict(scans[".mha"], tmp_path / "out", rating_chain)
    assert answer["probability"] is None
    assert answer["nodules"]


def test_incomplete_chain_is_refused(scans, pretrained, here):
    shutil.rmtree(pretrained / "false_positive_reduction")
    result = nodules("predict", scans[".mha"], "-o", "out")
    assert result.exit_code == 1
    assert f"Error: {pretrained}: incomplete model: expected " in result.stderr
    assert not list(here.iterdir())
