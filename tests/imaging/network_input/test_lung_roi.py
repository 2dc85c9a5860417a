"""The region's lattice, its samples, and the way back to the scan."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from nodules.imaging.geometry.resample import resample_slices, to_scan_grid
from nodules.imaging.geometry.volume import Volume
from nodules.imaging.network_input.lung_roi import (
    LungRoi,
    LungRoiParams,
    extract,
    extract_everything,
    network_input,
    roi_grid,
)
from nodules.imaging.network_input.slice_context import ContextParams

PARAMS = LungRoiParams(spacing_mm=1.0, margin_mm=4.0, masked_input=True, window_hu=(-1000.0, 400.0))
FINE = replace(PARAMS, spacing_mm=0.5)  # finer than every scan below: no smoothing
TILTED = tuple(Rotation.from_euler("xyz", (4.0, -7.0, 12.0), degrees=True).as_matrix().ravel().tolist())
FLIPPED = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def noise(
    shape=(9, 60, 70), spacing=(2.5, 0.75, 0.625), origin=(-20.125, 13.375, -300.5), direction=IDENTITY
) -> Volume:
    voxels = np.random.default_rng(3).integers(-1000, 400, shape, dtype=np.int16)
    return Volume(voxels, spacing, origin, direction)


def two_lungs(volume: Volume) -> np.ndarray:
    lungs = np.zeros(volume.shape_zyx, np.uint8)
    lungs[3:6, 24:36, 25:33] = 1
    lungs[3:7, 24:35, 36:44] = 2
    return lungs


def padded(volume: Volume, before, after) -> Volume:
    x, y, z = volume.voxel_to_world([-n for n in before])
    voxels = np.pad(volume.voxels_zyx, list(zip(before, after, strict=True)), constant_values=-1000)
    return replace(volume, voxels_zyx=voxels, origin_xyz_mm=(float(x), float(y), float(z)))


def assert_same_region(found: LungRoi, wanted: LungRoi) -> None:
    np.testing.assert_allclose(found.scan.origin_xyz_mm, wanted.scan.origin_xyz_mm, atol=1e-9)
    np.testing.assert_array_equal(found.scan.voxels_zyx, wanted.scan.voxels_zyx)
    np.testing.assert_array_equal(found.lungs_zyx, wanted.lungs_zyx)
    np.testing.assert_array_equal(found.visible_zyx, wanted.visible_zyx)


pads = st.tuples(*[st.integers(0, 5)] * 3)


@settings(max_examples=25, deadline=None)
@given(pads, pads, st.sampled_from([IDENTITY, FLIPPED]), st.sampled_from([0.5, 1.0, 1.5]))
def test_padded_copy_gives_the_same_region(before, after, direction, spacing_mm):
    volume, params = noise(direction=direction), replace(PARAMS, spacing_mm=spacing_mm)
    lungs = two_lungs(volume)
    larger = padded(volume, before, after)
    larger_lungs = np.pad(lungs, list(zip(before, after, strict=True)))
    assert_same_region(extract(larger, larger_lungs, params), extract(volume, lungs, params))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1), st.tuples(st.integers(0, 10), st.integers(0, 10)), st.sampled_from([0.5, 1.0, 1.5]))
def test_cropped_copy_gives_the_same_region(first_slice, corner, spacing_mm):
    volume, params = noise(), replace(PARAMS, spacing_mm=spacing_mm)
    box = (slice(first_slice, 9), slice(corner[0], 50), slice(corner[1], 60))
    part = extract(volume.crop(box), two_lungs(volume)[box], params)
    assert_same_region(part, extract(volume, two_lungs(volume), params))


def test_oblique_cropped_copy_with_uneven_numbers_gives_the_same_samples():
    volume = noise(spacing=(2.3, 0.71, 0.67), origin=(-133.37, 41.113, -77.7), direction=TILTED)
    box = (slice(1, 9), slice(9, 52), slice(7, 61))
    whole = extract(volume, two_lungs(volume), PARAMS)
    part = extract(volume.crop(box), two_lungs(volume)[box], PARAMS)
    np.testing.assert_allclose(part.scan.origin_xyz_mm, whole.scan.origin_xyz_mm, atol=1e-6)
    difference = np.abs(part.scan.voxels_zyx.astype(int) - whole.scan.voxels_zyx)
    assert difference.max() <= 1  # where rounding to whole HU was a tie
    assert (difference > 0).mean() < 0.001
    np.testing.assert_array_equal(part.lungs_zyx, whole.lungs_zyx)


def test_scan_cut_through_the_lungs_agrees_where_both_see_them():
    volume = noise()
    whole = extract(volume, two_lungs(volume), PARAMS)
    cut = extract(volume.crop((slice(5, 9), slice(0, 60), slice(0, 70))), two_lungs(volume)[5:], PARAMS)
    rows, columns = np.rint(whole.scan.world_to_voxel(cut.scan.origin_xyz_mm)[1:]).astype(int)
    shape = cut.scan.shape_zyx
    first = round(float(whole.scan.world_to_voxel(cut.scan.origin_xyz_mm)[0]))
    there = (slice(first, first + shape[0]), slice(rows, rows + shape[1]), slice(columns, columns + shape[2]))
    np.testing.assert_array_equal(cut.scan.voxels_zyx, whole.scan.voxels_zyx[there])
    np.testing.assert_array_equal(cut.lungs_zyx, whole.lungs_zyx[there])


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[st.floats(-40, 40)] * 3),
    st.tuples(st.floats(0.5, 5), st.floats(0.4, 1.5), st.floats(0.4, 1.5)),
    st.tuples(*[st.floats(-300, 300)] * 3),
    st.sampled_from([0.6, 1.0, 2.0]),
)
def test_grid_points_are_all_multiples_of_the_spacing_inside_the_box(angles, spacing, origin, pixel_mm):
    matrix = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    volume = Volume(np.zeros((4, 20, 25), np.int16), spacing, origin, tuple(matrix.ravel().tolist()))
    lungs = np.zeros(volume.shape_zyx, np.uint8)
    lungs[1:3, 9:13, 8:17] = 1
    grid = roi_grid(volume, lungs, LungRoiParams(pixel_mm, 2.0, True, (-1000.0, 400.0)))
    first, last = grid.voxel_to_world([0, 0, 0]), grid.voxel_to_world(np.array(grid.shape_zyx) - 1)
    for axis, part, source_mm, size in ((0, (8, 16), spacing[2], 25), (1, (9, 12), spacing[1], 20)):
        margin = int(np.ceil(2.0 / source_mm))
        ends = (max(0, part[0] - margin), min(size - 1, part[1] + margin))
        low, high = (np.dot(origin, matrix[:, axis]) + end * source_mm for end in ends)
        multiples = [k for k in range(-1500, 1500) if low - 1e-6 < k * pixel_mm < high + 1e-6]
        if multiples:
            np.testing.assert_allclose(first @ matrix[:, axis], multiples[0] * pixel_mm, atol=1e-5)
            np.testing.assert_allclose(last @ matrix[:, axis], multiples[-1] * pixel_mm, atol=1e-5)
    in_scan = volume.world_to_voxel(first)[0]
    assert in_scan == pytest.approx(max(0, 1 - np.ceil(2.0 / spacing[0])), abs=1e-6)
    assert grid.spacing_zyx_mm == (spacing[0], pixel_mm, pixel_mm)


def test_region_by_hand():
    """Lungs in x 2 .. 6 mm and y -3 .. 0.6 mm, 1 mm margin rounded up to whole voxels of 0.8 and 1.2 mm."""
    volume = Volume(np.zeros((5, 10, 12), np.int16), (3.0, 1.2, 0.8), (0.4, -6.6, 100.0))
    lungs = np.zeros((5, 10, 12), np.uint8)
    lungs[2, 3:7, 2:8] = 1  # x 2.0 .. 6.0, y -3.0 .. 0.6, z 106
    grid = roi_grid(volume, lungs, LungRoiParams(1.0, 1.0, True, (-1000.0, 400.0)))
    # x 0.4 .. 7.6, y -4.2 .. 1.8, z 103 .. 109
    assert grid.origin_xyz_mm == pytest.approx((1.0, -4.0, 103.0))
    assert grid.shape_zyx == (3, 6, 7)


def linear(volume: Volume) -> Volume:
    """10 HU a column and -7 HU a row, differing by slice."""
    z, y, x = np.indices(volume.shape_zyx)
    return volume.with_voxels((10 * x - 7 * y + 50 * z - 400).astype(np.int16))


@pytest.mark.parametrize("direction", [IDENTITY, FLIPPED, TILTED])
@pytest.mark.parametrize("spacing_mm", [0.5, 0.9, 1.3])
def test_linear_ramp_is_resampled_exactly(direction, spacing_mm):
    """With and without smoothing, since a symmetric kernel leaves a ramp as it is."""
    volume = linear(noise(spacing=(2.3, 0.71, 0.67), direction=direction))
    region = extract(volume, two_lungs(volume), replace(PARAMS, spacing_mm=spacing_mm)).scan
    world = region.voxel_to_world(np.indices(region.shape_zyx).transpose(1, 2, 3, 0))
    z, y, x = np.moveaxis(volume.world_to_voxel(world), -1, 0)
    assert np.abs(region.voxels_zyx - (10 * x - 7 * y + 50 * z - 400)).max() <= 0.51  # whole HU


@pytest.mark.parametrize("spacing_mm", [0.4, 1.5])
def test_ramp_of_fractions_is_not_rounded(spacing_mm):
    source = linear(noise())
    target = roi_grid(source, two_lungs(source), replace(PARAMS, spacing_mm=spacing_mm))
    first = round(float(source.world_to_voxel(target.origin_xyz_mm)[0]))
    slices = source.voxels_zyx[first : first + target.shape_zyx[0]].astype(np.float32)
    found = resample_slices(slices, source, target)
    z, y, x = np.moveaxis(
        source.world_to_voxel(target.voxel_to_world(np.indices(target.shape_zyx).transpose(1, 2, 3, 0))), -1, 0
    )
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, 10 * x - 7 * y + 50 * z - 400, atol=2e-3)


def test_labels_take_the_nearest_pixel():
    volume = noise(spacing=(2.3, 0.71, 0.67), origin=(-133.37, 41.113, -77.7), direction=TILTED)
    labels = np.random.default_rng(5).integers(1, 3, volume.shape_zyx, dtype=np.uint8)
    region = extract(volume, labels, PARAMS)
    world = region.scan.voxel_to_world(np.indices(region.scan.shape_zyx).transpose(1, 2, 3, 0))
    z, y, x = np.moveaxis(np.rint(volume.world_to_voxel(world)).astype(int), -1, 0)
    np.testing.assert_array_equal(region.lungs_zyx, labels[z, y, x])


def test_identical_grid_is_a_copy():
    volume = noise(spacing=(2.5, 1.0, 1.0), origin=(-20.0, 13.0, -300.0))
    np.testing.assert_array_equal(
        extract(volume, np.ones(volume.shape_zyx, np.uint8), PARAMS).scan.voxels_zyx, volume.voxels_zyx
    )


def test_visible_is_everything_within_the_margin_of_the_lungs():
    volume = noise(shape=(9, 40, 44))
    lungs = np.zeros(volume.shape_zyx, np.uint8)
    lungs[4, 18:22, 20:23] = 1
    lungs[5, 19:22, 28:31] = 2
    region = extract(volume, lungs, PARAMS)
    places = np.argwhere(np.ones(region.scan.shape_zyx)) * np.asarray(region.scan.spacing_zyx_mm)
    inside = places[region.lungs_zyx.ravel() > 0]
    nearest_mm = np.sqrt(((places[:, None] - inside[None]) ** 2).sum(axis=-1)).min(axis=1)
    np.testing.assert_array_equal(region.visible_zyx.ravel(), nearest_mm <= 4.0 + 1e-6)
    # Slices 2 .. 7 of the scan; the margin reaches one slice of 2.5 mm beyond the lungs in 4 and 5.
    assert region.visible_zyx.any(axis=(1, 2)).tolist() == [False, True, True, True, True, False]


def test_no_lungs():
    volume = noise(shape=(3, 20, 22))
    region = extract(volume, np.zeros(volume.shape_zyx, np.uint8), PARAMS)
    assert region.scan.shape_zyx[0] == 3
    assert not region.lungs_zyx.any()
    assert not region.visible_zyx.any()
    assert (network_input(region, [1], PARAMS, ContextParams(3, 2.5)) == 0).all()


def test_one_slice_volume():
    volume = noise(shape=(1, 30, 35))
    lungs = np.zeros(volume.shape_zyx, np.uint8)
    lungs[0, 12:20, 14:22] = 2
    region = extract(volume, lungs, PARAMS)
    assert region.scan.shape_zyx[0] == 1
    image = network_input(region, [0], PARAMS, ContextParams(5, 2.5))
    for channel in range(5):
        np.testing.assert_array_equal(image[..., channel], image[..., 0])


def test_lung_of_one_voxel_without_margin():
    """No multiple of 1 mm need lie in so small a box: the region still has one pixel."""
    volume = noise()
    lungs = np.zeros(volume.shape_zyx, np.uint8)
    lungs[4, 20, 20] = 1
    region = extract(volume, lungs, replace(PARAMS, margin_mm=0.0))
    assert region.scan.shape_zyx == (1, 1, 1)


def test_lungs_at_the_edge_of_the_scan():
    volume = noise(shape=(4, 20, 22))
    region = extract(volume, np.ones(volume.shape_zyx, np.uint8), PARAMS)
    corners = volume.world_to_voxel(region.scan.voxel_to_world([[0, 0, 0], np.array(region.scan.shape_zyx) - 1]))
    assert (corners[0] >= -1e-6).all()
    assert (corners[1] <= np.array([3, 19, 21]) + 1e-6).all()
    assert region.visible_zyx.all()


def hand_made_region() -> LungRoi:
    voxels = np.full((4, 2, 3), 400, np.int16)
    voxels[:, 0, 0] = [-1000, -650, -300, 50]  # 0, 1/4, 1/2, 3/4 of the window
    visible = np.ones((4, 2, 3), bool)
    visible[:, 1] = False
    return LungRoi(Volume(voxels, (2.5, 1.0, 1.0)), np.ones((4, 2, 3), np.uint8), visible)


def test_network_input_by_hand():
    image = network_input(hand_made_region(), [0, 2], PARAMS, ContextParams(3, 2.5))
    assert image.shape == (2, 2, 3, 3)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image[:, 0, 0], [[0, 0, 0.25], [0.25, 0.5, 0.75]], atol=1e-6)
    np.testing.assert_allclose(image[:, 0, 1:], 1.0)
    assert (image[:, 1] == 0).all()  # outside the margin everything is air


def test_what_a_neighbour_hides_is_air_in_its_channel():
    region = hand_made_region()
    region.visible_zyx[1, 0, 0] = False  # -650 HU
    image = network_input(region, [2], PARAMS, ContextParams(3, 2.5))
    np.testing.assert_allclose(image[0, 0, 0], [0, 0.5, 0.75], atol=1e-6)


def test_what_the_slice_itself_hides_is_air_in_all_channels():
    region = hand_made_region()
    region.visible_zyx[2, 0, 0] = False
    image = network_input(region, [2], PARAMS, ContextParams(3, 2.5))
    assert image[0, 0, 0].tolist() == [0, 0, 0]
    assert (image[0, 0, 1:] == 1).all()


def test_network_input_does_not_change_the_region():
    region = hand_made_region()
    network_input(region, [1], PARAMS, ContextParams(3, 2.5))
    np.testing.assert_array_equal(region.scan.voxels_zyx, hand_made_region().scan.voxels_zyx)


@pytest.mark.parametrize("direction", [IDENTITY, FLIPPED, TILTED])
@pytest.mark.parametrize("spacing_mm", [0.5, 1.0, 1.5])
def test_map_comes_back_within_half_a_pixel(direction, spacing_mm):
    """Maps of the two in-plane coordinates: every pixel must get its own place, 0 beyond the region's edge."""
    volume = noise(spacing=(2.3, 0.71, 0.67), origin=(-133.37, 41.113, -77.7), direction=direction)
    region = extract(volume, two_lungs(volume), replace(PARAMS, spacing_mm=spacing_mm)).scan
    matrix = np.asarray(direction).reshape(3, 3)
    in_region = region.voxel_to_world(np.indices(region.shape_zyx).transpose(1, 2, 3, 0)) @ matrix
    in_scan = volume.voxel_to_world(np.indices(volume.shape_zyx).transpose(1, 2, 3, 0)) @ matrix
    index = region.world_to_voxel(volume.voxel_to_world(np.indices(volume.shape_zyx).transpose(1, 2, 3, 0)))
    inside = ((index > -0.5 + 1e-6) & (index < np.array(region.shape_zyx) - 0.5 - 1e-6)).all(axis=-1)
    outside = ((index < -0.5 - 1e-6) | (index > np.array(region.shape_zyx) - 0.5 + 1e-6)).any(axis=-1)
    for axis, tolerance_mm in ((0, spacing_mm / 2), (1, spacing_mm / 2), (2, 0)):
        back = to_scan_grid(region.with_voxels(in_region[..., axis] + 1000.0), volume)
        assert np.abs(back.voxels_zyx - 1000.0 - in_scan[..., axis])[inside].max() <= tolerance_mm + 1e-6
        assert (back.voxels_zyx[outside] == 0).all()
    assert inside.sum() > 1000


