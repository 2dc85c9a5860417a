from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from nodules.imaging.geometry.volume import Volume
from nodules.scans.result import Reading, ReadingParams, ScanError
from nodules.scans.volume_files.reader import read_mask, read_volume
from nodules.scans.volume_files.writer import write_volume

SUFFIXES = [".mhd", ".mha", ".nii", ".nii.gz", ".nrrd"]
SHAPE_ZYX = (3, 4, 5)
PARAMS = ReadingParams(max_gap_mm=5.0, max_tilt_degrees=30.0, max_thickness_mm=5.0)


def _scan(dtype=np.int16, **geometry) -> Volume:
    values = np.random.default_rng(1).integers(-900, 900, SHAPE_ZYX)
    grid = {"spacing_zyx_mm": (2.5, 0.6, 0.8), "origin_xyz_mm": (-120.5, 33.25, -301.0)} | geometry
    return Volume(values.astype(dtype), **grid)


def _reading(path: Path) -> Reading:
    return read_volume(path, PARAMS)


def _read(path: Path) -> Volume:
    return _reading(path).volume


def _same_grid(found: Volume, wanted: Volume, atol: float = 1e-4) -> None:
    np.testing.assert_allclose(found.spacing_zyx_mm, wanted.spacing_zyx_mm, atol=atol)
    np.testing.assert_allclose(found.origin_xyz_mm, wanted.origin_xyz_mm, atol=atol)
    np.testing.assert_allclose(found.direction_xyz, wanted.direction_xyz, atol=atol)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("compress", [True, False])
def test_what_was_written_is_read_back(tmp_path, suffix, compress):
    scan = _scan()
    write_volume(scan, tmp_path / f"a{suffix}", compress=compress)
    found = _read(tmp_path / f"a{suffix}")
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
    assert _read(tmp_path / "m.nrrd").voxels_zyx.max() == 3071


def test_hu_are_clipped_and_rounded(tmp_path):
    values = np.zeros(SHAPE_ZYX)
    values[0, 0] = [-3024, -1000.4, 40.6, -40.6, 9999]
    write_volume(_scan().with_voxels(values), tmp_path / "a.mha")
    assert _read(tmp_path / "a.mha").voxels_zyx[0, 0].tolist() == [-1000, -1000, 41, -41, 3071]


def test_nan_is_refused(tmp_path):
    write_volume(_scan().with_voxels(np.full(SHAPE_ZYX, np.nan)), tmp_path / "a.mha")
    with pytest.raises(ScanError, match=r"a\.mha: holds NaN"):
        _read(tmp_path / "a.mha")


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
    found = _read(tmp_path / "a.mhd")
    assert found.direction_xyz == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    # x: 100 - 3 * 0.8, y: 50 - 0.6, z: -20 + 2 * 2.5
    index = np.rint(found.world_to_voxel((97.6, 49.4, -15.0))).astype(int)
    assert found.voxels_zyx[tuple(index)] == 700
    assert index.tolist() == [2, 2, 1]


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
    found = _read(path)
    np.testing.assert_allclose(found.direction_xyz, np.eye(3).ravel(), atol=1e-4)
    for index in ((0, 0, 0), (2, 3, 4), (1, 2, 0)):
        there = found.world_to_voxel(volume.voxel_to_world(index))
        assert found.voxels_zyx[tuple(np.rint(there).astype(int))] == values[index]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_slice_is_a_volume(tmp_path, suffix):
    one = Volume(np.ones((1, 4, 5), np.int16), (2.5, 0.6, 0.8), (1.0, 2.0, 3.0))
    write_volume(one, tmp_path / f"a{suffix}")
    found = _read(tmp_path / f"a{suffix}")
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
        _read(path)


def test_raw_that_lacks_one_byte_is_refused(tmp_path):
    write_volume(_scan(), tmp_path / "a.mhd", compress=False)
    os.truncate(tmp_path / "a.raw", 119)
    with pytest.raises(ScanError, match=r"a\.raw: cut short: the header asks for 120 bytes, it holds 119"):
        _read(tmp_path / "a.mhd")


