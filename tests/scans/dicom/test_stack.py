"""Stacks that need resampling, against fields that linear interpolation reproduces exactly and an analytic ball."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from nodules.imaging.geometry.volume import Volume
from nodules.scans.dicom.reader import read_series
from nodules.scans.result import Reading, ReadingParams
from support.dicom_files import change, write_series

PARAMS = ReadingParams(max_gap_mm=15.0, max_tilt_degrees=30.0, max_thickness_mm=3.0)
SLOPE_HU_PER_MM = np.array([7.0, -5.0, 4.0])
ORIGIN_XYZ_MM = np.array([-12.0, 33.0, -210.0])


def _write(
    folder: Path,
    hu_of_world,
    shape_zyx: tuple[int, int, int],
    orientation: NDArray[np.float64],
    spacing_yx_mm: tuple[float, float],
    positions_xyz: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Write slices that sample a field of the world, and return the world points (Z, Y, X, 3) of their pixels."""
    rows, columns = np.mgrid[: shape_zyx[1], : shape_zyx[2]]
    along_x, along_y = np.reshape(orientation, (2, 3))
    in_plane = columns[..., None] * spacing_yx_mm[1] * along_x + rows[..., None] * spacing_yx_mm[0] * along_y
    world = positions_xyz[:, None, None] + in_plane
    shutil.rmtree(folder, ignore_errors=True)
    files = write_series(folder, hu_of_world(world), (1.0, *spacing_yx_mm), orientation=tuple(orientation))
    for file, position in zip(files, positions_xyz, strict=True):
        change(file, ImagePositionPatient=[f"{v:.9f}" for v in position])
    return world


def _ramp(world: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.rint((world - ORIGIN_XYZ_MM) @ SLOPE_HU_PER_MM)


def _check_ramp(reading: Reading, steps_xyz: NDArray[np.float64], size_xyz: NDArray[np.int_]) -> None:
    """Inside the box of the written pixels is the ramp, half a voxel beyond it is air."""
    volume = reading.volume
    indices = np.moveaxis(np.indices(volume.shape_zyx), 0, -1)
    world = volume.voxel_to_world(indices)
    written = (world - ORIGIN_XYZ_MM) @ np.linalg.inv(steps_xyz).T
    inside = ((written >= -1e-6) & (written <= size_xyz - 1 + 1e-6)).all(axis=-1)
    outside = ((written < -0.51) | (written > size_xyz - 0.49)).any(axis=-1)
    assert inside.any()
    # rounded to whole HU up to three times: when written, between two slices, and when turned upright
    assert np.abs(volume.voxels_zyx[inside] - (world[inside] - ORIGIN_XYZ_MM) @ SLOPE_HU_PER_MM).max() <= 1.51
    assert (volume.voxels_zyx[outside] == -1000).all()
    # every written pixel has a voxel within half a voxel
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in size_xyz])).reshape(3, -1).T @ steps_xyz.T + ORIGIN_XYZ_MM
    found = volume.world_to_voxel(corners)
    assert (found >= -0.5 - 1e-6).all()
    assert (found <= np.array(volume.shape_zyx) - 0.5 + 1e-6).all()


turns = st.tuples(*[st.floats(-180, 180)] * 3)
in_plane_mm = st.tuples(st.floats(0.5, 2.0), st.floats(0.5, 2.0))


