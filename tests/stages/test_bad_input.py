"""What a person does wrong, and what the stages say to it."""

from __future__ import annotations

import csv
import json
import shutil

import pandas as pd
import pytest
from ruamel.yaml import YAML

from nodules.parallel import TooManyFailures
from nodules.params import ParamsError
from nodules.scans.result import ScanError
from nodules.scans.tables.luna import series_files
from support import tiny_project
from support.tiny_project import OVERRIDES, TinyProject

DATASETS = {"luna": "luna16", "dsb": "dsb"}


@pytest.fixture(scope="module")
def real_data(tmp_path_factory) -> TinyProject:
    """A project set to real data that nobody has put there yet."""
    return tiny_project.prepare(tmp_path_factory.mktemp("real"), [*OVERRIDES, "dataset=real", "dataset.subsets=[0,3]"])


@pytest.fixture
def scans(tiny_pipeline, tmp_path) -> TinyProject:
    """Parameters, phantoms and a segmenter: what the stages that read scans need."""
    project = TinyProject(tmp_path, tiny_pipeline.stages)
    for name in ("data/phantoms", "models/segmenter"):
        shutil.copytree(tiny_pipeline.path(name), tmp_path / name)
    for name in ("params.yaml", "dvc.yaml", "runs.db"):  # a new database of runs takes seconds to make
        shutil.copy(tiny_pipeline.path(name), tmp_path / name)
    return project


def set_param(project: TinyProject, section: str, value: dict[str, object]) -> None:
    yaml, path = YAML(), project.path("params.yaml")
    content = yaml.load(path)
    content[section].update(value)
    yaml.dump(content, path)


def rows(project: TinyProject, name: str) -> list[dict[str, str]]:
    with project.path(name).open(newline="") as file:
        return list(csv.DictReader(file))


def patients(project: TinyProject) -> list[str]:
    return sorted(folder.name for folder in project.path("data/phantoms/dsb").iterdir() if folder.is_dir())


def keep_patients(project: TinyProject, number: int) -> list[str]:
    for patient in patients(project)[number:]:
        shutil.rmtree(project.path(f"data/phantoms/dsb/{patient}"))
    return patients(project)


# --- the data set is not where it should be ---


@pytest.mark.parametrize(
    ("layout", "folder", "key"),
    [("luna16", "data/external/luna16", "dataset.luna_root"), ("dsb", "data/external/dsb", "dataset.dsb_root")],
)
def test_missing_dataset_is_named_with_its_parameter(real_data, layout, folder, key):
    with pytest.raises(SystemExit) as ended:
        real_data.run(f"check_dataset@{layout}")
    assert isinstance(ended.value.code, str), "a text as exit code is printed, and the status is 1"
    assert folder in ended.value.code
    assert key in ended.value.code
    assert not real_data.path(f"data/checks/{layout}.json").exists()


def test_missing_subset_is_named(real_data, tiny_pipeline, tmp_path):
    luna = tmp_path / "luna"
    shutil.copytree(tiny_pipeline.path("data/phantoms/luna16"), luna)
    project = real_data.copy(tmp_path / "project")
    set_param(project, "dataset", {"luna_root": str(luna)})
    with pytest.raises(SystemExit, match="subset3 does not exist"):
        project.run("check_dataset@luna16")
    (luna / "subset3").mkdir()
    with pytest.raises(SystemExit, match=r"subset3 holds no \.mhd file"):
        project.run("check_dataset@luna16")


def test_present_dataset_is_counted(real_data, tiny_pipeline, tmp_path):
    project = real_data.copy(tmp_path / "project")
    roots = {f"{kind}_root": str(tiny_pipeline.path(f"data/phantoms/{name}")) for kind, name in DATASETS.items()}
    set_param(project, "dataset", {**roots, "subsets": [0, 1]})
    for layout in DATASETS.values():
        project.run(f"check_dataset@{layout}")
    luna, dsb = (json.loads(project.path(f"data/checks/{layout}.json").read_text()) for layout in DATASETS.values())
    assert (luna["scans"], luna["subset0"], luna["subset1"]) == (8, 4, 4)
    assert dsb["patients"] == dsb["labels"] == 8


def test_empty_folders_are_named(scans):
    for file in scans.path("data/phantoms/luna16/subset0").iterdir():
        file.unlink()
    with pytest.raises(ScanError, match=r"subset0 holds no \.mhd file"):
        scans.run("extract_luna@0")
    keep_patients(scans, 0)
    with pytest.raises(ScanError, match="holds no patient folder"):
        scans.run("segment_dsb")


# --- some scans are bad ---


def test_annotated_series_without_a_file_is_named_and_the_rest_goes_on(scans, caplog):
    annotations = scans.path("data/phantoms/luna16/annotations.csv")
    annotations.write_text(f"{annotations.read_text().strip()}\n1.2.3.999,1.0,2.0,3.0,8.0\n")
    scans.run("extract_luna@0")
    (warning,) = [
        record.getMessage() for record in caplog.records if "in none of the chosen subsets" in record.getMessage()
    ]
    assert "annotations.csv" in warning
    assert "1.2.3.999" in warning
    assert len(rows(scans, "data/luna16/slices/subset0/manifest.csv")) == 4


