"""The command `nodules` on one phantom in three kinds of file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from nodules.cli import defaults
from nodules.cli.main import main
from nodules.imaging.geometry.volume import Volume
from nodules.imaging.network_input.lung_roi import LungRoiParams
from nodules.imaging.network_input.slice_context import ContextParams
from nodules.models.unet import network as unet
from nodules.models.unet.segmenter import Segmenter, SegmenterParams, SegmenterSettings
from nodules.scans.read import read_scan
from nodules.scans.result import ReadingParams
from nodules.scans.volume_files.reader import read_mask
from nodules.scans.volume_files.writer import write_volume
from support.dicom_files import PATIENT_NAME, SERIES_UID, write_series, zip_folder

OUTPUTS = {"report.json", "nodules.csv", "nodules.nii.gz", "lungs.nii.gz", "overlay.png"}


def nodules(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory, monkeypatch) -> Path:
    """An empty folder, which is the current one: no command needs to be run in the project's."""
    folder = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def model(keen_model) -> Path:
    return keen_model


@pytest.fixture(scope="module")
def volume(tiny_pipeline) -> Volume:
    """The patient with the most candidates, on a grid that every format stores exactly."""
    table = pd.read_csv(tiny_pipeline.path("data/dsb/features/features.csv"), dtype={"id": str})
    patient = table.sort_values("candidate_count")["id"].iloc[-1]
    reading = tiny_pipeline.params("reading", ReadingParams)
    voxels = read_scan(tiny_pipeline.path(f"data/phantoms/dsb/{patient}"), reading).volume.voxels_zyx
    return Volume(voxels, (6.5, 4.5, 4.25), (-170.25, -181.5, -320.0))