class TestAnyOrientation:
    @given(turn=turns, spacing_yx_mm=in_plane_mm, distance_mm=st.floats(0.8, 4.0))
    @settings(max_examples=25, deadline=None)
    def test_the_ramp_comes_back(self, tmp_path_factory, turn, spacing_yx_mm, distance_mm):
        axes = Rotation.from_euler("zyx", turn, degrees=True).as_matrix()
        positions = ORIGIN_XYZ_MM + np.arange(7)[:, None] * distance_mm * axes[:, 2]
        folder = tmp_path_factory.mktemp("series")
        _write(folder, _ramp, (7, 9, 8), axes[:, :2].T.ravel(), spacing_yx_mm, positions)
        found = read_series(folder, PARAMS)
        _check_ramp(found, axes * [spacing_yx_mm[1], spacing_yx_mm[0], distance_mm], np.array([8, 9, 7]))
        assert (np.reshape(found.volume.direction_xyz, (3, 3)).diagonal() > 0.999).all()

    def test_what_was_turned_is_said(self, tmp_path):
        axes = Rotation.from_euler("x", 20, degrees=True).as_matrix()
        positions = ORIGIN_XYZ_MM + np.arange(4)[:, None] * 2.0 * axes[:, 2]
        _write(tmp_path / "a", _ramp, (4, 5, 6), axes[:, :2].T.ravel(), (0.8, 0.7), positions)
        assert read_series(tmp_path / "a", PARAMS).repairs == (
            "the grid was 20.0 degrees off the axes of the body; resampled along them",
        )


class TestGaps:
    @given(
        missing=st.sets(st.integers(1, 8), min_size=1, max_size=4),
        turn=turns,
        spacing_yx_mm=in_plane_mm,
        distance_mm=st.floats(0.8, 2.5),
    )
    @settings(max_examples=20, deadline=None)
    def test_missing_slices_are_filled_in(self, tmp_path_factory, missing, turn, spacing_yx_mm, distance_mm):
        """At most four of the eight between the ends are missing, so that the median gap is that of neighbours."""
        there = [k for k in range(10) if k not in missing]
        if np.median(np.diff(there)) != 1:
            return
        axes = Rotation.from_euler("zyx", turn, degrees=True).as_matrix()
        positions = ORIGIN_XYZ_MM + np.array(there)[:, None] * distance_mm * axes[:, 2]
        folder = tmp_path_factory.mktemp("series")
        _write(folder, _ramp, (len(there), 6, 5), axes[:, :2].T.ravel(), spacing_yx_mm, positions)
        found = read_series(folder, PARAMS)
        _check_ramp(found, axes * [spacing_yx_mm[1], spacing_yx_mm[0], distance_mm], np.array([5, 6, 10]))
        slices = "slice" if len(missing) == 1 else "slices"
        assert found.repairs[0].startswith(f"{len(missing)} missing {slices} filled in by interpolation")

    @given(gaps=st.lists(st.floats(1.0, 3.0), min_size=4, max_size=9), spacing_yx_mm=in_plane_mm)
    @settings(max_examples=25, deadline=None)
    def test_uneven_slices_are_evened_out(self, tmp_path_factory, gaps, spacing_yx_mm):
        z = np.concatenate([[0.0], np.cumsum(gaps)])
        positions = ORIGIN_XYZ_MM + z[:, None] * [0, 0, 1]
        folder = tmp_path_factory.mktemp("series")
        _write(folder, _ramp, (len(z), 6, 5), np.eye(3)[:2].ravel(), spacing_yx_mm, positions)
        found = read_series(folder, PARAMS)
        volume = found.volume
        length_mm = (volume.shape_zyx[0] - 1) * volume.spacing_zyx_mm[0]
        assert length_mm == pytest.approx(z[-1])
        # without repair slices may lie a tenth of their distance, or 0.11 mm, off the grid
        off_mm = 0.0 if found.repairs else max(0.1 * max(gaps), 0.11)
        near_hu = 1.01 + off_mm * abs(SLOPE_HU_PER_MM[2])
        world = volume.voxel_to_world(np.moveaxis(np.indices(volume.shape_zyx), 0, -1))
        np.testing.assert_allclose(volume.voxels_zyx, (world - ORIGIN_XYZ_MM) @ SLOPE_HU_PER_MM, atol=near_hu)

    def test_slices_that_are_there_keep_their_values(self, tmp_path):
        noise = np.random.default_rng(1).integers(-1000, 1000, (6, 5, 4))
        files = write_series(tmp_path, noise, (2.0, 0.7, 0.8))
        files[2].unlink()
        found = read_series(tmp_path, PARAMS).volume.voxels_zyx
        there = [0, 1, 3, 4, 5]
        np.testing.assert_array_equal(found[there], noise[there])
        np.testing.assert_allclose(found[2], (noise[1] + noise[3]) / 2, atol=0.51)