@pytest.mark.parametrize(("suffix", "data"), [(".mhd", "a.raw"), (".mha", "a.mha")])
def test_more_voxels_than_the_header_asks_for_are_refused(tmp_path, suffix, data):
    """The header of another scan, or the wrong type: what was read would be shifted."""
    write_volume(_scan(), tmp_path / f"a{suffix}", compress=False)
    with (tmp_path / data).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ScanError, match=rf"{data}: 121 bytes of voxels are more than the 120 that the header"):
        _read(tmp_path / f"a{suffix}")


def test_missing_data_file_is_named(tmp_path):
    write_volume(_scan(), tmp_path / "a.mhd", compress=False)
    (tmp_path / "a.raw").unlink()
    with pytest.raises(ScanError, match=r"a\.mhd: its data file a\.raw is missing"):
        _read(tmp_path / "a.mhd")


def test_gzip_of_several_members_is_whole(tmp_path):
    """Bgzip and pigz may write more than one member; the size at the end is then that of the last one."""
    write_volume(_scan(), tmp_path / "a.nii")
    plain = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(plain[:200]) + gzip.compress(plain[200:]))
    np.testing.assert_array_equal(_read(tmp_path / "a.nii.gz").voxels_zyx, _scan().voxels_zyx)


def test_missing_file_wrong_suffix_and_rubbish(tmp_path):
    with pytest.raises(ScanError, match=r"gone\.mha: no such file"):
        _read(tmp_path / "gone.mha")
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(ScanError, match=r"a\.txt: a volume file must end in one of \.mhd, "):
        _read(tmp_path / "a.txt")
    with pytest.raises(ScanError, match=r"a\.txt: a volume is written as"):
        write_volume(_scan(), tmp_path / "a.txt")
    for suffix in SUFFIXES:
        (tmp_path / f"b{suffix}").write_text("hello")
        with pytest.raises(ScanError, match=rf"b{suffix}: no readable header"):
            _read(tmp_path / f"b{suffix}")


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
    with pytest.raises(ScanError, match=r"a\.nrrd: expected a 3-D image"):
        _read(tmp_path / "a.nrrd")


def test_claim_of_a_monstrous_size_is_refused_before_reading(tmp_path):
    (tmp_path / "a.nrrd").write_text(
        "NRRD0004\ntype: short\ndimension: 3\nsizes: 100000 100000 100\nendian: little\nencoding: raw\n"
        "space: left-posterior-superior\nspace directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n\n"
    )
    with pytest.raises(ScanError, match="over the limit"):
        _read(tmp_path / "a.nrrd")


def test_zero_size_is_refused(tmp_path):
    write_volume(_scan(), tmp_path / "a.mha", compress=False)
    data = (tmp_path / "a.mha").read_bytes()
    (tmp_path / "a.mha").write_bytes(data.replace(b"DimSize = 5 4 3", b"DimSize = 5 4 0"))
    with pytest.raises(ScanError, match=r"a\.mha"):
        _read(tmp_path / "a.mha")


# --- what a header may leave out, or say twice ---


