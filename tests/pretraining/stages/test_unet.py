"""From cubes, an excerpt and a whole scan to a U-Net: two stages on small scans with bright balls."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from nodules.imaging.geometry.volume import Volume
from nodules.imaging.network_input.lung_roi import LungRoiParams
from nodules.imaging.network_input.slice_context import ContextParams
from nodules.models.unet.segmenter import Segmenter, SegmenterParams
from nodules.models.unet.training_slices import SliceSet
from nodules.pretraining.stages import slices, unet
from nodules.scans.result import ScanError
from nodules.scans.stores.extraction import ExtractParams
from nodules.scans.stores.slices import INSIDE, NODULE_RIM
from nodules.scans.volume_files.writer import write_volume
from support.default_params import LUNG_MASK, READING
from support.dicom_files import write_series
from support.lidc_files import message, nodule, roi, square, write
from support.nodule_cubes import write_cubes
from support.small_training import TRAINING

SPACING_ZYX_MM = (1.25, 0.8, 0.8)
ROI = LungRoiParams(spacing_mm=0.8, margin_mm=4.0, masked_input=False, window_hu=(-1000.0, 300.0))
SOURCE = {"share": 0.4, "nodule_share": 0.5, "hard_share": 0.0}
SECTIONS = {
    "run": {"seed": 1, "max_failures": 0},
    "reading": asdict(READING),
    "lung_mask": asdict(LUNG_MASK),
    "extract": asdict(ExtractParams(slices_per_nodule=3, nodule_free_slices=1)),
    "lung_roi": asdict(ROI),
    "context": asdict(ContextParams(slices=3, distance_mm=1.25)),
    "segmenter": asdict(SegmenterParams(flips=1, precision="float32")),
    "unet": asdict(replace(TRAINING, epochs=1, steps_per_epoch=2)),
    "sources": dict.fromkeys(("cubes", "excerpts", "scans"), SOURCE),
}


def write_parameters(folder: Path, sections: dict) -> None:
    YAML(typ="safe").dump(json.loads(json.dumps(sections)), folder / "params.yaml")


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """Two cubes of patient P2, an excerpt of P7, and a whole scan of P8 with a nodule that one of two readers drew."""
    data = tmp_path / "data"
    shape = (8, 20, 18)
    mask = np.zeros(shape, bool)
    mask[3:5, 8:12, 6:9] = True
    row = {"patient": "P2", "seriesuid": "1.2", "subset": 2}
    cubes = {name: (np.where(mask, 100, -850), mask, row | {"x": x}) for name, x in (("a.png", -48.0), ("b.png", 8.0))}
    write_cubes(data / "nodule_cubes", cubes)

    grid = Volume(np.full((3, 40, 40), -850, np.int16), (2.5, 0.8, 0.8))
    for folder in ("luna16_slices", "luna16_readers"):
        (data / folder / "subset4").mkdir(parents=True)
    counts = np.zeros(grid.shape_zyx, np.uint8)
    counts[1, 18:22, 18:22] = 3
    write_volume(grid, data / "luna16_slices" / "subset4" / "1.7.mhd")
    write_volume(grid.with_voxels(counts), data / "luna16_readers" / "subset4" / "1.7.nii.gz")
    place = ",".join(f"{value:g}" for value in grid.voxel_to_world((1, 20, 20)))
    lines = ["seriesuid,coordX,coordY,coordZ,diameter_mm", f"1.7,{place},4"]
    (data / "luna16_slices" / "annotations.csv").write_text("\n".join(lines))
    (data / "tables" / "luna16").mkdir(parents=True)
    pd.DataFrame({"seriesuid": ["1.7"], "patient": ["P7"]}).to_csv(data / "tables" / "luna16" / "headers.csv.gz")

    write_series(data / "whole_scans" / "P8" / "a", np.full((12, 40, 40), -850), SPACING_ZYX_MM, series_uid="1.8")
    outlines = [nodule(*(roi(z * 1.25, square(left, 9, 20, 15)) for z in (4, 5, 6))) for left in (9, 12, 12)]
    write(data / "lidc_xml" / "a.xml", message(*outlines, uid="1.8"))

    write_parameters(tmp_path, SECTIONS)
    for name, value in {
        "NODULES_JOBS": "1",
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/ml.db",
        "DVC_ROOT": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def prepare(project: Path) -> pd.DataFrame:
    slices.main(real_data=project / "data", output=project / "slices")
    return pd.read_csv(project / "slices" / "manifest.csv", dtype={"patient": str})


def test_each_series_has_its_slices_its_patient_and_a_fold(project):
    rows = prepare(project).set_index("source")
    assert rows["patient"].to_dict() == {"cubes": "P2", "excerpts": "P7", "scans": "P8"}
    assert rows.loc["cubes", "fold"] == 2
    assert rows["fold"].between(0, 4).all()
    assert rows.loc["cubes", "scan"] == "cubes-1.2"
    assert rows["sections"].to_dict() == {"cubes": 4, "excerpts": 1, "scans": 3}
    folders = sorted(str(file.parent.relative_to(project / "slices")) for file in project.glob("slices/*/*/*/hu.npy"))
    assert folders == ["cubes/1.2/a", "cubes/1.2/b", "excerpts/1.7/0", "scans/P8-a/scan"]


def test_masks_are_what_two_readers_drew(project):
    prepare(project)
    excerpt = SliceSet.load(project / "slices/excerpts/1.7/0")
    assert np.count_nonzero(excerpt.nodules == INSIDE) == 16
    scan = SliceSet.load(project / "slices/scans/P8-a/scan")
    shown = scan.nodules[scan.centres[0, 0]]
    # LIDC's outlines run outside the nodule: columns 13 to 19, rows 10 to 14 by two readers, from column 10 by one
    assert np.count_nonzero(shown == INSIDE) == 7 * 5
    assert np.count_nonzero(shown == NODULE_RIM) >= 3 * 5


def test_a_fold_is_not_shown_its_own_patients(project, monkeypatch):
    rows = prepare(project)
    shown = {}

    def train(sampler, *_, **__):
        shown["sets"] = [one for each in sampler._samplers for one in each._sets]
        raise InterruptedError

    monkeypatch.setattr(unet.training, "train", train)
    counts = {}
    for fold in ("all", str(rows.set_index("source").loc["cubes", "fold"])):
        with pytest.raises(InterruptedError):
            unet.main(slices=project / "slices", fold=fold, output=project / "unet")
        counts[fold] = [one.hu.shape[1:3] for one in shown["sets"]]
    assert counts["all"].count((20, 18)) == 2
    assert counts["2"].count((20, 18)) == 0
    assert len(counts["2"]) < len(counts["all"])


def test_the_network_is_kept_and_nothing_else(project):
    prepare(project)
    unet.main(slices=project / "slices", fold="all", output=project / "unet")
    trained = Segmenter.load(project / "unet")
    assert trained.settings.lung_roi == ROI
    assert not list(project.glob(".work/pretrain_unet*/*"))


def test_cubes_alone_are_enough(project):
    for name in ("luna16_slices", "luna16_readers", "whole_scans"):
        (project / "data" / name).rename(project / name)
    assert prepare(project)["source"].tolist() == ["cubes"]
    unet.main(slices=project / "slices", fold="all", output=project / "unet")
    assert (project / "unet" / "segmenter.json").is_file()


def test_excerpt_of_an_unknown_patient_is_refused(project):
    (project / "data/tables/luna16/headers.csv.gz").unlink()
    pd.DataFrame({"seriesuid": ["1.1"], "patient": ["P1"]}).to_csv(project / "data/tables/luna16/headers.csv.gz")
    with pytest.raises(ScanError, match=r"1\.7\.mhd: .*headers\.csv\.gz does not name the patient"):
        prepare(project)


def test_whole_scan_without_readings_is_named(project):
    (project / "data/lidc_xml/a.xml").write_text(message(uid="1.9"))
    with pytest.raises(RuntimeError, match=r"scans-P8-a.*holds no readings of its series 1\.8"):
        prepare(project)