def test_identical_grid_comes_back_whole():
    """Uneven origins: a region's edge a rounding error beyond the scan's pixel must not be lost."""
    volume = noise(spacing=(2.5, 0.7, 0.7), origin=(-20 * 0.7, 13 * 0.7, -300.1))
    region = extract(volume, np.ones(volume.shape_zyx, np.uint8), replace(PARAMS, spacing_mm=0.7)).scan
    back = to_scan_grid(region, volume.with_voxels(np.zeros(volume.shape_zyx, np.uint8)))
    np.testing.assert_array_equal(back.voxels_zyx, volume.voxels_zyx)
    assert back.voxels_zyx.dtype == np.int16
    assert back.origin_xyz_mm == volume.origin_xyz_mm


@pytest.mark.parametrize("direction", [IDENTITY, FLIPPED, TILTED])
def test_everything_of_an_excerpt_is_visible(direction):
    volume = noise(direction=direction)
    region = extract_everything(volume, FINE)
    assert region.visible_zyx.all()
    assert region.lungs_zyx.all()
    assert region.scan.shape_zyx[0] == volume.shape_zyx[0]
    for extent, whole in zip(region.scan.extent_zyx_mm[1:], volume.extent_zyx_mm[1:], strict=True):
        assert whole - 2 * 0.75 < extent <= whole