def _nifti(path: Path, **changed: object) -> Path:
    """A NIfTI-1 file of 5 x 4 x 3 int16 voxels (0.8, 0.6, 2.5 mm) byte by byte, as its standard lays it out."""
    fields = {
        "dim": (3, 5, 4, 3, 1, 1, 1, 1),
        "pixdim": (1, 0.8, 0.6, 2.5, 1, 1, 1, 1),
        "slope_inter": (0, 0),
        "units": 2,  # mm
        "forms": (0, 1),  # qform_code, sform_code
        "quaternion_offset": (0, 0, 0, 0, 0, 0),
        "srow": (-0.8, 0, 0, 1, 0, -0.6, 0, 2, 0, 0, 2.5, 3),  # runs left and back, so that LPS is the identity
    } | changed
    header = bytearray(352)
    for layout, start, value in (
        ("<i", 0, 348),
        ("<8h", 40, fields["dim"]),
        ("<2h", 70, (4, 16)),
        ("<8f", 76, fields["pixdim"]),
        ("<f", 108, 352),
        ("<2f", 112, fields["slope_inter"]),
        ("<B", 123, fields["units"]),
        ("<2h", 252, fields["forms"]),
        ("<6f", 256, fields["quaternion_offset"]),
        ("<12f", 280, fields["srow"]),
        ("<4s", 344, b"n+1\0"),
    ):
        struct.pack_into(layout, header, start, *(value if isinstance(value, tuple) else (value,)))
    path.write_bytes(bytes(header) + np.arange(-30, 210, dtype="<i2").tobytes())
    return path


def _nrrd(path: Path, text: str) -> Path:
    head = f"NRRD0004\ntype: short\nendian: little\nencoding: raw\n{text}\n\n"
    path.write_bytes(head.encode() + np.arange(-30, 30, dtype="<i2").tobytes())
    return path


def _mha(path: Path, text: str) -> Path:
    head = f"ObjectType = Image\nNDims = 3\nBinaryData = True\nDimSize = 5 4 3\n{text}\nElementType = MET_SHORT\n"
    path.write_bytes(head.encode() + b"ElementDataFile = LOCAL\n" + np.arange(-30, 30, dtype="<i2").tobytes())
    return path


LPS = "dimension: 3\nsizes: 5 4 3\nspace: left-posterior-superior\n"
DIRECTIONS = "space directions: (0.8,0,0) (0,0.6,0) (0,0,2.5)\nspace origin: (-1,-2,3)"
MATRIX = "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = -1 -2 3\n"
SPACING = "ElementSpacing = 0.8 0.6 2.5"


def test_the_same_grid_by_hand_in_three_formats(tmp_path):
    found = [
        _reading(_nifti(tmp_path / "a.nii")),
        _reading(_nrrd(tmp_path / "a.nrrd", LPS + DIRECTIONS)),
        _reading(_mha(tmp_path / "a.mha", MATRIX + SPACING)),
    ]
    assert [reading.kind for reading in found] == ["NIfTI", "NRRD", "MetaImage"]
    for reading in found:
        assert (reading.repairs, reading.warnings) == ((), ())
        _same_grid(reading.volume, Volume(np.zeros(SHAPE_ZYX), (2.5, 0.6, 0.8), (-1.0, -2.0, 3.0)))
        assert reading.volume.voxels_zyx.ravel().tolist() == list(range(-30, 30))


@pytest.mark.parametrize("space", ["right-anterior-superior", "RAS"])
def test_nrrd_in_ras_is_turned(tmp_path, space):
    """Right-anterior-superior (x, y, z) = (1, 2, 3) is left-posterior-superior (-1, -2, 3)."""
    text = f"dimension: 3\nsizes: 5 4 3\nspace: {space}\nspace directions: (-0.8,0,0) (0,-0.6,0) (0,0,2.5)\n"
    reading = _reading(_nrrd(tmp_path / "a.nrrd", text + "space origin: (1,2,3)"))
    _same_grid(reading.volume, Volume(np.zeros(SHAPE_ZYX), (2.5, 0.6, 0.8), (-1.0, -2.0, 3.0)))
    assert reading.warnings == ()


def test_nifti_rescales_to_hu(tmp_path):
    reading = _reading(_nifti(tmp_path / "a.nii", slope_inter=(2.0, -500.0)))
    assert reading.volume.voxels_zyx.ravel()[:3].tolist() == [-560, -558, -556]


