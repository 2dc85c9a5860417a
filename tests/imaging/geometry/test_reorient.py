"""Volumes turned to canonical axes or resampled onto world axes, against ITK and an analytic ramp."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from nodules.imaging.geometry.reorient import (
    MAX_OBLIQUE_DEGREES,
    canonical_axes,
    flipped_xy,
    onto_world_axes,
    resample_to_world_axes,
)
from nodules.imaging.geometry.volume import Volume

SHAPE_ZYX = (6, 7, 8)
SPACING_ZYX_MM = (2.5, 0.6, 0.8)
ORIGIN_XYZ_MM = (-120.5, 33.25, -301.0)
SLOPE_HU_PER_MM = np.array([9.0, -11.0, 6.0])


def _ramp(world: np.ndarray) -> np.ndarray:
    return (world - ORIGIN_XYZ_MM) @ SLOPE_HU_PER_MM


def _turned(matrix: np.ndarray, spacing_zyx_mm=SPACING_ZYX_MM) -> Volume:
    empty = Volume(np.zeros(SHAPE_ZYX, np.int16), spacing_zyx_mm, ORIGIN_XYZ_MM, tuple(matrix.ravel()))
    world = empty.voxel_to_world(np.moveaxis(np.indices(SHAPE_ZYX), 0, -1))
    return empty.with_voxels(np.rint(_ramp(world)).astype(np.int16))


def _about(axis: str, degrees: float) -> np.ndarray:
    return Rotation.from_euler(axis, degrees, degrees=True).as_matrix()


class TestUpright:
    @pytest.mark.parametrize("degrees", [0.0, MAX_OBLIQUE_DEGREES - 0.01, -1.0])
    def test_nearly_upright_stays_the_very_same(self, degrees):
        volume = _turned(_about("y", degrees))
        assert resample_to_world_axes(volume) == (volume, 0.0)
        assert resample_to_world_axes(volume)[0] is volume

    @given(
        turn=st.tuples(*[st.floats(-20, 20)] * 3),  # more would bring another axis nearest to the world's
        spacing=st.tuples(st.floats(0.7, 3.0), st.floats(0.4, 1.0), st.floats(0.4, 1.0)),
    )
    @settings(max_examples=40, deadline=None)
    def test_a_ramp_stays_where_it_is(self, turn, spacing):
        volume = _turned(_about("zyx", turn), spacing)
        found, degrees = resample_to_world_axes(volume)
        if not degrees:
            return
        world = found.voxel_to_world(np.moveaxis(np.indices(found.shape_zyx), 0, -1))
        index = volume.world_to_voxel(world)
        size = np.array(SHAPE_ZYX)
        inside = ((index >= 0) & (index <= size - 1)).all(axis=-1)
        outside = ((index < -0.51) | (index > size - 0.49)).any(axis=-1)
        assert np.abs(found.voxels_zyx[inside] - _ramp(world[inside])).max() <= 1.01
        assert (found.voxels_zyx[outside] == -1000).all()
        rim = ~inside & ((index > -0.49) & (index < size - 0.51)).all(axis=-1)
        nearest = volume.voxel_to_world(np.clip(index[rim], 0, size - 1))
        np.testing.assert_allclose(found.voxels_zyx[rim], _ramp(nearest), atol=1.01)
        corners = volume.voxel_to_world(np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in SHAPE_ZYX])).reshape(3, -1).T)
        covered = found.world_to_voxel(corners)
        assert (covered > -0.502).all()
        assert (covered < np.array(found.shape_zyx) - 0.498).all()
        assert found.spacing_zyx_mm == pytest.approx(spacing)

    def test_angle_is_that_of_the_worst_axis(self):
        _, degrees = resample_to_world_axes(_turned(_about("x", 17.0)))
        assert degrees == pytest.approx(17.0)

    def test_single_oblique_slice_keeps_its_thickness(self):
        volume = Volume(np.full((1, 40, 50), 37, np.int16), (5.0, 0.7, 0.8), (1, 2, 3), tuple(_about("x", 20).ravel()))
        found, _ = resample_to_world_axes(volume)
        assert set(np.unique(found.voxels_zyx)) == {-1000, 37}
        kept_mm3 = np.count_nonzero(found.voxels_zyx == 37) * found.voxel_mm3
        assert kept_mm3 == pytest.approx(volume.voxels_zyx.size * volume.voxel_mm3, rel=0.05)

    def test_absurd_spacing_is_refused(self):
        volume = Volume(
            np.zeros((50, 4, 5), np.int16), (1000.0, 0.001, 0.001), (0, 0, 0), tuple(_about("x", 20).ravel())
        )
        with pytest.raises(ValueError, match="expected at most"):
            resample_to_world_axes(volume)


class TestOntoWorldAxes:
    def test_sheared_steps_by_hand(self):
        """Each slice lies half a row, 1 mm, further along y and 3 mm, less than its step, along z."""
        voxels = np.random.default_rng(0).integers(-900, 900, (3, 4, 5)).astype(np.int16)
        steps = np.array([[0.5, 0, 0], [0, 2, 1.0], [0, 0, 3.0]])
        found = onto_world_axes(voxels, (10, 20, 30), steps)
        assert found.spacing_zyx_mm == pytest.approx((np.sqrt(10), 2, 0.5))
        # z reaches 3 * 3 mm about 33: ceil(9 / 3.162) = 3 voxels; y reaches 4 * 2 + 3 * 1 mm about 24: 6 voxels
        assert found.shape_zyx == (3, 6, 5)
        np.testing.assert_allclose(found.origin_xyz_mm, (10, 24 - 2.5 * 2, 33 - np.sqrt(10)))
        # the middle slice, at z = 33, has its rows at y = 21, 23, 25, 27, and the grid at 19, 21, ... 29
        np.testing.assert_array_equal(found.voxels_zyx[1, 1:5], voxels[1])
        assert (found.voxels_zyx[1, [0, 5]] == -1000).all()

    def test_whole_steps_lose_nothing(self):
        """Steps that only swap and flip axes: x index to -z, y index to x, z index to y."""
        voxels = np.random.default_rng(0).integers(-900, 900, (3, 4, 5)).astype(np.int16)
        steps = np.array([[0, 0.7, 0], [0, 0, 2.5], [-0.6, 0, 0]])
        found = onto_world_axes(voxels, (10, 20, 30), steps)
        assert found.spacing_zyx_mm == pytest.approx((0.6, 2.5, 0.7))
        np.testing.assert_allclose(found.origin_xyz_mm, (10, 20, 30 - 4 * 0.6))
        np.testing.assert_array_equal(found.voxels_zyx, voxels.transpose(2, 0, 1)[::-1])

    def test_steps_in_one_plane(self):
        with pytest.raises(ValueError, match="expected three linearly independent columns"):
            onto_world_axes(np.zeros((2, 2, 2), np.int16), (0, 0, 0), [[1, 0, 1], [0, 1, 1], [0, 0, 0]])


NUMBERED_ZYX = (3, 4, 5)


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
    values = np.arange(60, dtype=np.int16).reshape(NUMBERED_ZYX)
    volume = Volume(values, spacing, origin, tuple(direction.ravel()))
    found = canonical_axes(volume)
    matrix = np.reshape(found.direction_xyz, (3, 3))
    assert (matrix.diagonal() > 0.8).all()
    for index in ((0, 0, 0), (2, 1, 4), (1, 3, 2)):
        there = found.world_to_voxel(volume.voxel_to_world(index))
        np.testing.assert_allclose(there, np.rint(there), atol=1e-6)
        assert found.voxels_zyx[tuple(np.rint(there).astype(int))] == values[index]


def test_canonical_axes_agrees_with_itk():
    direction = (0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
    volume = Volume(
        np.arange(60, dtype=np.int16).reshape(NUMBERED_ZYX), (2.5, 0.6, 0.8), (-120.5, 33.25, -301.0), direction
    )
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


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, 1)])
def test_flips_are_those_of_canonical_axes(signs):
    volume = _turned(np.diag(np.array(signs, dtype=float)))
    found = canonical_axes(volume).voxels_zyx
    flips = flipped_xy(volume.direction_xyz)
    assert flips == (signs[0] < 0, signs[1] < 0)
    axes = [axis for axis, flip in zip((2, 1, 0), (*flips, signs[2] < 0), strict=True) if flip]
    np.testing.assert_array_equal(found, np.flip(volume.voxels_zyx, axes))


@pytest.mark.parametrize("direction", [_about("x", 3), _about("z", -3), _about("z", 90), _about("xyz", [90, 0, 90])])
def test_swapped_or_oblique_axes_have_no_flips(direction):
    assert flipped_xy(direction) is None


def test_slightly_oblique_axes_have_flips():
    assert flipped_xy(_about("z", 179)) == (True, True)
    assert flipped_xy(_about("x", 1)) == (False, False)
