from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nodules.imaging.geometry.volume import Volume
from nodules.scans.volume_files.writer import write_volume
from nodules.stages import check_dataset

HEADER = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"
REPORT = Path("checks/found.json")


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """One LUNA16 scan with a nodule and a row too many; one DSB patient, labelled twice."""
    monkeypatch.chdir(tmp_path)
    luna, patient = tmp_path / "luna", tmp_path / "dsb" / "p1"
    (luna / "subset0").mkdir(parents=True)
    patient.mkdir(parents=True)
    (patient / "1.dcm").touch()
    write_volume(Volume(np.full((3, 4, 5), -1000, np.int16), (2.5, 0.6, 0.8)), luna / "subset0" / "1.1.mhd")
    (luna / "annotations.csv").write_text(HEADER + "1.1,1,2,3,4\n1.9,1,2,3,4\n")
    (tmp_path / "dsb" / "stage1_labels.csv").write_text("id,cancer\np1,1\np1,1\n")
    _set_params([], [0])
    return tmp_path


def _set_params(phantoms: list[str], subsets: list[int]) -> None:
    dataset = {"luna_root": "luna", "lidc_xml": None, "subsets": subsets, "dsb_root": "dsb", "phantoms": phantoms}
    Path("params.yaml").write_text(json.dumps({"dataset": dataset}))


def test_findings_are_written_and_said(project, capsys, caplog):
    check_dataset.main(layout="luna16", output=REPORT)
    found = json.loads(REPORT.read_text())
    assert (found["layout"], found["scans"], found["nodules"], found["subset0"]) == ("luna16", 1, 1, 1)
    (warning,) = found["warnings"]
    assert "1 nodules of 1 series (1.9) without a file" in warning
    assert [record.getMessage() for record in caplog.records] == [f"luna: {warning}"]
    said = capsys.readouterr().out
    assert "luna: 1 subset0, 1 scans, 1 nodules, 0 scans without nodules" in said
    assert f"luna: {found['notes'][0]}" in said


def test_labels_are_looked_at(project, caplog):
    check_dataset.main(layout="dsb", output=REPORT)
    found = json.loads(REPORT.read_text())
    assert (found["patients"], found["labels"], found["patients_with_label"]) == (1, 1, 1)
    assert found["warnings"] == ["stage1_labels.csv: dropped 1 repeated line (3)"]
    assert len(caplog.records) == 1


@pytest.mark.parametrize(("layout", "key"), [("luna16", "luna_root"), ("dsb", "dsb_root")])
def test_what_cannot_be_used_ends_with_file_and_parameter(project, layout, key):
    (project / "luna" / "annotations.csv").unlink()
    (project / "dsb" / "stage1_labels.csv").unlink()
    with pytest.raises(SystemExit, match=rf"\.csv: no such file(.|\n)*dataset\.{key} in params\.yaml"):
        check_dataset.main(layout=layout, output=REPORT)
    assert not REPORT.exists()


def test_subset_that_is_not_there_is_named(project):
    _set_params([], [0, 4])
    with pytest.raises(SystemExit, match=r"subset4 does not exist; unpack subset4\.zip there"):
        check_dataset.main(layout="luna16", output=REPORT)


def test_phantoms_are_not_looked_at(project):
    """They are made by another stage, perhaps later."""
    _set_params(["luna16"], [7])
    check_dataset.main(layout="luna16", output=REPORT)
    assert json.loads(REPORT.read_text()) == {"layout": "luna16", "made_by": "the stage phantoms"}
