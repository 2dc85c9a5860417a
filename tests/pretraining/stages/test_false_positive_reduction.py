"""From cubes and a whole scan to the operating point: three stages on bright balls that the U-Net finds."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from nodules.imaging.candidates.proposals import CandidateParams
from nodules.imaging.lungs.segment import LungMaskParams
from nodules.imaging.network_input.lung_roi import LungRoiParams
from nodules.imaging.network_input.slice_context import ContextParams
from nodules.models.chain import SETTINGS_FILE
from nodules.models.false_positive_reduction.reducer import FalsePositiveReducer
from nodules.models.unet import network as unet
from nodules.models.unet.segmenter import Segmenter, SegmenterParams, SegmenterSettings
from nodules.pretraining.stages import candidates, false_positive_reduction, operating_point
from nodules.scans.result import ReadingParams
from support.balls_and_tubes import REDUCTION
from support.dicom_files import write_series
from support.lidc_files import message, nodule, roi, square, write
from support.nodule_cubes import write_cubes

SPACING_ZYX_MM = (1.25, 0.8, 0.8)
SETTINGS = SegmenterSettings(
    network=unet.UNetParams(filters=2, depth=1, stem_stride=1, normalisation="none", residual=False),
    lung_roi=LungRoiParams(spacing_mm=0.8, margin_mm=4.0, masked_input=False, window_hu=(-1000.0, 300.0)),
    context=ContextParams(slices=3, distance_mm=2.5),
    segmenter=SegmenterParams(flips=1, precision="float32"),
)
SECTIONS = {
    "run": {"seed": 1, "max_failures": 0},
    "candidates": asdict(CandidateParams(3.0, 0.1, 0.2, 0.3)),
    "false_positive_reduction": asdict(REDUCTION) | {"epochs": 1, "steps_per_epoch": 4},
    "negatives": {"scan_share": 0.5},
    "operating_point": {
        "thresholds": [0.3, 0.5],
        "dilation_mm": 0.0,
        "nodules_per_scan": 1.0,
        "others_per_scan": 2.0,
        "allowed_others_per_scan": 1.0,
        "allowed_others_per_cube": 0.5,
    },
}


def ball(shape_zyx: tuple[int, ...], centre_zyx: tuple[float, ...], radius_mm: float = 3.0) -> np.ndarray:
    places = np.moveaxis(np.indices(shape_zyx), 0, -1) - np.asarray(centre_zyx)
    inside: np.ndarray = np.linalg.norm(places * SPACING_ZYX_MM, axis=-1) <= radius_mm
    return inside


def cube_of(patient: int) -> tuple[np.ndarray, np.ndarray, dict]:
    """A nodule in the middle, and a smaller bright ball that is none."""
    shape = (16, 30, 30)
    mask = ball(shape, (8, 15, 15))
    hu = np.where(mask | ball(shape, (8, 25, 5), 2.2), 100, -850)
    return hu, mask, {"patient": f"P{patient}", "seriesuid": f"1.{patient}", "subset": patient, "x": -48.0}


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """One cube for each fold, and a whole scan of the patient of fold 0; the U-Net answers 0.8 where it is bright."""
    data = tmp_path / "data"
    write_cubes(data / "nodule_cubes", {f"c{patient}.png": cube_of(patient) for patient in range(5)})
    shape = (20, 40, 40)
    hu = np.where(ball(shape, (10, 12, 12)) | ball(shape, (10, 30, 30), 2.5), 100, -850)
    write_series(data / "whole_scans" / "P0" / "a", hu, SPACING_ZYX_MM, series_uid="1.77")
    outline = nodule(*(roi(z * 1.25, square(9, 9, 15, 15)) for z in (9, 10, 11)))
    write(data / "lidc_xml" / "a.xml", message(outline, outline, outline, uid="1.77"))
    (tmp_path / "slices").mkdir()
    folds = pd.DataFrame({"patient": [f"P{patient}" for patient in range(5)], "fold": range(5)})
    folds.to_csv(tmp_path / "slices" / "manifest.csv", index=False)
    Segmenter([unet.build(SETTINGS.network, 3)], SETTINGS).save(tmp_path / "segmenter")
    monkeypatch.setattr(
        Segmenter, "predict", lambda _, region: np.where(region.scan.voxels_zyx > -300, np.float32(0.8), np.float32(0))
    )
    for name, value in {
        "NODULES_JOBS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/ml.db",
        "DVC_ROOT": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    sections = SECTIONS | {
        "reading": asdict(ReadingParams(10.0, 30.0, 3.0)),
        "lung_mask": asdict(LungMaskParams(-400.0, 2.0, 12.0, 30.0, 0.01, -950.0, 80.0)),
    }
    YAML(typ="safe").dump(json.loads(json.dumps(sections)), tmp_path / "params.yaml")
    return tmp_path


def find_candidates(project: Path, fold: str) -> Path:
    output = project / "candidates" / fold
    candidates.main(
        real_data=project / "data",
        slices=project / "slices",
        segmenter=project / "segmenter",
        fold=fold,
        output=output,
    )
    return output


def test_candidates_of_a_fold(project):
    found = find_candidates(project, "0")
    manifest = pd.read_csv(found / "manifest.csv").set_index("source")
    assert manifest["patient"].tolist() == ["P0", "P0"]
    assert manifest.loc["cubes", ["nodules", "nodules_proposed", "others"]].tolist() == [1, 1, 1]
    assert manifest.loc["scans", ["nodules", "nodules_proposed", "others"]].tolist() == [1, 1, 1]
    for series in manifest["scan"]:
        folder = found / series
        assert sorted(pd.read_csv(folder / "candidates.csv")["kind"]) == ["nodule", "other"]
        assert np.load(folder / "is_nodule.npy").tolist().count(True) == 2, "the candidate and the nodule itself"
        assert np.load(folder / "hu.npy").shape[0] == 3
    assert pd.read_csv(found / "scans-P0-a" / "nodules.csv")["readers"].tolist() == [3]


def test_fold_without_patients(project):
    (project / "slices" / "manifest.csv").write_text("patient,fold\nP9,0\n")
    with pytest.raises(ValueError, match=r"manifest\.csv: no cube or whole scan .* fold 0"):
        find_candidates(project, "0")


def test_scan_without_readings_is_refused(project):
    write(project / "data" / "lidc_xml" / "a.xml", message(uid="1.78"))
    with pytest.raises(RuntimeError, match=r"holds no readings of its series 1\.77"):
        find_candidates(project, "0")


def test_later_stages_ask_for_the_earlier_ones(project):
    find_candidates(project, "0")
    with pytest.raises(ValueError, match=r"manifest\.csv: no such file; run the stage candidates"):
        false_positive_reduction.main(candidates=project / "candidates", fold="all", output=project / "reducers/all")
    for fold in "1234":
        find_candidates(project, fold)
    with pytest.raises(ValueError, match=r"scores\.csv: no such file; run the stage false_positive_reduction"):
        choose(project)


def choose(project: Path) -> dict:
    operating_point.main(
        real_data=project / "data",
        candidates=project / "candidates",
        reducers=project / "reducers",
        output=project / "chain",
        figures=project / "figures.json",
    )
    figures: dict = json.loads((project / "figures.json").read_text())
    return figures


def test_operating_point_from_all_folds(project):
    for fold in "01234":
        find_candidates(project, fold)
    for fold in ("0", "1", "2", "3", "4", "all"):
        false_positive_reduction.main(candidates=project / "candidates", fold=fold, output=project / "reducers" / fold)
    assert not (project / "reducers" / "all" / "scores.csv").exists()
    scores = pd.read_csv(project / "reducers" / "0" / "scores.csv")
    assert scores["series"].nunique() == 2
    figures = choose(project)
    assert list(figures["scans"]) == ["scans-P0-a"]
    assert figures["scans"]["scans-P0-a"]["candidates"] == 2
    assert figures["scans"]["scans-P0-a"]["others"] <= 1
    for name in ("cubes", "cubes_at_their_limit"):
        cubes = figures[name]["all_nodules"]["all_sizes"]
        assert cubes["nodules"] == 5
        assert cubes["other_parts"] <= 0.5
    assert figures["kept_by_probability"]["0"] == {
        "cube_nodules": 1.0,
        "scan_nodules": 1.0,
        "others_per_cube": 1.0,
        "others_in_scans": 1,
    }
    written = json.loads((project / "chain" / SETTINGS_FILE).read_text())
    assert written["segmentation"]["threshold"] == figures["segmentation"]["threshold"]
    assert written["candidates"] == SECTIONS["candidates"]
    reducer = FalsePositiveReducer.load(project / "chain" / "false_positive_reduction")
    assert reducer.fusion.by_name() == pytest.approx(figures["fusion"], abs=1e-5)
    assert not list((project / ".work").glob("*/*")), "no unfinished work is left"
