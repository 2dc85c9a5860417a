from __future__ import annotations

import gzip
import os

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from nodules.imaging.volume import Volume
from nodules.scans.scan_error import ScanError
from nodules.scans.volume_files import canonical_axes, read_mask, read_volume, write_volume

SUFFIXES = [".mhd", ".mha", ".nii", ".nii.gz", ".nrrd"]
SHAPE_ZYX = (3, 4, 5)


def _scan(dtype=np.int16, **geometry) -> Volume:
    values = np.random.default_rng(1).integers(-900, 900, SHAPE_ZYX)
    grid = {"spacing_zyx_mm": (2.5, 0.6, 0.8), "origin_xyz_mm": (-120.5, 33.25, -301.0)} | geometry
    return Volume(values.astype(dtype), **grid)


def _same_grid(found: Volume, wanted: Volume, atol: float = 1e-4) -> None:
    np.testing.assert_allclose(found.spacing_zyx_mm, wanted.spacing_zyx_mm, atol=atol)
    np.testing.assert_allclose(found.origin_xyz_mm, wanted.origin_xyz_mm, atol=atol)
    np.testing.assert_allclose(found.direction_xyz, wanted.direction_xyz, atol=atol)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("compress", [True, False])
def test_what_was_written_is_read_back(tmp_path, suffix, compress):
    scan = _scan()
    write_volume(scan, tmp_path / f"a{suffix}", compress=compress)
    found = read_volume(tmp_path / f"a{suffix}")
    assert found.voxels_zyx.dtype == np.int16
    np.testing.assert_array_equal(found.voxels_zyx, scan.voxels_zyx)
    _same_grid(found, scan)


def test_itk_sees_the_same_place(tmp_path):
    write_volume(_scan(), tmp_path / "a.nrrd")
    image = SimpleITK.ReadImage(str(tmp_path / "a.nrrd"))
    assert image.GetSize() == (5, 4, 3)
    # index (4, 3, 2): origin + (4 * 0.8, 3 * 0.6, 2 * 2.5)
    np.testing.assert_allclose(image.TransformIndexToPhysicalPoint((4, 3, 2)), (-117.3, 35.05, -296.0))


def test_mhd_names_its_data_file_and_leaves_nothing_else(tmp_path):
    write_volume(_scan(), tmp_path / "1.2.3.mhd")
    write_volume(_scan(), tmp_path / "1.2.3.mhd")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["1.2.3.mhd", "1.2.3.zraw"]
    assert "ElementDataFile = 1.2.3.zraw" in (tmp_path / "1.2.3.mhd").read_text()


def test_same_volume_gives_the_same_bytes(tmp_path):
    for name in ("a.nii.gz", "a.mha", "a.nrrd"):
        write_volume(_scan(), tmp_path / name)
        first = (tmp_path / name).read_bytes()
        write_volume(_scan(), tmp_path / name)
        assert (tmp_path / name).read_bytes() == first


def test_leftovers_of_a_killed_writer_are_cleared(tmp_path):
    (tmp_path / ".a.mha.unfinished").mkdir()
    (tmp_path / ".a.mha.unfinished" / "junk").write_text("half")
    write_volume(_scan(), tmp_path / "a.mha")
    assert [file.name for file in tmp_path.iterdir()] == ["a.mha"]


@pytest.mark.parametrize(("dtype", "stored"), [(bool, np.uint8), (np.uint8, np.uint8), (float, np.float32)])
def test_mask_keeps_its_type_and_values(tmp_path, dtype, stored):
    values = np.array([0, 1] * 30).reshape(SHAPE_ZYX).astype(dtype)
    write_volume(_scan().with_voxels(values), tmp_path / "m.nii.gz")
    found = read_mask(tmp_path / "m.nii.gz").voxels_zyx
    assert found.dtype == stored
    np.testing.assert_array_equal(found, values)


def test_mask_is_not_clipped(tmp_path):
    values = np.full(SHAPE_ZYX, 5000, dtype=np.uint16)
    write_volume(_scan().with_voxels(values), tmp_path / "m.nrrd")
    assert read_mask(tmp_path / "m.nrrd").voxels_zyx.max() == 5000
    assert read_volume(tmp_path / "m.nrrd").voxels_zyx.max() == 3071


def test_hu_are_clipped_and_rounded(tmp_path):
    values = np.zeros(SHAPE_ZYX)
    values[0, 0] = [-3024, -1000.4, 40.6, -40.6, 9999]
    write_volume(_scan().with_voxels(values), tmp_path / "a.mha")
    assert read_volume(tmp_path / "a.mha").voxels_zyx[0, 0].tolist() == [-1000, -1000, 41, -41, 3071]