def test_left_handed_sform_is_turned(tmp_path):
    """Index x runs to the right here: the last column of the file is the leftmost but -4 * 0.8 = -3.2 mm away."""
    reading = _reading(_nifti(tmp_path / "a.nii", srow=(0.8, 0, 0, 1, 0, -0.6, 0, 2, 0, 0, 2.5, 3)))
    _same_grid(reading.volume, Volume(np.zeros(SHAPE_ZYX), (2.5, 0.6, 0.8), (-4.2, -2.0, 3.0)))
    assert reading.volume.voxels_zyx[0, 0].tolist() == [-26, -27, -28, -29, -30]


@pytest.mark.parametrize("slope_inter", [(0.0, 100.0), (np.nan, np.nan), (np.nan, 100.0)])
def test_nifti_that_is_not_to_be_scaled(tmp_path, slope_inter):
    """ITK adds the intercept to the values even where a slope of 0, or none, says that there is no scaling."""
    path = _nifti(tmp_path / "a.nii", slope_inter=slope_inter)
    assert _read(path).voxels_zyx.ravel()[:3].tolist() == [-30, -29, -28]
    assert read_mask(path).voxels_zyx.ravel()[:3].tolist() == [-30, -29, -28]


@pytest.mark.parametrize("line", ["ElementSpacing = 0.8 -0.6 2.5", "ElementSpacing = 0.8 0 2.5"])
def test_spacing_that_is_not_positive_is_refused(tmp_path, line):
    with pytest.raises(ScanError, match=r"a\.mha: (voxels of|unusable geometry)"):
        _read(_mha(tmp_path / "a.mha", MATRIX + line))


def test_directions_in_one_plane_are_refused(tmp_path):
    with pytest.raises(ScanError, match=r"a\.mha: unusable geometry: spacing and directions must span space"):
        _read(_mha(tmp_path / "a.mha", MATRIX.replace("0 0 1\n", "0 1 0\n") + SPACING))


def test_missing_voxel_size_is_refused(tmp_path):
    with pytest.raises(ScanError, match=r"a\.mha: the header states no voxel size \(ElementSpacing\)"):
        _read(_mha(tmp_path / "a.mha", MATRIX.strip()))
    with pytest.raises(ScanError, match=r"a\.nrrd: the header states no voxel size \(space directions\)"):
        _read(_nrrd(tmp_path / "a.nrrd", LPS.strip()))


def test_missing_directions_are_a_warning(tmp_path):
    for path in (
        _nifti(tmp_path / "a.nii", forms=(0, 0)),
        _nrrd(tmp_path / "a.nrrd", "dimension: 3\nsizes: 5 4 3\nspacings: 0.8 0.6 2.5"),
        _mha(tmp_path / "a.mha", SPACING),
    ):
        reading = _reading(path)
        (warning,) = reading.warnings
        assert "the header states no directions" in warning
        assert reading.volume.spacing_zyx_mm == pytest.approx((2.5, 0.6, 0.8))


@pytest.mark.parametrize("units", [1, 3], ids=["metres", "micrometres"])
def test_impossible_voxel_size_is_refused(tmp_path, units):
    with pytest.raises(ScanError, match=r"mm .* are impossible for a CT scan"):
        _read(_nifti(tmp_path / "a.nii", units=units))


def test_metres_are_turned_into_mm(tmp_path):
    rows = tuple(value / 1000 for value in (-0.8, 0, 0, 1, 0, -0.6, 0, 2, 0, 0, 2.5, 3))
    reading = _reading(_nifti(tmp_path / "a.nii", units=1, pixdim=(1, 8e-4, 6e-4, 2.5e-3, 1, 1, 1, 1), srow=rows))
    _same_grid(reading.volume, Volume(np.zeros(SHAPE_ZYX), (2.5, 0.6, 0.8), (-1.0, -2.0, 3.0)))


