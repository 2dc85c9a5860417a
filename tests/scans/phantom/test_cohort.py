"""Synthetic cohorts: same bytes for the same seed, true geometry, sensible tables."""

import dataclasses
import hashlib
import re

import numpy as np
import pydicom
import pytest
import SimpleITK

from nodules.scans.phantom import cohort
from nodules.scans.phantom import files as luna_files
from nodules.scans.phantom.patient import stream
from nodules.scans.phantom.scanner import draw_scanner
from support.small_cohort import SMALL, SOLID


def digests(folder):
    return {p.relative_to(folder): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def test_same_seed_gives_the_same_bytes_whatever_was_written_before(tmp_path):
    for name, before in (("first", (0,)), ("second", ())):
        for index in before:
            cohort.write_luna_scan(index, SMALL, tmp_path / name / "other")
        cohort.write_luna_scan(3, SMALL, tmp_path / name / "luna")
        cohort.write_dsb_patient(3, SMALL, tmp_path / name / "dsb")
    for layout in ("luna", "dsb"):
        first, second = (digests(tmp_path / name / layout) for name in ("first", "second"))
        assert first and first == second


def series_uid(index):
    return luna_files.draw_series_uid(stream("identity", index, "luna", SMALL))


def test_the_two_cohorts_and_other_seeds_have_other_patients():
    luna, _ = cohort.make_patient(1, "luna", SMALL)
    dsb, _ = cohort.make_patient(1, "dsb", SMALL)
    other, _ = cohort.make_patient(1, "luna", dataclasses.replace(SMALL, seed=12))
    assert not np.array_equal(luna.voxels_zyx[:8], dsb.voxels_zyx[:8])
    assert not np.array_equal(luna.voxels_zyx[:8], other.voxels_zyx[:8])


@pytest.mark.parametrize("signs", luna_files.DIRECTIONS)
def test_annotated_centre_is_nodule_tissue_for_every_axis_direction(tmp_path, monkeypatch, signs):
    monkeypatch.setattr(cohort, "draw_signs", lambda rng: signs)
    index = next(i for i in range(99) if cohort.draw_truth(i, "luna", SOLID).nodules[0].kind == "solid")
    rows = cohort.write_luna_scan(index, SOLID, tmp_path)
    image = SimpleITK.ReadImage(str(next(tmp_path.rglob("*.mhd"))))
    assert np.allclose(np.diag(np.reshape(image.GetDirection(), (3, 3))), signs)
    assert np.linalg.norm(image.GetOrigin()) > 1
    largest = rows[0]
    voxel = image.TransformPhysicalPointToIndex([largest[c] for c in ("coordX", "coordY", "coordZ")])
    assert -250 < image[voxel] < 250


def test_directions_do_not_change_where_tissue_is(tmp_path, monkeypatch):
    arrays = []
    for i, signs in enumerate(luna_files.DIRECTIONS):
        monkeypatch.setattr(cohort, "draw_signs", lambda rng, signs=signs: signs)
        cohort.write_luna_scan(2, SMALL, tmp_path / str(i))
        image = SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(next((tmp_path / str(i)).rglob("*.mhd")))), "LPS")
        arrays.append((SimpleITK.GetArrayFromImage(image), image.GetOrigin()))
    for array, origin in arrays[1:]:
        assert np.array_equal(array, arrays[0][0])
        assert np.allclose(origin, arrays[0][1], atol=1e-3)


def test_luna_files_and_tables(tmp_path):
    rows = [row for i in range(3) for row in cohort.write_luna_scan(i, SMALL, tmp_path)]
    tables = cohort.luna_tables(rows)
    assert list(tables) == ["annotations.csv", "candidates.csv", "truth.csv"]
    annotations, candidates, truth = tables.values()
    assert list(annotations) == ["seriesuid", "coordX", "coordY", "coordZ", "diameter_mm"]
    assert list(candidates) == ["seriesuid", "coordX", "coordY", "coordZ", "class"]
    assert (candidates["class"] == 1).sum() == len(annotations)
    assert (candidates["class"] == 0).sum() > 10
    assert set(truth["seriesuid"]) == {series_uid(i) for i in range(3)}
    assert all(
        re.fullmatch(r"1\.3\.6\.1\.4\.1\.14519\.5\.2\.1\.6279\.6001\.[1-9]\d{29}", u) for u in truth["seriesuid"]
    )
    names = {p.relative_to(tmp_path).with_suffix("").as_posix() for p in tmp_path.rglob("*.mhd")}
    assert names == {f"subset{i % 2}/{series_uid(i)}" for i in range(3)}