def test_nan_is_refused(tmp_path):
    write_volume(_scan().with_voxels(np.full(SHAPE_ZYX, np.nan)), tmp_path / "a.mha")
    with pytest.raises(ScanError, match=r"a\.mha: holds NaN"):
        read_volume(tmp_path / "a.mha")


@pytest.mark.parametrize("dtype", [np.complex64, np.int64])
def test_unwritable_type_is_refused(tmp_path, dtype):
    with pytest.raises(ScanError, match="voxels must be"):
        write_volume(_scan().with_voxels(np.zeros(SHAPE_ZYX, dtype)), tmp_path / "a.mha")


def test_flipped_luna_header_keeps_the_nodule_in_place(tmp_path):
    """Some LUNA16 headers run x and y backwards; the bright voxel must stay at its world point."""
    values = np.full(SHAPE_ZYX, -800, dtype=np.int16)
    values[2, 1, 3] = 700
    flipped = Volume(values, (2.5, 0.6, 0.8), (100.0, 50.0, -20.0), (-1, 0, 0, 0, -1, 0, 0, 0, 1))
    write_volume(flipped, tmp_path / "a.mhd")
    found = read_volume(tmp_path / "a.mhd")
    assert found.direction_xyz == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    # x: 100 - 3 * 0.8, y: 50 - 0.6, z: -20 + 2 * 2.5
    index = np.rint(found.world_to_voxel((97.6, 49.4, -15.0))).astype(int)
    assert found.voxels_zyx[tuple(index)] == 700
    assert index.tolist() == [2, 2, 1]


@given(
    order=st.permutations(range(3)),
    signs=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    angle=st.floats(-0.6, 0.6),
    spacing=st.tuples(*[st.floats(0.4, 5.0)] * 3),
    origin=st.tuples(*[st.floats(-400, 400)] * 3),
)
@settings(max_examples=40, deadline=None)
def test_canonical_axes_moves_no_voxel(order, signs, angle, spacing, origin):
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    direction = (turn @ np.eye(3)[:, list(order)]) * signs
    values = np.arange(60, dtype=np.int16).reshape(SHAPE_ZYX)
    volume = Volume(values, spacing, origin, tuple(direction.ravel()))
    found = canonical_axes(volume)
    matrix = np.reshape(found.direction_xyz, (3, 3))
    assert (matrix.diagonal() > 0.8).all()
    for index in ((0, 0, 0), (2, 1, 4), (1, 3, 2)):
        there = found.world_to_voxel(volume.voxel_to_world(index))
        np.testing.assert_allclose(there, np.rint(there), atol=1e-6)
        assert found.voxels_zyx[tuple(np.rint(there).astype(int))] == values[index]


@given(
    order=st.permutations(range(3)),
    signs=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    suffix=st.sampled_from(SUFFIXES),
    spacing=st.tuples(*[st.floats(0.4, 5.0)] * 3),
    origin=st.tuples(*[st.floats(-400, 400)] * 3),
)
@settings(max_examples=30, deadline=None)
def test_any_axis_order_survives_the_file(tmp_path_factory, order, signs, suffix, spacing, origin):
    path = tmp_path_factory.mktemp("v") / f"a{suffix}"
    direction = np.eye(3)[:, list(order)] * signs
    values = np.arange(60, dtype=np.int16).reshape(SHAPE_ZYX)
    volume = Volume(values, spacing, origin, tuple(direction.ravel()))
    write_volume(volume, path)
    found = read_volume(path)
    np.testing.assert_allclose(found.direction_xyz, np.eye(3).ravel(), atol=1e-4)
    for index in ((0, 0, 0), (2, 3, 4), (1, 2, 0)):
        there = found.world_to_voxel(volume.voxel_to_world(index))
        assert found.voxels_zyx[tuple(np.rint(there).astype(int))] == values[index]