def test_nifti_that_contradicts_itself(tmp_path):
    with pytest.raises(ScanError, match=r"voxels of 0\.8 x 0\.6 x 2\.5 mm by its sform, 1\.6 x 0\.6 x 2\.5 mm"):
        _read(_nifti(tmp_path / "a.nii", pixdim=(1, 1.6, 0.6, 2.5, 1, 1, 1, 1)))
    with pytest.raises(ScanError, match="its sform disagrees with its qform and pixdim"):  # ITK would mirror it
        _read(_nifti(tmp_path / "b.nii", pixdim=(1, -0.8, 0.6, 2.5, 1, 1, 1, 1)))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(tmp_path, suffix, bad):
    """ITK reads either as 0 HU, water, from a NIfTI file."""
    values = np.full(SHAPE_ZYX, 40.0)
    values[2, 3, 4] = bad
    write_volume(_scan().with_voxels(values), tmp_path / f"a{suffix}")
    with pytest.raises(ScanError, match=rf"a{suffix}: holds NaN or infinity"):
        _read(tmp_path / f"a{suffix}")
    assert read_mask(tmp_path / f"a{suffix}").voxels_zyx.shape == SHAPE_ZYX


@pytest.mark.parametrize("order", ["<", ">"])
def test_nan_in_a_double_nifti_of_either_byte_order(tmp_path, order):
    path = _nifti(tmp_path / "a.nii")
    header = bytearray(path.read_bytes()[:352])
    for layout, start in (("i", 0), ("8h", 40), ("8f", 76), ("f", 108), ("2f", 112), ("2h", 252), ("12f", 280)):
        struct.pack_into(order + layout, header, start, *struct.unpack_from("<" + layout, header, start))
    struct.pack_into(order + "2h", header, 70, 64, 64)
    values = np.linspace(-1000, 400, 60).astype(order + "f8")
    path.write_bytes(bytes(header) + values.tobytes())
    np.testing.assert_array_equal(_read(path).voxels_zyx.ravel(), np.rint(values))
    values[59] = np.nan
    path.write_bytes(bytes(header) + values.tobytes())
    with pytest.raises(ScanError, match="holds NaN"):
        _read(path)


# --- grids that lie obliquely ---


def _turn(degrees: float) -> np.ndarray:
    """About the world's z axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def _slope(points_xyz: np.ndarray) -> np.ndarray:
    """HU that grow along the world's axes, so that linear interpolation keeps them."""
    return points_xyz @ [4.0, -3.0, 2.0] - 300


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_oblique_grid_is_resampled_in_place(tmp_path, suffix):
    empty = Volume(np.zeros((7, 21, 25), np.int16), (2.5, 0.9, 0.8), (11.0, -7.0, 5.0), tuple(_turn(20).ravel()))
    places = empty.voxel_to_world(np.moveaxis(np.indices(empty.shape_zyx), 0, -1))
    write_volume(empty.with_voxels(np.rint(_slope(places)).astype(np.int16)), tmp_path / f"a{suffix}")
    reading = _reading(tmp_path / f"a{suffix}")
    (repair,) = reading.repairs
    assert "20.0 degrees off the axes of the body" in repair
    np.testing.assert_allclose(reading.volume.direction_xyz, np.eye(3).ravel(), atol=1e-12)
    middle = empty.voxel_to_world((3, 10, 12))
    index = np.rint(reading.volume.world_to_voxel(middle)).astype(int)
    there = reading.volume.voxel_to_world(index)
    assert reading.volume.voxels_zyx[tuple(index)] == pytest.approx(_slope(there), abs=1.5)


def test_two_degrees_are_left_alone(tmp_path):
    write_volume(_scan(direction_xyz=tuple(_turn(1.5).ravel())), tmp_path / "a.mha")
    reading = _reading(tmp_path / "a.mha")
    assert reading.repairs == ()
    np.testing.assert_array_equal(reading.volume.voxels_zyx, _scan().voxels_zyx)
    np.testing.assert_allclose(reading.volume.direction_xyz, _turn(1.5).ravel(), atol=1e-6)