@pytest.fixture(scope="module")
def scans(volume, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("scans")
    files = {end: folder / f"scan{end}" for end in (".mha", ".nii.gz", ".zip")}
    for end in (".mha", ".nii.gz"):
        write_volume(volume, files[end])
    write_series(folder / "dicom", volume.voxels_zyx, volume.spacing_zyx_mm, volume.origin_xyz_mm)
    zip_folder(folder / "dicom", files[".zip"])
    return files | {"folder": folder / "dicom"}


def predict(scan: Path, output: Path, model: Path, *more: str) -> dict:
    result = nodules("predict", scan, "-o", output, "--model", model, *more)
    assert result.exit_code == 0, result.output
    return json.loads((output / "report.json").read_text())


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


@pytest.mark.parametrize("command", ["predict", "lungs", "check"])
@pytest.mark.parametrize(
    ("scan", "message"),
    [
        ("absent.mha", "no such file"),
        ("empty", "no CT slice found"),
        ("text.mha", "text.mha"),
        ("a.txt", "unknown kind"),
    ],
)
def test_unusable_scan_is_refused(tiny_pipeline, model, tmp_path, command, scan, message):
    (tmp_path / "empty").mkdir()
    for name in ("text.mha", "a.txt"):
        (tmp_path / name).write_text("no scan")
    settings = ("--params", tiny_pipeline.path("params.yaml"))
    output = ("-o", tmp_path / "out.mha")
    more = {"predict": (*output, "--model", model), "lungs": (*output, *settings), "check": settings}[command]
    result = nodules(command, tmp_path / scan, *more)
    assert result.exit_code == 1
    assert message in (result.stdout if command == "check" else result.stderr)
    assert result.stderr.startswith("" if command == "check" else "Error: ")
    assert "Traceback" not in result.output
    assert not (tmp_path / "out.mha").exists()


def test_refused_scan_as_json_is_a_verdict(model, tiny_pipeline, tmp_path):
    (tmp_path / "text.mha").write_text("no scan")
    (predicted, checked) = (
        nodules("predict", tmp_path / "text.mha", "-o", tmp_path / "out", "--model", model, "--json"),
        nodules("check", tmp_path / "text.mha", "--params", tiny_pipeline.path("params.yaml"), "--json"),
    )
    assert predicted.exit_code == checked.exit_code == 1
    verdict = json.loads(checked.stdout)
    assert json.loads(predicted.stdout) == {
        "probability": None,
        "nodules": [],
        "verdict": verdict,
        "features": {},
        "explanation": [],
    }
    assert (verdict["status"], verdict["facts"]) == ("unusable", {})
    assert "text.mha" in verdict["reasons"][0]


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


def test_missing_model_is_refused(scans, tmp_path):
    result = nodules("predict", scans[".mha"], "-o", tmp_path / "out", "--model", tmp_path / "nowhere")
    assert result.exit_code == 1
    assert "nowhere: no packaged model" in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_model_of_the_checkout_is_taken_and_said(scans, model, tmp_path, elsewhere, monkeypatch):
    (tmp_path / "checkout" / "models").mkdir(parents=True)
    (tmp_path / "checkout" / "dvc.yaml").touch()
    (tmp_path / "checkout" / "models" / "diagnosis").symlink_to(model)
    monkeypatch.setattr(defaults, "CHECKOUT", tmp_path / "checkout")
    named = predict(scans[".mha"], tmp_path / "named", model)
    result = nodules("predict", scans[".mha"], "-o", "out", "--json")
    assert json.loads(result.stdout) == named
    assert f"model: {tmp_path}/checkout/models/diagnosis\n" in result.stderr
    assert [file.name for file in elsewhere.iterdir()] == ["out"]


def test_lungs(tiny_pipeline, scans, volume, tmp_path):
    result = nodules(
        *("lungs", scans[".zip"], "-o", tmp_path / "new" / "lungs.nii.gz", "--picture", tmp_path / "lungs.png"),
        *("--params", tiny_pipeline.path("params.yaml")),
    )
    assert result.exit_code == 0, result.output
    labels = read_mask(tmp_path / "new" / "lungs.nii.gz")
    litres = [np.count_nonzero(labels.voxels_zyx == label) * labels.voxel_mm3 / 1e6 for label in (1, 2)]
    assert f"right {litres[0]:.2f} l, left {litres[1]:.2f} l" in result.stdout
    assert labels.shape_zyx == volume.shape_zyx
    assert (tmp_path / "lungs.png").read_bytes().startswith(b"\x89PNG")


def test_lungs_need_their_parameters(scans, tmp_path):
    result = nodules("lungs", scans[".mha"], "-o", tmp_path / "lungs.mha", "--params", tmp_path / "params.yaml")
    assert result.exit_code == 1
    assert "params.yaml: no such file" in result.stderr


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


@pytest.fixture
def folds(tmp_path) -> list[Path]:
    """Two segmenters that differ in their weights, and one that sees fewer slices."""
    saved = []
    for name, slices in (("a", 3), ("b", 3), ("c", 1)):
        settings = SegmenterSettings(
            network=unet.UNetParams(filters=1, depth=1, stem_stride=1, normalisation="none", residual=False),
            lung_roi=LungRoiParams(spacing_mm=1.0, margin_mm=4.0, window_hu=(-1000.0, 400.0)),
            context=ContextParams(slices=slices, distance_mm=2.0),
            segmenter=SegmenterParams(flips=1, precision="float32"),
        )
        Segmenter([unet.build(settings.network, slices)], settings).save(tmp_path / name)
        saved.append(tmp_path / name)
    return saved


def test_ensemble_joins_folders(folds, tmp_path):
    result = nodules("ensemble", *folds[:2], "-o", tmp_path / "new" / "both", "--flips", "2")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("2 networks")
    joined = Segmenter.load(tmp_path / "new" / "both")
    assert joined.settings.segmenter.flips == 2
    for network, folder in zip(joined.networks, folds, strict=False):
        for ours, theirs in zip(network.get_weights(), Segmenter.load(folder).networks[0].get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_ensemble_refuses_what_does_not_fit(folds, tmp_path):
    (tmp_path / "empty").mkdir()
    for words, message in (
        ((folds[0], folds[2], "-o", tmp_path / "out"), "c: context is"),
        ((folds[0], tmp_path / "empty", "-o", tmp_path / "out"), "empty: no segmenter"),
        ((folds[0], folds[1], "-o", folds[2]), "c holds files"),
    ):
        result = nodules("ensemble", *words)
        assert result.exit_code == 1
        assert message in result.stderr
        assert not (tmp_path / "out").exists()


def test_help_names_the_commands():
    result = nodules("--help")
    assert result.exit_code == 0
    for command in ("check", "classify", "ensemble", "froc", "lungs", "predict"):
        assert command in result.stdout