def test_canonical_axes_agrees_with_itk():
    direction = (0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
    volume = _scan(direction_xyz=direction)
    image = SimpleITK.GetImageFromArray(volume.voxels_zyx)
    image.SetSpacing(volume.spacing_zyx_mm[::-1])
    image.SetOrigin(volume.origin_xyz_mm)
    image.SetDirection(direction)
    wanted = SimpleITK.DICOMOrient(image, "LPS")
    found = canonical_axes(volume)
    np.testing.assert_array_equal(found.voxels_zyx, SimpleITK.GetArrayFromImage(wanted))
    np.testing.assert_allclose(found.origin_xyz_mm, wanted.GetOrigin())
    np.testing.assert_allclose(found.spacing_zyx_mm, wanted.GetSpacing()[::-1])
    np.testing.assert_allclose(found.direction_xyz, wanted.GetDirection())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_slice_is_a_volume(tmp_path, suffix):
    one = Volume(np.ones((1, 4, 5), np.int16), (2.5, 0.6, 0.8), (1.0, 2.0, 3.0))
    write_volume(one, tmp_path / f"a{suffix}")
    found = read_volume(tmp_path / f"a{suffix}")
    assert found.shape_zyx == (1, 4, 5)
    _same_grid(found, one)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("compress", [True, False])
def test_cut_short_is_refused(tmp_path, suffix, compress):
    noise = np.random.default_rng(0).integers(-1000, 1000, (6, 40, 50)).astype(np.int16)
    path = tmp_path / f"a{suffix}"
    write_volume(Volume(noise, (1.0, 1.0, 1.0)), path, compress=compress)
    data = max(tmp_path.iterdir(), key=lambda file: file.stat().st_size)
    os.truncate(data, data.stat().st_size // 2)
    with pytest.raises(ScanError, match=r"a\.[a-z.]+: (cut short|damaged)"):
        read_volume(path)


def test_raw_that_lacks_one_byte_is_refused(tmp_path):
    write_volume(_scan(), tmp_path / "a.mhd", compress=False)
    os.truncate(tmp_path / "a.raw", 119)
    with pytest.raises(ScanError, match=r"a\.raw: cut short: the header asks for 120 bytes, it holds 119"):
        read_volume(tmp_path / "a.mhd")


def test_missing_data_file_is_named(tmp_path):
    write_volume(_scan(), tmp_path / "a.mhd", compress=False)
    (tmp_path / "a.raw").unlink()
    with pytest.raises(ScanError, match=r"a\.mhd: its data file a\.raw is missing"):
        read_volume(tmp_path / "a.mhd")


def test_gzip_of_several_members_is_whole(tmp_path):
    """Bgzip and pigz may write more than one member; the size at the end is then that of the last one."""
    write_volume(_scan(), tmp_path / "a.nii")
    plain = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(plain[:200]) + gzip.compress(plain[200:]))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").voxels_zyx, _scan().voxels_zyx)


def test_missing_file_wrong_suffix_and_rubbish(tmp_path):
    with pytest.raises(ScanError, match=r"gone\.mha: no such file"):
        read_volume(tmp_path / "gone.mha")
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(ScanError, match=r"a\.txt: a volume file must end in one of \.mhd, "):
        read_volume(tmp_path / "a.txt")
    with pytest.raises(ScanError, match=r"a\.txt: a volume is written as"):
        write_volume(_scan(), tmp_path / "a.txt")
    for suffix in SUFFIXES:
        (tmp_path / f"b{suffix}").write_text("hello")
        with pytest.raises(ScanError, match=rf"b{suffix}: no readable header"):
            read_volume(tmp_path / f"b{suffix}")


def test_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ScanError, match="folder does not exist"):
        write_volume(_scan(), tmp_path / "no" / "a.mha")


@pytest.mark.parametrize(
    ("array", "is_vector"),
    [(np.zeros((4, 5)), False), (np.zeros((2, 3, 4, 5)), False), (np.zeros((3, 4, 5, 2)), True)],
    ids=["2-D", "4-D", "vector"],
)
def test_what_is_not_3d_is_refused(tmp_path, array, is_vector):
    image = SimpleITK.GetImageFromArray(array.astype(np.float32), isVector=is_vector)
    SimpleITK.WriteImage(image, str(tmp_path / "a.nrrd"))
    with pytest.raises(ScanError, match=r"a\.nrrd: wanted a 3-D image"):
        read_volume(tmp_path / "a.nrrd")


def test_claim_of_a_monstrous_size_is_refused_before_reading(tmp_path):
    (tmp_path / "a.nrrd").write_text(
        "NRRD0004\ntype: short\ndimension: 3\nsizes: 100000 100000 100\nendian: little\nencoding: raw\n"
        "space: left-posterior-superior\nspace directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n\n"
    )
    with pytest.raises(ScanError, match="over the limit"):
        read_volume(tmp_path / "a.nrrd")


def test_zero_size_is_refused(tmp_path):
    write_volume(_scan(), tmp_path / "a.mha", compress=False)
    data = (tmp_path / "a.mha").read_bytes()
    (tmp_path / "a.mha").write_bytes(data.replace(b"DimSize = 5 4 3", b"DimSize = 5 4 0"))
    with pytest.raises(ScanError, match=r"a\.mha"):
        read_volume(tmp_path / "a.mha")