class TestTilt:
    @given(degrees=st.floats(3, 28), sign=st.sampled_from([-1, 1]), spacing_yx_mm=in_plane_mm)
    @settings(max_examples=20, deadline=None)
    def test_the_ramp_comes_back(self, tmp_path_factory, degrees, sign, spacing_yx_mm):
        """The table moves along z, the slices lean about x."""
        axes = Rotation.from_euler("x", sign * degrees, degrees=True).as_matrix()
        positions = ORIGIN_XYZ_MM + np.arange(30)[:, None] * [0, 0, 2.0]
        folder = tmp_path_factory.mktemp("series")
        _write(folder, _ramp, (30, 7, 6), axes[:, :2].T.ravel(), spacing_yx_mm, positions)
        found = read_series(folder, PARAMS)
        steps = np.column_stack([axes[:, 0] * spacing_yx_mm[1], axes[:, 1] * spacing_yx_mm[0], [0, 0, 2.0]])
        _check_ramp(found, steps, np.array([6, 7, 30]))
        assert found.repairs == (f"gantry tilt of {degrees:.1f} degrees straightened",)
        np.testing.assert_array_equal(found.volume.direction_xyz, np.eye(3).ravel())
        np.testing.assert_allclose(found.volume.spacing_zyx_mm, (2.0, *spacing_yx_mm))

    @pytest.mark.parametrize("degrees", [-22.0, 15.0])
    @pytest.mark.parametrize("missing", [(), (11, 14)])
    def test_a_ball_is_a_ball_again(self, tmp_path, degrees, missing):
        centre_xyz, radius_mm = np.array([3.0, 41.0, -180.0]), 9.0

        def ball(world: NDArray[np.float64]) -> NDArray[np.float64]:
            depth_mm = radius_mm - np.linalg.norm(world - centre_xyz, axis=-1)
            return np.rint(-800 + 840 * np.clip(depth_mm + 0.5, 0, 1))

        axes = Rotation.from_euler("x", degrees, degrees=True).as_matrix()
        first = centre_xyz - 20 * axes[:, 0] - 25 * axes[:, 1] - [0, 0, 20]
        positions = first + np.array([k for k in range(27) if k not in missing])[:, None] * [0, 0, 1.5]
        _write(tmp_path / "a", ball, (len(positions), 72, 50), axes[:, :2].T.ravel(), (0.7, 0.8), positions)
        volume = read_series(tmp_path / "a", PARAMS).volume
        share = (volume.voxels_zyx.clip(-800) + 800) / 840
        assert share.sum() * volume.voxel_mm3 == pytest.approx(4 / 3 * np.pi * radius_mm**3, rel=0.02)
        weights = share / share.sum()
        centre_zyx = [(weights * index).sum() for index in np.indices(share.shape)]
        np.testing.assert_allclose(volume.voxel_to_world(centre_zyx), centre_xyz, atol=0.1)
        np.testing.assert_allclose(_reach_mm(volume), radius_mm, atol=0.8)

    def test_less_than_a_pixel_is_left_as_it_is(self, tmp_path):
        positions = ORIGIN_XYZ_MM + np.arange(5)[:, None] * [0, 0.15, 2.0]
        _write(tmp_path / "a", _ramp, (5, 6, 7), np.eye(3)[:2].ravel(), (0.7, 0.8), positions)
        found = read_series(tmp_path / "a", PARAMS)
        assert found.repairs == ()
        assert found.volume.shape_zyx == (5, 6, 7)


def _reach_mm(volume: Volume) -> NDArray[np.float64]:
    """Half the length of the bright ball along z, y and x through its middle."""
    bright = volume.voxels_zyx > -380
    reach = [np.count_nonzero(bright.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    return np.array(reach) * volume.spacing_zyx_mm / 2