def test_tilted_stack_is_straightened_or_refused(tmp_path):
    """Each slice lies 0.5 mm further back: atan(0.5 / 2.5) = 11.3 degrees."""
    path = _nrrd(tmp_path / "a.nrrd", LPS + "space directions: (0.8,0,0) (0,0.6,0) (0,0.5,2.5)\nspace origin: (1,2,3)")
    assert _reading(path).repairs == ("gantry tilt of 11.3 degrees straightened",)
    strict = ReadingParams(max_gap_mm=5.0, max_tilt_degrees=11.0, max_thickness_mm=5.0)
    with pytest.raises(ScanError, match=r"not at right angles .* 11\.3 degrees off, over the limit of 11"):
        read_volume(path, strict)
    with pytest.raises(ScanError, match="not at right angles"):
        read_mask(path)
    with pytest.raises(ScanError, match="not at right angles"):  # ITK itself refuses it in NIfTI
        _read(_nifti(tmp_path / "a.nii", srow=(-0.8, 0, 0, 1, 0, -0.6, -0.5, 2, 0, 0, 2.5, 3)))


# --- a fourth axis ---


def test_single_time_point_is_dropped(tmp_path):
    four = SimpleITK.GetImageFromArray(_scan().voxels_zyx[None], isVector=False)
    four.SetSpacing((0.8, 0.6, 2.5, 1.0))
    SimpleITK.WriteImage(four, str(tmp_path / "a.mha"))
    times = "dimension: 4\nsizes: 5 4 3 1\nspace: left-posterior-superior\nkinds: domain domain domain list\n"
    for path in (
        tmp_path / "a.mha",
        _nifti(tmp_path / "a.nii", dim=(4, 5, 4, 3, 1, 1, 1, 1)),
        _nrrd(tmp_path / "a.nrrd", times + DIRECTIONS.replace("2.5)", "2.5) none")),
    ):
        reading = _reading(path)
        assert reading.repairs == ("a fourth axis of one time point was dropped",)
        assert reading.volume.shape_zyx == SHAPE_ZYX
        assert reading.volume.spacing_zyx_mm == pytest.approx((2.5, 0.6, 0.8))
    np.testing.assert_array_equal(_read(tmp_path / "a.mha").voxels_zyx, _scan().voxels_zyx)


def test_two_time_points_and_flat_pictures_are_refused(tmp_path):
    with pytest.raises(ScanError, match=r"expected a 3-D image .* got size \(5, 4, 3, 2\)"):
        _read(_nifti(tmp_path / "a.nii", dim=(4, 5, 4, 3, 2, 1, 1, 1)))
    with pytest.raises(ScanError, match=r"expected a 3-D image .* got size \(5, 4\)"):
        _read(_nifti(tmp_path / "b.nii", dim=(2, 5, 4, 1, 1, 1, 1, 1)))


def test_complex_numbers_are_refused(tmp_path):
    SimpleITK.WriteImage(SimpleITK.Image((5, 4, 3), SimpleITK.sitkComplexFloat32), str(tmp_path / "a.nii"))
    with pytest.raises(ScanError, match=r"a\.nii: expected "):
        _read(tmp_path / "a.nii")


# --- values that are no HU ---


def _noisy_chest(offset_hu: int) -> np.ndarray:
    """Half air, a quarter lung, a quarter soft tissue, each with noise of 20 HU; stored values are cut off at 0."""
    hu = np.repeat([-1000, -1000, -850, 40], 2000).reshape(8, 20, 50)
    noisy = hu + np.random.default_rng(3).normal(0, 20, hu.shape)
    return np.clip(np.rint(noisy) + offset_hu, 0 if offset_hu else -1024, 4095).astype(np.int16)


@pytest.mark.parametrize("offset_hu", [1000, 1024])
def test_offset_is_taken_off_and_said(tmp_path, offset_hu):
    chest = Volume(_noisy_chest(offset_hu), (2.5, 0.6, 0.8))
    write_volume(chest, tmp_path / "a.nii.gz")
    reading = _reading(tmp_path / "a.nii.gz")
    (repair,) = reading.repairs
    assert f"values were {offset_hu} above HU" in repair
    np.testing.assert_array_equal(reading.volume.voxels_zyx, np.maximum(chest.voxels_zyx - offset_hu, -1000))


