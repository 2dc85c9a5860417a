"""Nodule spheres against a brute-force distance computation in world coordinates."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from nodules.imaging.geometry.spheres import crossed_slices, draw_nodules, in_spheres
from nodules.imaging.geometry.volume import Volume

FLIPPED_X_AND_Y = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)


def grid(
    shape=(9, 14, 17),
    spacing_zyx_mm=(2.5, 0.9, 0.7),
    origin_xyz_mm=(-120.0, 35.0, -410.0),
    direction_xyz=FLIPPED_X_AND_Y,
) -> Volume:
    return Volume(np.zeros(shape, np.uint8), spacing_zyx_mm, origin_xyz_mm, direction_xyz)


def distances_mm(volume: Volume, centre_xyz) -> np.ndarray:
    """World distance of every voxel centre."""
    places = volume.voxel_to_world(np.indices(volume.shape_zyx).transpose(1, 2, 3, 0))
    return np.linalg.norm(places - np.asarray(centre_xyz), axis=-1)


@st.composite
def oblique_grids(draw) -> Volume:
    tilt = Rotation.from_euler("xyz", draw(st.tuples(*[st.floats(-25, 25)] * 3)), degrees=True).as_matrix()
    spacing = draw(st.tuples(st.floats(0.6, 4), st.floats(0.4, 1.5), st.floats(0.4, 1.5)))
    origin = draw(st.tuples(*[st.floats(-300, 300)] * 3))
    return grid((6, 9, 11), spacing, origin, tuple(tilt.ravel().tolist()))


@settings(max_examples=60, deadline=None)
@given(oblique_grids(), st.tuples(st.floats(-2, 8), st.floats(-3, 12), st.floats(-3, 14)), st.floats(0.5, 14))
def test_one_sphere_is_every_voxel_within_the_radius(volume, index_zyx, diameter_mm):
    centre = volume.voxel_to_world(index_zyx)
    distance = distances_mm(volume, centre)
    assume(np.abs(distance - diameter_mm / 2).min() > 1e-5)
    edges = [abs(i - edge) for i, size in zip(index_zyx, volume.shape_zyx, strict=True) for edge in (-0.5, size - 0.5)]
    assume(min(edges) > 1e-6)
    drawn = draw_nodules(volume, [centre], [diameter_mm]) == 1
    inside = distance <= diameter_mm / 2
    if inside.any():
        np.testing.assert_array_equal(drawn, inside)
    else:  # at most the nearest voxel, and only if the centre lies inside the grid
        nearest = distance <= distance.min() + 1e-6
        assert not (drawn & ~nearest).any()
        assert drawn.any() == all(-0.5 <= i <= size - 0.5 for i, size in zip(index_zyx, volume.shape_zyx, strict=True))


@settings(max_examples=60, deadline=None)
@given(oblique_grids(), st.tuples(st.floats(-2, 8), st.floats(0, 8), st.floats(0, 10)), st.floats(0.5, 14))
def test_crossed_slices_hold_every_drawn_slice(volume, index_zyx, diameter_mm):
    centre = volume.voxel_to_world(index_zyx)
    crossed = crossed_slices(volume, centre, diameter_mm)
    drawn = np.flatnonzero(draw_nodules(volume, [centre], [diameter_mm]).any(axis=(1, 2)))
    assert set(drawn) <= set(crossed.tolist())
    normal = np.asarray(volume.direction_xyz).reshape(3, 3)[:, 2]
    planes_mm = [abs(normal @ (volume.voxel_to_world([z, 0, 0]) - centre)) for z in range(volume.shape_zyx[0])]
    assume(np.abs(np.array(planes_mm) - diameter_mm / 2).min() > 1e-6)
    cut = [z for z, distance in enumerate(planes_mm) if distance <= diameter_mm / 2]
    assert crossed.tolist() == cut or (not cut and crossed.size <= 1)


def test_radius_is_half_the_diameter():
    """Along x the voxels lie 0.7 mm apart: with 4.3 mm, 3 to each side (2.1 <= 2.15), not 6."""
    volume = grid()
    drawn = draw_nodules(volume, [volume.voxel_to_world([4, 7, 8])], [4.3])
    assert np.flatnonzero(drawn[4, 7]).tolist() == [5, 6, 7, 8, 9, 10, 11]
    assert np.flatnonzero(drawn[4, :, 8]).tolist() == [5, 6, 7, 8, 9]  # 2 * 0.9 <= 2.15
    assert np.flatnonzero(drawn[:, 7, 8]).tolist() == [4]  # 2.5 > 2.15


def test_world_position_on_flipped_axes_by_hand():
    """Index x = 3 lies at -120 - 2.1, y = 2 at 35 - 1.8, z = 5 at -410 + 12.5."""
    drawn = draw_nodules(grid(), [(-122.1, 33.2, -397.5)], [0.5])
    assert np.argwhere(drawn).tolist() == [[5, 2, 3]]


def test_fine_grid_has_the_volume_of_a_sphere():
    volume = grid((40, 50, 60), (0.5, 0.4, 0.3), (1.0, 2.0, 3.0))
    drawn = draw_nodules(volume, [volume.voxel_to_world([19.6, 24.7, 29.1])], [14.0])
    assert np.count_nonzero(drawn) * volume.voxel_mm3 == pytest.approx(np.pi / 6 * 14.0**3, rel=0.01)


def test_overlapping_nodules_share_by_distance_in_radii():
    volume = grid((3, 5, 31), (2.5, 1.0, 1.0))
    large, small = volume.voxel_to_world([1, 2, 10]), volume.voxel_to_world([1, 2, 18])
    drawn = draw_nodules(volume, [large, small], [16.0, 8.0])
    # In radii: x = 15 is 5 / 8 from the large and 3 / 4 from the small; x = 16 is 6 / 8 and 2 / 4.
    assert drawn[1, 2, 14:23].tolist() == [1, 1, 2, 2, 2, 2, 2, 2, 2]
    assert drawn[1, 2, 2:14].tolist() == [1] * 12
    again = draw_nodules(volume, [small, large], [8.0, 16.0])
    np.testing.assert_array_equal(again, np.array([0, 2, 1])[drawn])


def test_several_nodules_are_numbered_in_their_order():
    volume = grid()
    centres = [volume.voxel_to_world(index) for index in ([1, 3, 3], [7, 10, 12], [4, 2, 14])]
    drawn = draw_nodules(volume, centres, [2.0, 2.0, 2.0])
    assert drawn.dtype == np.uint16
    assert [drawn[1, 3, 3], drawn[7, 10, 12], drawn[4, 2, 14]] == [1, 2, 3]


def test_no_nodules():
    drawn = draw_nodules(grid(), [], [])
    assert drawn.shape == (9, 14, 17)
    assert not drawn.any()


def test_number_of_centres_and_diameters_must_agree():
    with pytest.raises(ValueError, match="zip"):
        draw_nodules(grid(), [(0.0, 0.0, 0.0)], [])


@pytest.mark.parametrize("index_zyx", [(-4, 7, 8), (12, 7, 8), (4, -4, 8), (4, 17, 8), (4, 7, -4), (4, 7, 20)])
def test_nodule_outside_the_grid_on_any_side(index_zyx):
    volume = grid()
    centre = volume.voxel_to_world(index_zyx)
    assert crossed_slices(volume, centre, 4.0).size == 0
    assert not draw_nodules(volume, [centre], [4.0]).any()


def test_nodule_partly_outside():
    """Centre one slice below the first one: 10 mm wide, it reaches slices -3 to 1."""
    volume = grid()
    centre = volume.voxel_to_world([-1, 7, 8])
    assert crossed_slices(volume, centre, 10.0).tolist() == [0, 1]
    drawn = draw_nodules(volume, [centre], [10.0])
    np.testing.assert_array_equal(drawn == 1, distances_mm(volume, centre) <= 5.0)
    assert drawn.any(axis=(1, 2)).tolist() == [True, True] + [False] * 7  # slice 1 by its pole alone


def test_nodule_thinner_than_a_slice_is_shown_by_the_nearest_slice():
    volume = grid()
    for z, wanted in ((3.3, 3), (3.7, 4)):
        centre = volume.voxel_to_world([z, 7.0, 8.0])
        assert crossed_slices(volume, centre, 1.0).tolist() == [wanted]
        assert np.argwhere(draw_nodules(volume, [centre], [1.0])).tolist() == [[wanted, 7, 8]]


def test_thin_nodule_just_beyond_the_last_slice_belongs_to_it_up_to_half_a_slice():
    volume = grid()
    assert crossed_slices(volume, volume.voxel_to_world([8.4, 7, 8]), 1.0).tolist() == [8]
    assert crossed_slices(volume, volume.voxel_to_world([8.6, 7, 8]), 1.0).tolist() == []
    assert not draw_nodules(volume, [volume.voxel_to_world([8.6, 7, 8])], [1.0]).any()


def test_crossed_slices_by_hand():
    """Planes every 2.5 mm; a sphere of 11 mm around slice 4.2 reaches from 2.0 to 6.4."""
    assert crossed_slices(grid(), grid().voxel_to_world([4.2, 7, 8]), 11.0).tolist() == [2, 3, 4, 5, 6]


def test_one_slice_volume():
    volume = grid((1, 14, 17))
    centre = volume.voxel_to_world([0.3, 7, 8])
    assert crossed_slices(volume, centre, 30.0).tolist() == [0]
    np.testing.assert_array_equal(draw_nodules(volume, [centre], [6.0]) > 0, distances_mm(volume, centre) <= 3.0)


def test_a_point_hits_the_spheres_whose_radius_is_larger_than_its_distance():
    centres, diameters_mm = [(0.0, 0.0, 0.0), (4.0, 0.0, 0.0)], [10.0, 4.0]
    points = [(3.0, 0.0, 0.0), (0.0, 3.0, 4.0), (0.0, 3.0, 3.9), (2.0, 0.0, 0.0)]
    assert in_spheres(points, centres, diameters_mm).tolist() == [
        [True, True],
        [False, False],  # 5 mm away: on the surface
        [True, False],
        [True, False],
    ]
    assert in_spheres([], centres, diameters_mm).shape == (0, 2)
    assert in_spheres(points, [], []).shape == (4, 0)
