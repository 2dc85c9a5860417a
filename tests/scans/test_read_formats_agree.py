"""One phantom on one random grid, written as DICOM, MetaImage, NIfTI and NRRD, is one and the same volume."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from nodules.imaging.geometry.volume import Volume
from nodules.scans.read import read_scan
from nodules.scans.result import Reading, ReadingParams
from nodules.scans.volume_files.writer import write_volume
from support.dicom_files import change, write_series

PARAMS = ReadingParams(max_gap_mm=6.0, max_tilt_degrees=35.0, max_thickness_mm=20.0)
SHAPE_ZYX = (4, 5, 6)
SUFFIXES = (".mhd", ".nii.gz", ".nrrd")
RESCALES = [(1.0, -1024.0), (1.0, 0.0), (0.5, -1000.0), (2.0, -1024.0), (1.37, -990.503)]
FAR_FROM_A_TIE = 0.05
"""A grid turned by 45 degrees has two equally good orders of its axes, and rounding decides."""


@dataclass(frozen=True)
class Phantom:
    """Noise without any symmetry on a grid, and how DICOM stores it.

    Attributes
    ----------
    truth : Volume
        int16 HU, in the order in which the files hold them: neither sorted nor flipped.
    stored_zyx : (Z, Y, X) ndarray
        The numbers in the DICOM files: `truth` before slope and intercept.
    """

    truth: Volume
    stored_zyx: NDArray[np.int64] = field(repr=False)
    slope: float
    intercept: float
    is_signed: bool


def axis_orders_and_flips() -> st.SearchStrategy[NDArray[np.float64]]:
    """All 48 ways in which index axes run along the world's, right- and left-handed."""
    flips = st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3)
    return st.builds(lambda order, signs: np.eye(3)[:, list(order)] * signs, st.permutations(range(3)), flips)


def turns(least_degrees: float, most_degrees: float) -> st.SearchStrategy[NDArray[np.float64]]:
    """Rotations about any axis."""
    parts = st.tuples(*[st.floats(-1, 1)] * 3).map(np.array).filter(lambda axis: np.linalg.norm(axis) > 0.2)
    degrees = st.floats(least_degrees, most_degrees)
    return st.builds(
        lambda axis, angle: Rotation.from_rotvec(axis / np.linalg.norm(axis) * np.deg2rad(angle)).as_matrix(),
        parts,
        degrees,
    )


@st.composite
def phantoms(draw: st.DrawFn, least_degrees: float = 0.0, most_degrees: float = 0.0) -> Phantom:
    """Phantoms on grids that are turned off the world's axes by so many degrees."""
    direction = draw(axis_orders_and_flips())
    if most_degrees > 0:
        direction = draw(turns(least_degrees, most_degrees)) @ direction
        best_two = np.sort(np.abs(direction), axis=0)[-2:]
        assume((best_two[1] - best_two[0] > FAR_FROM_A_TIE).all())
    is_signed = draw(st.booleans())
    # Values that are never negative may be taken for HU with an offset, and rightly so.
    slope, intercept = draw(st.sampled_from([pair for pair in RESCALES if is_signed or pair[1] < 0]))
    low = -1200 if is_signed else 0
    stored = np.random.default_rng(draw(st.integers(0, 2**16))).integers(low, 2500, SHAPE_ZYX)
    hu = np.rint(np.clip(stored * np.float32(slope) + np.float32(intercept), -1000, 3071)).astype(np.int16)
    spacing = draw(st.tuples(st.floats(0.5, 5.0), st.floats(0.3, 2.0), st.floats(0.3, 2.0)))
    origin = draw(st.tuples(*[st.floats(-400, 400)] * 3))
    truth = Volume(hu, spacing, origin, tuple(direction.ravel()))
    return Phantom(truth, stored, slope, intercept, is_signed)


