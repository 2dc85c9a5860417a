"""The command `nodules` on one phantom in three kinds of file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from dicom_files import write_series, zip_folder
from nodules.cli import main
from nodules.imaging.volume import Volume
from nodules.scans.scan import read_scan
from nodules.scans.volume_files import read_mask, write_volume

OUTPUTS = {"report.json", "nodules.csv", "nodules.nii.gz", "lungs.nii.gz", "overlay.png"}


def nodules(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def model(tiny_pipeline) -> Path:
    return tiny_pipeline.path("models/diagnosis")


@pytest.fixture(scope="module")
def volume(tiny_pipeline) -> Volume:
    """The patient with the most candidates, on a grid that every format stores exactly."""
    table = pd.read_csv(tiny_pipeline.path("data/dsb/features/features.csv"), dtype={"id": str})
    patient = table.sort_values("candidate_count")["id"].iloc[-1]
    voxels = read_scan(tiny_pipeline.path(f"data/phantoms/dsb/{patient}")).voxels_zyx
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
    assert "no lungs found" in result.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["nodules"] == []
    assert 0 <= report["probability"] <= 1


@pytest.mark.parametrize("command", ["predict", "lungs"])
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
    more = {"predict": ("--model", model), "lungs": ("--params", tiny_pipeline.path("params.yaml"))}[command]
    result = nodules(command, tmp_path / scan, "-o", tmp_path / "out.mha", *more)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "out.mha").exists()


def test_missing_model_is_refused(scans, tmp_path):
    result = nodules("predict", scans[".mha"], "-o", tmp_path / "out", "--model", tmp_path / "nowhere")
    assert result.exit_code == 1
    assert "nowhere: no packaged model" in result.stderr
    assert not (tmp_path / "out").exists()


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


def test_help_names_both_commands():
    result = nodules("--help")
    assert result.exit_code == 0
    assert "predict" in result.stdout
    assert "lungs" in result.stdout