def truncate_one_scan(project: TinyProject) -> str:
    uid, header = next(iter(series_files(project.path("data/phantoms/luna16"), 0).items()))
    (voxels,) = header.parent.glob(f"{uid}.*raw")
    voxels.write_bytes(voxels.read_bytes()[: voxels.stat().st_size // 2])
    return uid


@pytest.mark.parametrize(("stage", "kind"), [("extract_luna@0", "slices"), ("lung_masks@0", "lungs")])
def test_truncated_scan_is_a_row_of_failures(scans, stage, kind):
    uid = truncate_one_scan(scans)
    scans.run(stage)
    (failure,) = rows(scans, f"data/luna16/{kind}/subset0/failures.csv")
    assert failure["scan"] == uid
    assert (failure["verdict"], failure["error"]) == ("unusable", "ScanError")
    assert uid in failure["message"]
    kept = {row["scan"] for row in rows(scans, f"data/luna16/{kind}/subset0/manifest.csv")}
    assert len(kept) == 3
    assert uid not in kept


def test_more_failures_than_allowed_end_the_stage(scans):
    uid = truncate_one_scan(scans)
    set_param(scans, "run", {"max_failures": 0})
    with pytest.raises(TooManyFailures, match=rf"1 of 4 scans failed, at most 0 may(.|\n)*{uid}"):
        scans.run("extract_luna@0")
    assert not scans.path("data/luna16/slices/subset0").exists()


def test_untidy_patient_folders(scans):
    """A note among the slices does no harm; an empty folder is a failure with a name."""
    first, second = keep_patients(scans, 2)
    root = scans.path("data/phantoms/dsb")
    (root / first / "notes.txt").write_text("seen by the second reader")
    (root / "empty-patient").mkdir()
    scans.run("segment_dsb")
    assert [row["scan"] for row in rows(scans, "data/dsb/segmentations/manifest.csv")] == [first, second]
    (failure,) = rows(scans, "data/dsb/segmentations/failures.csv")
    assert failure["scan"] == "empty-patient"
    assert "no CT slice found" in failure["message"]
    labels = pd.read_csv(scans.path("data/dsb/labels.csv"), dtype={"id": str})
    assert len(labels) == 8, "labels of patients without a scan stay, and wait"


# --- tables and parameters ---


def classifier_inputs(project: TinyProject, tiny_pipeline: TinyProject) -> pd.DataFrame:
    for name in ("data/dsb/features", "models"):
        shutil.copytree(tiny_pipeline.path(name), project.path(name), dirs_exist_ok=True)
    return pd.read_csv(tiny_pipeline.path("data/dsb/labels.csv"), dtype={"id": str})


@pytest.mark.parametrize("stage", ["tune_classifier", "train_classifier"])
def test_labels_of_other_patients_are_refused(scans, tiny_pipeline, stage):
    labels = classifier_inputs(scans, tiny_pipeline)
    labels.assign(id="x" + labels["id"]).to_csv(scans.path("data/dsb/labels.csv"), index=False)
    with pytest.raises(ValueError, match=r"no patient of .*features\.csv has a label in .*labels\.csv"):
        scans.run(stage)


def test_one_class_only_is_refused(scans, tiny_pipeline):
    labels = classifier_inputs(scans, tiny_pipeline)
    labels.assign(cancer=0).to_csv(scans.path("data/dsb/labels.csv"), index=False)
    with pytest.raises(ValueError, match="at least 2 patients of each class"):
        scans.run("tune_classifier")


def test_patients_without_a_label_are_left_out(scans, tiny_pipeline):
    labels = classifier_inputs(scans, tiny_pipeline)
    known = labels.sort_values("cancer").iloc[1:]
    known.to_csv(scans.path("data/dsb/labels.csv"), index=False)
    scans.run("train_classifier")
    out_of_fold = pd.read_csv(scans.path("models/plots/classifier/out_of_fold.csv"), dtype={"id": str})
    assert set(out_of_fold["id"]) == set(known["id"])


@pytest.mark.parametrize(
    ("stage", "section", "value", "named"),
    [
        ("lung_masks@0", "lung_mask", {"treshold_hu": -400.0}, r"lung_mask\.treshold_hu: .*threshold_hu"),
        ("lung_masks@0", "lung_mask", {"threshold_hu": "low"}, r"lung_mask\.threshold_hu: must be a float, got 'low'"),
        ("lung_masks@0", "lung_mask", {"method": "threshold_3d"}, r"lung_mask\.method: unknown key; known: closing_mm"),
        ("train_unet", "unet", {"epochs": 1.5}, r"unet\.epochs: must be an int"),
        ("extract_luna@0", "context", {"slices": 2}, r"context: expected an odd number of slices"),
        ("split", "split", {"test_share": 0.9}, r"split: validation_share \+ test_share"),
        ("phantoms@dsb", "phantoms", {"noise_hu": [9.0, 3.0]}, r"phantoms: .*noise_hu"),
        ("check_dataset@luna16", "dataset", {"subsets": []}, r"dataset\.subsets"),
    ],
)
def test_wrong_parameter_is_named_with_its_file(scans, stage, section, value, named):
    set_param(scans, section, value)
    with pytest.raises(ParamsError, match=rf"params\.yaml: {named}"):
        scans.run(stage)
