"""`nodules evaluate-cubes` on hand-made cubes, with an answer known in advance and with small segmenters."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from nodules.cli import defaults
from nodules.imaging.network_input.lung_roi import LungRoiParams
from nodules.imaging.network_input.slice_context import ContextParams
from nodules.models.chain import chain_folder
from nodules.models.diagnosis import Diagnoser
from nodules.models.unet import network as unet
from nodules.models.unet import segmenter as segmenters
from nodules.models.unet.segmenter import Segmenter, SegmenterParams, SegmenterSettings
from support.command_line import nodules
from support.nodule_cubes import write_cubes

SHAPE_ZYX = (6, 20, 18)
LUNA = {"luna_x": -45.0, "luna_y": 25.0, "luna_z": -197.0, "luna_diameter_mm": 8.0}


@pytest.fixture
def cubes(tmp_path) -> Path:
    """Three nodules of two patients, drawn bright, and what else is bright in their cubes."""

    def cube(bright, mask, patient, **columns):
        hu, drawn = np.full(SHAPE_ZYX, -850), np.zeros(SHAPE_ZYX, bool)
        for part in bright:
            hu[part] = 100
        drawn[mask] = True
        return hu, drawn, {"patient": patient, "volume_mm3": 65.45, **columns}

    outlined, half = np.s_[1:5, 4:8, 4:8], np.s_[1:5, 4:8, 4:6]
    return write_cubes(
        tmp_path / "cubes",
        {
            "a1.png": cube([outlined, np.s_[0, 15:17, 15]], outlined, "a", **LUNA),
            "a2.png": cube([half], outlined, "a"),
            "b1.png": cube([np.s_[5, 18, 16]], outlined, "b", **LUNA),
        },
    )


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory) -> Path:
    """Random weights."""
    settings = SegmenterSettings(
        network=unet.UNetParams(filters=2, depth=1, stem_stride=1, normalisation="none", residual=False),
        lung_roi=LungRoiParams(spacing_mm=1.0, margin_mm=4.0, masked_input=True, window_hu=(-1000.0, 400.0)),
        context=ContextParams(slices=3, distance_mm=2.0),
        segmenter=SegmenterParams(flips=1, precision="float32"),
    )
    network = unet.build(settings.network, settings.context.slices)
    random = np.random.default_rng(2)
    network.set_weights([random.normal(0, 0.5, weight.shape) for weight in network.get_weights()])
    folder = tmp_path_factory.mktemp("segmenter")
    Segmenter([network], settings).save(folder)
    return folder


@pytest.fixture
def bright_is_nodule(monkeypatch):
    """An answer that is known: 0.6 for bright voxels. It stays in this process."""
    monkeypatch.setenv("NODULES_JOBS", "1")
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "1")
    monkeypatch.setattr(
        segmenters,
        "probability_of_excerpt",
        lambda scan, _: np.where(scan.voxels_zyx > 0, np.float32(0.6), np.float32(0)),
    )


def figures(*words) -> dict:
    result = nodules("evaluate-cubes", *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_figures_by_hand(cubes, segmenter, bright_is_nodule):
    found = figures(cubes, "--model", segmenter)
    assert (found["segmenter"], found["threshold"], found["min_mm3"]) == (str(segmenter), 0.5, 0.0)
    assert found["empty_masks"] == 0
    everything = found["all_nodules"]["all_sizes"]
    assert (everything["nodules"], everything["patients"]) == (3, 2)
    assert everything["hit"] == pytest.approx(2 / 3)
    assert everything["dice"] == pytest.approx((1 + 2 * 32 / (32 + 64) + 0) / 3)
    assert everything["middle_dice"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert everything["other_parts"] == pytest.approx((1 + 0 + 1) / 3)
    assert (everything["hit_low"], everything["hit_high"]) == (0.0, 1.0)
    assert found["luna16_nodules"]["6_to_10mm"]["nodules"] == 2
    assert "under_6mm" not in found["luna16_nodules"]
    assert found["all_nodules"]["under_6mm"]["dice"] == pytest.approx(2 / 3)


def test_threshold_least_volume_and_patients(cubes, segmenter, bright_is_nodule, tmp_path):
    model = ("--model", segmenter)
    assert figures(cubes, *model, "--threshold", "0.7")["all_nodules"]["all_sizes"]["hit"] == 0
    # a voxel has 0.8 mm3: of the two other parts, the one of two voxels stays
    found = figures(cubes, *model, "--min-mm3", "1.5")["all_nodules"]["all_sizes"]
    assert found["other_parts"] == pytest.approx(1 / 3)
    (tmp_path / "some.txt").write_text("patient\n\nb\n")
    found = figures(cubes, *model, "--patients", tmp_path / "some.txt")["all_nodules"]["all_sizes"]
    assert (found["nodules"], found["hit"]) == (1, 0)


def test_table_for_people(cubes, segmenter, bright_is_nodule):
    result = nodules("evaluate-cubes", cubes, "--model", segmenter)
    lines = result.stdout.splitlines()
    assert [line[:28].strip() for line in lines] == [
        "",
        "all nodules, all sizes",
        "all nodules, under 6mm",
        "all nodules, 6 to 10mm",
        "luna16 nodules, all sizes",
        "luna16 nodules, 6 to 10mm",
    ]
    assert lines[0].split() == ["nodules", "patients", "hit", "dice", "middle", "dice", "other", "parts"]
    assert lines[1].split()[4:8] == ["3", "2", "0.667", "(0.00-1.00)"]
    assert len({len(line) for line in lines}) == 1


def test_result_does_not_depend_on_the_number_of_processes(cubes, segmenter, monkeypatch):
    answers = []
    for jobs in ("1", "2"):
        monkeypatch.setenv("NODULES_JOBS", jobs)
        monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "1")
        answers.append(figures(cubes, "--model", segmenter, "--threshold", "0.53"))
    assert answers[0] == answers[1]
    assert 0 < answers[0]["all_nodules"]["all_sizes"]["dice"] < 1


def test_packaged_model_and_the_default_one(cubes, segmenter, bright_is_nodule, tmp_path, monkeypatch):
    packaged = tmp_path / "checkout" / "models" / "diagnosis"
    shutil.copytree(segmenter, chain_folder(packaged) / "segmenter")
    assert figures(cubes, "--model", packaged)["segmenter"] == str(chain_folder(packaged) / "segmenter")
    (tmp_path / "checkout" / "dvc.yaml").touch()
    monkeypatch.setattr(defaults, "CHECKOUT", tmp_path / "checkout")
    for words in ((), ("--model", "diagnosis")):
        result = nodules("evaluate-cubes", cubes, *words, "--json")
        assert json.loads(result.stdout)["segmenter"] == str(chain_folder(packaged) / "segmenter")
        assert f"model: {packaged}\n" in result.stderr


@pytest.fixture
def slices_from_the_third_are_nodule(monkeypatch):
    """The answer of a chain that is known: bright voxels, but not in the first two slices."""

    def outline_excerpt(_, excerpt):
        return ((excerpt.voxels_zyx > 0) & (np.arange(SHAPE_ZYX[0])[:, None, None] >= 2)).astype(np.int32)

    monkeypatch.setattr(Diagnoser, "load", lambda _: object.__new__(Diagnoser))
    monkeypatch.setattr(Diagnoser, "outline_excerpt", outline_excerpt)


def test_findings_of_the_whole_model(cubes, segmenter, bright_is_nodule, slices_from_the_third_are_nodule, tmp_path):
    shutil.copytree(segmenter, tmp_path / "chain" / "segmenter")
    (tmp_path / "chain" / "diagnosis.json").touch()
    model = ("--model", tmp_path / "chain")
    found = figures(cubes, *model, "--findings")
    assert (found["findings"], found["threshold"]) == (True, None)
    everything = found["all_nodules"]["all_sizes"]
    # three of the four slices of each nodule; the part in the first slice of the first cube is gone
    assert everything["dice"] == pytest.approx((2 * 48 / (48 + 64) + 2 * 24 / (24 + 64) + 0) / 3)
    assert everything["other_parts"] == pytest.approx(1 / 3)
    alone = figures(cubes, *model)
    assert (alone["findings"], alone["threshold"]) == (False, 0.5)
    assert alone["all_nodules"]["all_sizes"]["dice"] == pytest.approx((1 + 2 * 32 / (32 + 64) + 0) / 3)


def test_a_segmenter_has_no_findings(cubes, segmenter):
    result = nodules("evaluate-cubes", cubes, "--model", segmenter, "--findings")
    assert result.exit_code == 1
    assert "--findings needs a whole model" in result.stderr


def test_pretrained_chain(cubes, segmenter, bright_is_nodule, slices_from_the_third_are_nodule, tmp_path, monkeypatch):
    chain = tmp_path / "checkout" / "models" / "pretrained"
    shutil.copytree(segmenter, chain / "segmenter")
    (chain / "diagnosis.json").touch()
    (tmp_path / "checkout" / "dvc.yaml").touch()
    monkeypatch.setattr(defaults, "CHECKOUT", tmp_path / "checkout")
    for words in ((), ("--model", "pretrained"), ("--model", chain)):
        result = nodules("evaluate-cubes", cubes, *words, "--json")
        assert json.loads(result.stdout)["segmenter"] == str(chain / "segmenter")
        assert result.stderr.startswith("" if chain in words else f"model: {chain}\n")
    assert nodules("evaluate-cubes", cubes, "--model", "diagnosis").exit_code == 1


def test_lost_masks_are_left_out_and_counted(cubes, segmenter, bright_is_nodule):
    hu, nothing = np.full(SHAPE_ZYX, -850), np.zeros(SHAPE_ZYX, bool)
    outlined = nothing.copy()
    outlined[2:4, 2:4, 2:4] = True
    write_cubes(cubes, {"a1.png": (hu, nothing, {}), "a2.png": (hu, outlined, {})})
    found = figures(cubes, "--model", segmenter)
    assert (found["empty_masks"], found["all_nodules"]["all_sizes"]["nodules"]) == (1, 1)
    assert found["luna16_nodules"] == {}
    result = nodules("evaluate-cubes", cubes, "--model", segmenter)
    assert "warning: 1 of 2 cubes have an empty mask and are left out" in result.stderr
    write_cubes(cubes, {"a1.png": (hu, nothing, {})})
    result = nodules("evaluate-cubes", cubes, "--model", segmenter)
    assert result.exit_code == 1
    assert "the masks of all 1 cubes are empty" in result.stderr


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_damaged_cube_is_named(cubes, segmenter, monkeypatch, jobs):
    monkeypatch.setenv("NODULES_JOBS", jobs)
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "1")
    (cubes / "a2.png").write_bytes(b"no picture")
    result = nodules("evaluate-cubes", cubes, "--model", segmenter, "--json")
    assert result.exit_code == 1
    assert "a2.png: cannot be read as a PNG" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("patients", "message"),
    [
        (None, "no such file"),
        (b"\n", "no patient found"),
        (b"\xef\xbb\xbfa\nz\n", "1 patients are not in cubes.csv, such as z"),
        (b"\x89PNG\x00", "1 patients are not in cubes.csv"),
    ],
)
def test_unusable_list_of_patients_is_refused(cubes, segmenter, tmp_path, patients, message):
    if patients is not None:
        (tmp_path / "some.txt").write_bytes(patients)
    result = nodules("evaluate-cubes", cubes, "--model", segmenter, "--patients", tmp_path / "some.txt")
    assert result.exit_code == 1
    assert f"some.txt: {message}" in result.stderr


def test_missing_folder_and_missing_model_are_refused(cubes, segmenter, tmp_path):
    result = nodules("evaluate-cubes", tmp_path / "nowhere", "--model", segmenter)
    assert result.exit_code == 1
    assert "cubes.csv: no such file" in result.stderr
    result = nodules("evaluate-cubes", cubes, "--model", tmp_path / "nowhere")
    assert result.exit_code == 1
    assert "nowhere: no packaged model" in result.stderr
    assert nodules("evaluate-cubes", cubes, "--model", segmenter, "--threshold", "0").exit_code == 2