def test_windowed_picture_is_refused(tmp_path):
    picture = (np.clip(_noisy_chest(0) + 1000, 0, 1400) / 1400 * 255).astype(np.uint8)
    write_volume(Volume(picture, (2.5, 0.6, 0.8)), tmp_path / "a.mha")
    with pytest.raises(ScanError, match=r"a\.mha: 8-bit values .* are a picture or a mask, not HU"):
        _read(tmp_path / "a.mha")


# --- damage ---


@pytest.mark.parametrize("suffix", [".mha", ".nii.gz", ".nrrd"])
def test_one_flipped_bit_of_compressed_data_is_found(tmp_path, suffix):
    """ITK hands out a damaged MetaImage without a word."""
    path = tmp_path / f"a{suffix}"
    noise = np.random.default_rng(0).integers(-1000, 1000, (6, 40, 50)).astype(np.int16)
    write_volume(Volume(noise, (1.0, 1.0, 1.0)), path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(ScanError, match=r"a\.[a-z.]+: (damaged|no readable header)"):
        _read(path)


@pytest.mark.parametrize(
    ("line", "other"),
    [
        ("NDims = 3", "NDims = 300"),
        ("NDims = 3", "NDims = many"),
        ("DimSize = 5 4 3", "DimSize = 5 4"),
        ("DimSize = 5 4 3", "DimSize = 5 -4 3"),
        ("ElementSpacing = 0.8 0.6 2.5", "ElementSpacing = 0.8 0.6"),
        ("ElementDataFile = LOCAL", "ElementDataFile = LIST"),
        ("ElementDataFile = LOCAL", "ElementDataFile = slice%03d.raw 1 3 1"),
        ("ElementDataFile = LOCAL", "ElementDataFile = /dev/zero"),
    ],
)
def test_hostile_metaimage_header_is_refused(tmp_path, line, other):
    path = _mha(tmp_path / "a.mha", MATRIX + SPACING)
    path.write_bytes(path.read_bytes().replace(line.encode(), other.encode()))
    with pytest.raises(ScanError, match=r"a\.mha: "):
        _read(path)


@pytest.mark.parametrize(
    ("line", "other", "named"),
    [
        ("sizes: 5 4 3", "sizes: 5 four 3", "sizes must be positive whole numbers"),
        ("sizes: 5 4 3", "sizes:", "sizes must be positive whole numbers"),
        ("encoding: raw", "encoding: bzip2", "cannot read the encoding 'bzip2'"),
        ("encoding: raw", "encoding: raw\ndata file: LIST", "lie in several files"),
        ("encoding: raw", "encoding: raw\ndata file: gone.raw", r"data file gone\.raw is missing"),
        ("encoding: raw", "encoding: raw\ndata file: /dev/zero", "must lie beside the header"),
        ("encoding: raw", "encoding: raw\ndata file: a/../../b.raw", "must lie beside the header"),
    ],
)
def test_hostile_nrrd_header_is_refused(tmp_path, line, other, named):
    path = _nrrd(tmp_path / "a.nrrd", LPS + DIRECTIONS)
    path.write_bytes(path.read_bytes().replace(line.encode(), other.encode()))
    with pytest.raises(ScanError, match=named):
        _read(path)


@pytest.mark.skipif(not os.environ.get("NODULES_REAL_DATA"), reason="NODULES_REAL_DATA is not set")
def test_real_chest_and_its_rotated_copy():
    root = Path(os.environ["NODULES_REAL_DATA"]) / "volumes"
    straight, turned = _reading(root / "ct-64.nrrd"), _reading(root / "ct-64-transformed.nrrd")
    assert (straight.repairs, straight.warnings, turned.warnings) == ((), (), ())
    assert turned.repairs == ("the grid was 20.0 degrees off the axes of the body; resampled along them",)
    assert min(turned.volume.shape_zyx[1:]) > 64