def test_dicom_geometry_values_and_identity(tmp_path):
    rows = cohort.write_dsb_patient(2, SMALL, tmp_path)
    volume, truth = cohort.make_patient(2, "dsb", SMALL)
    identity = cohort.patient_id(2, SMALL)
    assert re.fullmatch("[0-9a-f]{32}", identity)
    files = sorted((tmp_path / identity).glob("*.dcm"))
    slices = [pydicom.dcmread(f) for f in files]
    assert {s.PatientID for s in slices} == {identity}
    assert len({s.SOPInstanceUID for s in slices}) == len(slices) == volume.shape_zyx[0]
    assert len({(s.SeriesInstanceUID, s.FrameOfReferenceUID, s.Modality, s.SOPClassUID) for s in slices}) == 1
    order = [int(s.InstanceNumber) for s in slices]
    assert order != sorted(order)
    slices.sort(key=lambda s: s.ImagePositionPatient[2])
    for k in (0, len(slices) - 1):
        wanted = volume.voxel_to_world([k, 0, 0])
        assert np.allclose([float(v) for v in slices[k].ImagePositionPatient], wanted, atol=1e-3)
    assert np.allclose([float(v) for v in slices[0].PixelSpacing], volume.spacing_zyx_mm[1:], atol=1e-6)
    hu = np.stack([s.pixel_array * float(s.RescaleSlope) + float(s.RescaleIntercept) for s in slices])
    assert np.array_equal(np.maximum(hu, -1000), volume.voxels_zyx)
    tables = cohort.dsb_tables(rows)
    assert tables["stage1_labels.csv"].to_dict("records") == [{"id": identity, "cancer": truth.cancer}]
    assert len(tables["nodules.csv"]) == len(truth.nodules)


def padding_hu(index):
    return draw_scanner(stream("scanner", index, "dsb", SMALL), SMALL).padding_hu


@pytest.mark.parametrize("wanted_hu", [-2000, -3024, None])
def test_padding_occurs_in_some_files_and_is_declared(tmp_path, wanted_hu):
    index = next(i for i in range(30) if padding_hu(i) == wanted_hu)
    cohort.write_dsb_patient(index, SMALL, tmp_path)
    one = pydicom.dcmread(next(tmp_path.rglob("*.dcm")))
    corner = int(one.pixel_array[0, 0])
    if wanted_hu is None:
        assert corner + one.RescaleIntercept >= -1024
        assert "PixelPaddingValue" not in one
    else:
        assert corner + one.RescaleIntercept == wanted_hu
        assert one.PixelPaddingValue == corner


def test_no_patients_give_empty_tables_with_columns():
    assert {name: len(table) for name, table in cohort.luna_tables([]).items()} == {
        "annotations.csv": 0,
        "candidates.csv": 0,
        "truth.csv": 0,
    }
    assert list(cohort.dsb_tables([])["stage1_labels.csv"]) == ["id", "cancer"]


def test_volume_is_clipped_and_holds_its_nodules():
    volume, truth = cohort.make_patient(4, "luna", SOLID)
    assert volume.voxels_zyx.dtype == np.int16
    assert volume.voxels_zyx.min() == -1000
    for nodule in truth.nodules:
        voxel = volume.world_to_voxel(nodule.centre_world_xyz)
        assert np.all(voxel > 0)
        assert np.all(voxel < np.array(volume.shape_zyx) - 1)


def test_unknown_layout_is_named():
    with pytest.raises(ValueError, match="'lidc'"):
        cohort.make_patient(0, "lidc", SMALL)


def test_reversed_range_is_refused():
    with pytest.raises(ValueError, match="noise_hu"):
        dataclasses.replace(SMALL, noise_hu=(50.0, 15.0))
