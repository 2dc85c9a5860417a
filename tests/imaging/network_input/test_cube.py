"""Cubes around world points, against interpolation by hand at every point."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from scipy.spatial.transform import Rotation

from nodules.imaging.geometry.volume import Volume
from nodules.imaging.network_input.cube import CubeParams, cut_cubes, network_input

SHAPE, SPACING, ORIGIN = (11, 14, 17), (2.5, 0.7, 1.1), (-31.3, 12.9, -200.7)
OBLIQUE = tuple(Rotation.from_euler("xyz", (14.0, -23.0, 31.0), degrees=True).as_matrix().ravel().tolist())
FLIPPED = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def noise(direction=OBLIQUE) -> Volume:
    voxels = np.random.default_rng(7).integers(-1000, 400, SHAPE, dtype=np.int16)
    return Volume(voxels, SPACING, ORIGIN, direction)


def hu_at(volume: Volume, point_xyz: np.ndarray) -> float:
    """Trilinear interpolation at one world point, written out: eight neighbours, air where the grid ends."""
    rotation = np.asarray(volume.direction_xyz).reshape(3, 3)
    along_xyz = np.linalg.solve(rotation, np.asarray(point_xyz) - volume.origin_xyz_mm)
    index = along_xyz[::-1] / volume.spacing_zyx_mm
    low = np.floor(index).astype(int)
    total = 0.0
    for corner in np.ndindex(2, 2, 2):
        place = low + corner
        share = np.prod(np.where(np.array(corner) == 1, index - low, 1 - (index - low)))
        known = all(0 <= p < n for p, n in zip(place, SHAPE, strict=True))
        total += share * (float(volume.voxels_zyx[tuple(place)]) if known else -1000.0)
    return total


@pytest.mark.parametrize("direction", [STRAIGHT, FLIPPED, OBLIQUE])
@pytest.mark.parametrize(("side_mm", "size_px"), [(9.0, 8), (7.5, 5)])
def test_every_voxel_lies_where_it_should(direction, side_mm, size_px):
    volume = noise(direction)
    inner, outer = volume.voxel_to_world([5.2, 6.9, 8.3]), volume.voxel_to_world([0.4, 13.0, 15.6])
    cubes = cut_cubes(volume, [inner, outer], side_mm, size_px)
    assert cubes.shape == (2, size_px, size_px, size_px)
    assert cubes.dtype == np.int16
    step = side_mm / size_px
    for cube, centre in zip(cubes, (inner, outer), strict=True):
        for k, j, i in np.ndindex(cube.shape):
            offset = (np.array([i, j, k]) + 0.5) * step - side_mm / 2
            assert cube[k, j, i] == pytest.approx(hu_at(volume, centre + offset), abs=0.501)


@given(point=st.tuples(*(st.floats(-1.0, 1.0),) * 3), turns=st.integers(0, 2))
def test_storage_of_the_same_scan_does_not_matter(point, turns):
    """Flipped and swapped axes with the direction that undoes it: the same world, the same cube."""
    volume = noise(STRAIGHT)
    order = np.roll([0, 1, 2], turns)  # array axis k of the copy is axis order[k] of the original
    flipped = volume.voxels_zyx[:, ::-1].transpose(order)
    identity = np.eye(3)[:, ::-1].T  # rows: world directions of the z, y and x axes
    rows = identity * np.array([[1], [-1], [1]])
    direction = rows[order][::-1].T
    copy = Volume(
        np.ascontiguousarray(flipped),
        tuple(float(SPACING[k]) for k in order),
        tuple(float(v) for v in volume.voxel_to_world([0, SHAPE[1] - 1, 0])),
        tuple(direction.ravel().tolist()),
    )
    centre = volume.voxel_to_world([5, 7, 8]) + np.array(point) * 6
    there, here = (cut_cubes(scan, [centre], 6.0, 6) for scan in (copy, volume))
    assert np.abs(there.astype(int) - here).max() <= 1  # where a value lies between two HU


def test_outside_is_air_and_nothing_is_nothing():
    far = cut_cubes(noise(), [[500.0, 0.0, 0.0]], 8.0, 4)
    assert (far == -1000).all()
    assert cut_cubes(noise(), np.empty((0, 3))).shape == (0, 24, 24, 24)
    assert cut_cubes(noise(), []).shape == (0, 24, 24, 24)


def test_one_slice():
    volume = Volume(np.full((1, 9, 8), 50, np.int16), (2.0, 1.0, 1.0), (0.0, 0.0, 5.0))
    (cube,) = cut_cubes(volume, [[4.0, 4.0, 5.0]], 2.0, 2)
    # half a millimetre from a slice of 2 mm: a quarter of the way to air
    np.testing.assert_array_equal(cube, np.full((2, 2, 2), round(0.75 * 50 - 0.25 * 1000)))


@pytest.mark.parametrize("centres", [[[0.0, np.nan, 0.0]], [[1.0, 2.0]], [1.0, 2.0, 3.0]])
def test_bad_points_are_refused(centres):
    with pytest.raises(ValueError, match="expected finite points"):
        cut_cubes(noise(), centres)


@pytest.mark.parametrize(("side_mm", "size_px"), [(0.0, 8), (8.0, 0)])
def test_no_size_is_refused(side_mm, size_px):
    with pytest.raises(ValueError, match="expected positive numbers"):
        cut_cubes(noise(), [[0.0, 0.0, 0.0]], side_mm, size_px)


def test_network_sees_the_middle_in_its_window():
    hu = np.full((1, 12, 12, 12), 3000, np.int16)
    hu[0, 2:10, 2:10, 2:10] = -300
    hu[0, 2, 9, 5], hu[0, 9, 2, 2] = 400, -1000
    seen = network_input(hu, CubeParams(12.0, 8, (-1000.0, 400.0)))
    assert seen.shape == (1, 8, 8, 8, 1)
    assert seen.dtype == np.float32
    assert (seen[0, 0, 7, 3, 0], seen[0, 7, 0, 0, 0]) == (1.0, 0.0)
    assert np.unique(seen).tolist() == [0.0, 0.5, 1.0]