def write_dicom(phantom: Phantom, folder: Path) -> Path:
    """A series whose slice axis may run against the slice normal: DICOM knows no handedness, only positions."""
    truth = phantom.truth
    direction = np.reshape(truth.direction_xyz, (3, 3))
    hu, stored, origin = truth.voxels_zyx, phantom.stored_zyx, truth.origin_xyz_mm
    if np.linalg.det(direction) < 0:
        hu, stored, origin = hu[::-1], stored[::-1], truth.voxel_to_world((len(hu) - 1, 0, 0))
    files = write_series(folder, hu, truth.spacing_zyx_mm, origin, (*direction[:, 0], *direction[:, 1]))
    for file, pixels in zip(files, stored, strict=True):
        change(
            file,
            PixelRepresentation=int(phantom.is_signed),
            RescaleSlope=f"{phantom.slope:g}",
            RescaleIntercept=f"{phantom.intercept:g}",
            PixelData=pixels.astype(np.int16 if phantom.is_signed else np.uint16).tobytes(),
        )
    return folder


def read_all(phantom: Phantom, folder: Path) -> dict[str, Reading]:
    """Format to what was read from it."""
    readings = {"DICOM": read_scan(write_dicom(phantom, folder / "series"), PARAMS)}
    for suffix in SUFFIXES:
        write_volume(phantom.truth, folder / f"scan{suffix}")
        readings[suffix] = read_scan(folder / f"scan{suffix}", PARAMS)
    return readings


def corners(shape_zyx: tuple[int, ...]) -> NDArray[np.int64]:
    """Indices of the eight corner voxels."""
    return np.array(np.meshgrid(*[(0, n - 1) for n in shape_zyx], indexing="ij")).reshape(3, -1).T


def assert_same_place(found: Volume, wanted: Volume, case: str) -> None:
    assert found.shape_zyx == wanted.shape_zyx, case
    indices = corners(wanted.shape_zyx)
    np.testing.assert_allclose(
        found.voxel_to_world(indices), wanted.voxel_to_world(indices), rtol=0, atol=0.01, err_msg=case
    )


def world_points(volume: Volume) -> NDArray[np.float64]:
    """World positions (Z, Y, X, 3) of all voxels."""
    return volume.voxel_to_world(np.moveaxis(np.indices(volume.shape_zyx), 0, -1))


@given(phantom=phantoms())
@settings(max_examples=40, deadline=None)
def test_along_the_axes_no_voxel_changes(tmp_path_factory, phantom):
    for case, reading in read_all(phantom, tmp_path_factory.mktemp("scan")).items():
        found = reading.volume
        assert found.voxels_zyx.dtype == np.int16
        np.testing.assert_allclose(found.direction_xyz, np.eye(3).ravel(), atol=1e-5, err_msg=case)
        there = phantom.truth.world_to_voxel(world_points(found))
        np.testing.assert_allclose(there, np.rint(there), atol=0.01, err_msg=case)
        z, y, x = np.moveaxis(np.rint(there).astype(int), -1, 0)
        assert found.voxels_zyx.size == phantom.truth.voxels_zyx.size
        np.testing.assert_array_equal(found.voxels_zyx, phantom.truth.voxels_zyx[z, y, x], err_msg=case)


@given(phantom=phantoms(), in_order=st.booleans())
@settings(max_examples=30, deadline=None)
def test_flips_lead_back_to_the_stored_pixels(tmp_path_factory, phantom, in_order):
    signs = np.sign(np.reshape(phantom.truth.direction_xyz, (3, 3)).sum(axis=0))
    if in_order:  # most phantoms have swapped axes, which leave no pixel of a slice where it was stored
        truth = replace(phantom.truth, direction_xyz=tuple(np.diag(signs).ravel()))
        phantom = replace(phantom, truth=truth)
    direction = np.reshape(phantom.truth.direction_xyz, (3, 3))
    for case, reading in read_all(phantom, tmp_path_factory.mktemp("scan")).items():
        if not np.abs(direction.diagonal()).all():
            assert reading.flipped_xy is None, case
            continue
        assert reading.flipped_xy == (signs[0] < 0, signs[1] < 0), case
        axes = [axis for axis, sign in zip((2, 1, 0), signs, strict=True) if sign < 0]
        np.testing.assert_array_equal(np.flip(reading.volume.voxels_zyx, axes), phantom.truth.voxels_zyx, err_msg=case)


