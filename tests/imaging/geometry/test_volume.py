"""World and voxel coordinates, crops and the HU window."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from nodules.imaging.geometry.volume import Volume, window

SHAPE = (4, 5, 6)
FLIPPED_X_AND_Y = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
Z_INTO_X = (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0)  # index x runs to world y, y to z, z to x


def ramp(**geometry) -> Volume:
    return Volume(np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE), **geometry)


lengths = st.floats(0.2, 5.0)
places = st.floats(-500.0, 500.0)


@st.composite
def grids(draw) -> Volume:
    """Any spacing, origin and rotation, left-handed ones included."""
    rotation = Rotation.from_euler("xyz", draw(st.tuples(*[st.floats(-180, 180)] * 3)), degrees=True).as_matrix()
    mirrored = rotation * draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
    return ramp(
        spacing_zyx_mm=draw(st.tuples(lengths, lengths, lengths)),
        origin_xyz_mm=draw(st.tuples(places, places, places)),
        direction_xyz=tuple(mirrored.ravel().tolist()),
    )


def test_world_position_by_hand():
    volume = ramp(spacing_zyx_mm=(2.5, 0.5, 0.75), origin_xyz_mm=(-100.0, 20.0, -300.0))
    # x = -100 + 4 * 0.75, y = 20 + 3 * 0.5, z = -300 + 2 * 2.5
    assert volume.voxel_to_world([2, 3, 4]).tolist() == [-97.0, 21.5, -295.0]
    assert volume.world_to_voxel([-97.0, 21.5, -295.0]).tolist() == [2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("direction", "world"),
    [
        (FLIPPED_X_AND_Y, [10 - 4 * 0.75, 20 - 3 * 0.5, 30 + 2 * 2.5]),
        (Z_INTO_X, [10 + 2 * 2.5, 20 + 4 * 0.75, 30 + 3 * 0.5]),
    ],
)
def test_turned_axes_by_hand(direction, world):
    volume = ramp(spacing_zyx_mm=(2.5, 0.5, 0.75), origin_xyz_mm=(10.0, 20.0, 30.0), direction_xyz=direction)
    np.testing.assert_allclose(volume.voxel_to_world([2, 3, 4]), world)
    np.testing.assert_allclose(volume.world_to_voxel(world), [2, 3, 4])


def test_oblique_columns_are_the_world_directions_of_the_axes():
    volume = ramp(spacing_zyx_mm=(3.0, 2.0, 0.5), direction_xyz=(0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0))
    np.testing.assert_allclose(volume.voxel_to_world([0, 0, 2]), [0.8, 0.6, 0.0])
    np.testing.assert_allclose(volume.voxel_to_world([0, 1, 0]), [-1.2, 1.6, 0.0])
    np.testing.assert_allclose(volume.voxel_to_world([1, 0, 0]), [0.0, 0.0, 3.0])


@settings(deadline=None)
@given(grids(), st.tuples(*[st.floats(-50, 50)] * 3))
def test_world_and_voxel_are_inverse(volume, index_zyx):
    np.testing.assert_allclose(volume.world_to_voxel(volume.voxel_to_world(index_zyx)), index_zyx, atol=1e-8)


@settings(deadline=None)
@given(grids())
def test_matrix_of_points_gives_what_each_point_gives(volume):
    indices = np.indices((2, 3, 2)).reshape(3, -1).T
    together = volume.voxel_to_world(indices.reshape(2, 6, 3))
    assert together.shape == (2, 6, 3)
    one_by_one = [volume.voxel_to_world(index) for index in indices]
    np.testing.assert_allclose(together.reshape(-1, 3), one_by_one, atol=1e-9)


@settings(deadline=None)
@given(grids())
def test_neighbouring_voxels_are_one_spacing_apart(volume):
    corner = volume.voxel_to_world([0, 0, 0])
    steps = [np.linalg.norm(volume.voxel_to_world(step) - corner) for step in np.eye(3)]
    np.testing.assert_allclose(steps, volume.spacing_zyx_mm, rtol=1e-6)


@st.composite
def boxes(draw) -> tuple[slice, slice, slice]:
    bounds = [sorted(draw(st.lists(st.integers(0, size), min_size=2, max_size=2, unique=True))) for size in SHAPE]
    z, y, x = (slice(*pair) for pair in bounds)
    return z, y, x


@settings(deadline=None)
@given(grids(), boxes())
def test_crop_keeps_every_voxel_at_its_world_position(volume, box):
    part = volume.crop(box)
    assert part.shape_zyx == tuple(bounds.stop - bounds.start for bounds in box)
    for index in np.ndindex(part.shape_zyx):
        in_whole = volume.world_to_voxel(part.voxel_to_world(index))
        np.testing.assert_allclose(in_whole, np.rint(in_whole), atol=1e-6)
        assert part.voxels_zyx[index] == volume.voxels_zyx[tuple(np.rint(in_whole).astype(int))]


def test_crop_of_a_crop():
    volume = ramp(spacing_zyx_mm=(2.5, 0.5, 0.75), origin_xyz_mm=(1.0, 2.0, 3.0), direction_xyz=FLIPPED_X_AND_Y)
    twice = volume.crop((slice(1, 4), slice(1, 5), slice(2, 6))).crop((slice(1, 2), slice(0, 3), slice(1, 2)))
    once = volume.crop((slice(2, 3), slice(1, 4), slice(3, 4)))
    assert twice.origin_xyz_mm == pytest.approx(once.origin_xyz_mm)
    np.testing.assert_array_equal(twice.voxels_zyx, once.voxels_zyx)


@pytest.mark.parametrize("bounds", [slice(2, 2), slice(3, 2), slice(-1, 2), slice(0, 6)])
def test_crop_refuses_a_box_that_is_empty_or_leaves_the_grid(bounds):
    with pytest.raises(ValueError, match=r"box along y: expected a range within 0\.\.5"):
        ramp(spacing_zyx_mm=(1, 1, 1)).crop((slice(0, 4), bounds, slice(0, 6)))


def test_sizes():
    volume = ramp(spacing_zyx_mm=(2.5, 0.5, 0.75))
    assert volume.shape_zyx == (4, 5, 6)
    assert volume.extent_zyx_mm == (10.0, 2.5, 4.5)
    assert volume.voxel_mm3 == pytest.approx(0.9375)


def test_one_voxel():
    volume = Volume(np.zeros((1, 1, 1), np.int16), (2.0, 1.0, 0.5), (5.0, 6.0, 7.0))
    assert volume.extent_zyx_mm == (2.0, 1.0, 0.5)
    assert volume.world_to_voxel([5.0, 6.0, 7.0]).tolist() == [0, 0, 0]


def test_other_voxels_on_the_same_grid():
    volume = ramp(spacing_zyx_mm=(2.5, 0.5, 0.75), origin_xyz_mm=(1.0, 2.0, 3.0), direction_xyz=FLIPPED_X_AND_Y)
    mask = volume.with_voxels(np.ones(SHAPE, bool))
    assert mask.voxels_zyx.dtype == bool
    geometry = (volume.spacing_zyx_mm, volume.origin_xyz_mm, volume.direction_xyz)
    assert (mask.spacing_zyx_mm, mask.origin_xyz_mm, mask.direction_xyz) == geometry
    with pytest.raises(ValueError, match=r"expected the shape of the grid \(4, 5, 6\), got \(4, 6, 5\)"):
        volume.with_voxels(np.ones((4, 6, 5)))


@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        ({"spacing_zyx_mm": (1.0, 0.0, 1.0)}, "3 positive numbers"),
        ({"spacing_zyx_mm": (1.0, -1.0, 1.0)}, "3 positive numbers"),
        ({"spacing_zyx_mm": (1.0, float("nan"), 1.0)}, "3 positive numbers"),
        ({"spacing_zyx_mm": (1.0, 1.0)}, "3 positive numbers"),
        ({"spacing_zyx_mm": (1, 1, 1), "direction_xyz": (2.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)}, "3 x 3 rotation"),
        ({"spacing_zyx_mm": (1, 1, 1), "direction_xyz": (1.0, 0.5, 0, 0, 1.0, 0, 0, 0, 1.0)}, "3 x 3 rotation"),
    ],
)
def test_impossible_geometry_is_refused(geometry, message):
    with pytest.raises(ValueError, match=message):
        ramp(**geometry)


def test_image_without_slices_axis_is_refused():
    with pytest.raises(ValueError, match=r"3 axes \(z, y, x\), got shape \(5, 6\)"):
        Volume(np.zeros((5, 6), np.int16), (1.0, 1.0, 1.0))


def test_window_by_hand():
    shown = window(np.array([-2000, -1000, -300, 50, 400, 3000], np.int16), -1000.0, 400.0)
    assert shown.dtype == np.float32
    np.testing.assert_allclose(shown, [0, 0, 0.5, 0.75, 1, 1], rtol=1e-6)


@pytest.mark.parametrize("high_hu", [-1000.0, -1001.0])
def test_window_without_width_is_refused(high_hu):
    with pytest.raises(ValueError, match="expected low_hu below high_hu"):
        window(np.zeros(3, np.int16), -1000.0, high_hu)