def assert_all_formats_agree(readings: dict[str, Reading], tolerance_hu: float) -> None:
    first = readings["DICOM"].volume
    for case, reading in readings.items():
        assert_same_place(reading.volume, first, case)
        difference = np.abs(reading.volume.voxels_zyx.astype(int) - first.voxels_zyx)
        assert difference.max() <= tolerance_hu, f"{case}: {difference.max()} HU"


@given(phantom=phantoms(0.01, 1.8))
@settings(max_examples=20, deadline=None)
def test_slightly_oblique_grids_are_kept(tmp_path_factory, phantom):
    readings = read_all(phantom, tmp_path_factory.mktemp("scan"))
    assert_all_formats_agree(readings, 0)
    found = readings["DICOM"].volume
    assert sorted(found.shape_zyx) == sorted(SHAPE_ZYX)
    z, y, x = np.moveaxis(np.rint(phantom.truth.world_to_voxel(world_points(found))).astype(int), -1, 0)
    np.testing.assert_array_equal(found.voxels_zyx, phantom.truth.voxels_zyx[z, y, x])


@given(phantom=phantoms(2.6, 40.0))
@settings(max_examples=40, deadline=None)
def test_oblique_grids_are_brought_upright_alike(tmp_path_factory, phantom):
    readings = read_all(phantom, tmp_path_factory.mktemp("scan"))
    assert_all_formats_agree(readings, 1)
    found = readings["DICOM"].volume
    np.testing.assert_allclose(found.direction_xyz, np.eye(3).ravel(), atol=1e-6)
    assert all(any("degrees" in said for said in reading.repairs) for reading in readings.values())
    there = np.moveaxis(phantom.truth.world_to_voxel(world_points(found)), -1, 0)
    last = np.array(SHAPE_ZYX).reshape(3, 1, 1, 1) - 1
    inside = ((there >= 0.001) & (there <= last - 0.001)).all(axis=0)
    outside = ((there < -1.001) | (there > last + 1.001)).any(axis=0)
    wanted = map_coordinates(phantom.truth.voxels_zyx.astype(float), there[:, inside], order=1)
    np.testing.assert_allclose(found.voxels_zyx[inside], wanted, rtol=0, atol=3)
    assert (found.voxels_zyx[outside] == -1000).all()


@given(phantom=phantoms(2.6, 40.0))
@settings(max_examples=20, deadline=None)
def test_every_scanned_voxel_lies_in_the_upright_grid(tmp_path_factory, phantom):
    folder = tmp_path_factory.mktemp("scan")
    write_volume(phantom.truth, folder / "scan.nrrd")
    found = read_scan(folder / "scan.nrrd", PARAMS).volume
    there = found.world_to_voxel(phantom.truth.voxel_to_world(corners(SHAPE_ZYX)))
    assert (there > -0.501).all()
    assert (there < np.array(found.shape_zyx) - 0.499).all()


@pytest.mark.parametrize("axis", range(3))
def test_turned_about_one_axis_the_faces_are_not_lost(tmp_path, axis):
    """The end planes of the axis of turning coincide with planes of the upright grid, up to rounding."""
    turn = Rotation.from_euler("xyz"[axis], 20, degrees=True).as_matrix()
    hu = np.full(SHAPE_ZYX, 500, dtype=np.int16)
    truth = Volume(hu, (2.3, 0.7, 0.9), (-87.3, 113.7, -301.1), tuple(turn.ravel()))
    readings = read_all(Phantom(truth, hu + 1024, 1.0, -1024.0, is_signed=False), tmp_path)
    assert_all_formats_agree(readings, 0)
    assert all(reading.flipped_xy is None for reading in readings.values())
    planes = np.moveaxis(readings["DICOM"].volume.voxels_zyx, 2 - axis, 0)
    assert (planes[0] == 500).any()
    assert (planes[-1] == 500).any()
    np.testing.assert_array_equal(planes[0], planes[len(planes) // 2])
    np.testing.assert_array_equal(planes[-1], planes[len(planes) // 2])
