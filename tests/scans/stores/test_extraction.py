"""Training slices of small scans: which ones, with which neighbours, under which masks."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodules.imaging.geometry.volume import Volume
from nodules.imaging.network_input.slice_context import ContextParams, neighbours
from nodules.scans.lidc.outlines import OutlinedNodule
from nodules.scans.stores.extraction import ExtractParams, extract_slices
from nodules.scans.stores.slices import INSIDE, NODULE_RIM, ScanSlices
from nodules.scans.tables.luna import NoduleAnnotation

SHAPE = (40, 22, 26)
SPACING = (2.0, 1.1, 0.9)
FLIPPED = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
PARAMS = ExtractParams(slices_per_nodule=5, nodule_free_slices=4)
CONTEXT = ContextParams(slices=3, distance_mm=2.5)
UID = "1.3.6.1.4.1"


def scan(shape=SHAPE, spacing=SPACING) -> Volume:
    voxels = np.random.default_rng(0).integers(-1000, 400, shape, dtype=np.int16)
    return Volume(voxels, spacing, (12.5, -40.0, -250.0), FLIPPED)


def nodule(index_zyx, diameter_mm: float, volume: Volume | None = None) -> NoduleAnnotation:
    x, y, z = (volume or scan()).voxel_to_world(index_zyx).tolist()
    return NoduleAnnotation(UID, (x, y, z), diameter_mm)


def extract(nodules, volume=None, params=PARAMS, context=CONTEXT, seed=17, uid=UID) -> ScanSlices:
    return extract_slices(uid, volume or scan(), nodules, params, context, seed)


def in_sphere(volume: Volume, found: NoduleAnnotation) -> np.ndarray:
    places = volume.voxel_to_world(np.indices(volume.shape_zyx).transpose(1, 2, 3, 0))
    return np.linalg.norm(places - np.array(found.centre_world_xyz), axis=-1) <= found.diameter_mm / 2


def assert_identical(found: ScanSlices, wanted: ScanSlices) -> None:
    for field in fields(ScanSlices):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(wanted, field.name), err_msg=field.name)


def test_all_slices_of_a_small_nodule_by_hand():
    """7 mm around slice 20 at 2 mm: slices 19, 20, 21."""
    slices = extract([nodule((20, 10, 12), 7.0)], params=ExtractParams(5, 0))
    assert slices.target_indices.tolist() == [19, 20, 21]
    assert slices.slice_indices.tolist() == [17, 18, 19, 20, 21, 22, 23]  # 2.5 mm is 1.25 slices to each side
    assert slices.nodule_numbers.tolist() == [[0, 0], [1, 0], [2, 0]]
    np.testing.assert_array_equal(slices.voxels_zyx, scan().voxels_zyx[17:24])
    assert slices.voxels_zyx.dtype == np.int16


def test_large_nodule_is_spread_over_its_height_with_the_middle_one():
    """20.2 mm around slice 20: slices 15 .. 25, five of them 2.5 apart, halves rounded outwards."""
    slices = extract([nodule((20, 10, 12), 20.2)], params=ExtractParams(5, 0))
    assert slices.target_indices.tolist() == [15, 17, 20, 23, 25]


@pytest.mark.parametrize(("count", "wanted"), [(1, [20]), (2, [15, 25]), (3, [15, 20, 25]), (20, list(range(15, 26)))])
def test_number_of_slices_of_one_nodule(count, wanted):
    slices = extract([nodule((20, 10, 12), 20.2)], params=ExtractParams(count, 0))
    assert slices.target_indices.tolist() == wanted


def test_geometry_and_annotations_are_kept():
    found = [nodule((20, 10, 12), 7.0), nodule((8, 5, 5), 4.5)]
    slices = extract(found)
    assert slices.seriesuid == UID
    assert slices.scan_slices == 40
    assert slices.spacing_zyx_mm == SPACING
    assert slices.origin_xyz_mm == (12.5, -40.0, -250.0)
    assert slices.direction_xyz == FLIPPED
    assert slices.centre_world_xyz.tolist() == [list(one.centre_world_xyz) for one in found]
    assert slices.diameter_mm.tolist() == [7.0, 4.5]


def test_masks_are_the_spheres():
    found = [nodule((20.3, 10.2, 12.7), 9.3), nodule((21.8, 14.1, 6.2), 7.1), nodule((33, 6, 17), 12.4)]
    slices = extract(found)
    truth = np.any([in_sphere(scan(), one) for one in found], axis=0)
    np.testing.assert_array_equal(slices.nodule_masks_zyx == INSIDE, truth[slices.target_indices])
    assert slices.nodule_masks_zyx.dtype == np.uint8
    for row, number in slices.nodule_numbers:
        assert in_sphere(scan(), found[number])[slices.target_indices[row]].any()
    pairs = {
        (row, number)
        for row, index in enumerate(slices.target_indices)
        for number, one in enumerate(found)
        if in_sphere(scan(), one)[index].any()
    }
    assert pairs <= set(map(tuple, slices.nodule_numbers.tolist()))


def test_pixels_beside_a_nodule_are_marked_up_to_one_slice_distance_away():
    one, other = nodule((20, 10, 12), 9.0), nodule((23, 10, 12), 1.0)
    slices = extract([one, other], params=ExtractParams(20, 0))
    row = slices.target_indices.tolist().index(23)  # 6 mm above the larger centre, in reach of 4.5 + 2 mm
    y, x = np.mgrid[:22, :26]
    in_plane_mm2 = ((y - 10) * SPACING[1]) ** 2 + ((x - 12) * SPACING[2]) ** 2
    small = in_plane_mm2 <= 0.5**2
    blur = (in_plane_mm2 + 6.0**2 <= 6.5**2) | (in_plane_mm2 <= 2.5**2)
    np.testing.assert_array_equal(slices.nodule_masks_zyx[row], np.where(small, INSIDE, np.where(blur, NODULE_RIM, 0)))


places = st.tuples(st.floats(-3, 43), st.floats(-3, 25), st.floats(-3, 29), st.floats(0.5, 30))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(places, max_size=4),
    st.integers(1, 6),
    st.integers(0, 8),
    st.sampled_from([(1, 2.5), (3, 2.5), (5, 3.3), (3, 9.0)]),
    st.sampled_from([0.8, 2.0, 5.0]),
)
def test_targets_and_their_whole_context_are_stored(where, per_nodule, free, context, slice_mm):
    volume, params = scan(spacing=(slice_mm, 1.1, 0.9)), ContextParams(*context)
    found = [nodule(place[:3], place[3], volume) for place in where]
    slices = extract(found, volume, ExtractParams(per_nodule, free), params)
    stored = set(slices.slice_indices.tolist())
    needed = {
        int(index) for target in slices.target_indices for index in neighbours(int(target), params, slice_mm, SHAPE[0])
    }
    assert set(slices.target_indices.tolist()) <= stored
    assert needed == stored  # and not one more
    np.testing.assert_array_equal(slices.voxels_zyx, volume.voxels_zyx[slices.slice_indices])
    spheres = np.array([in_sphere(volume, one) for one in found]).reshape(-1, *SHAPE)
    with_nodule = set(slices.nodule_numbers[:, 0].tolist())
    without = [int(index) for row, index in enumerate(slices.target_indices) if row not in with_nodule]
    assert len(without) <= free
    assert not spheres[:, without].any()
    assert not slices.nodule_masks_zyx[
        [row for row in range(len(slices.target_indices)) if row not in with_nodule]
    ].any()


def test_nodule_free_slices_lie_between_neck_and_belly():
    taken = set()
    for seed in range(30):
        slices = extract([], seed=seed)
        assert len(slices.target_indices) == 4
        taken |= set(slices.target_indices.tolist())
    assert min(taken) == 6  # 0.15 * 40
    assert max(taken) == 33  # below 0.85 * 40


def test_more_nodule_free_slices_wanted_than_there_are():
    slices = extract([nodule((20, 10, 12), 36.2)], params=ExtractParams(1, 100))
    free = slices.target_indices[~np.isin(np.arange(len(slices.target_indices)), slices.nodule_numbers[:, 0])]
    assert free.tolist() == [*range(6, 10), *range(31, 34)]  # the nodule covers 11 .. 29, its blur one slice more


@pytest.mark.parametrize("seed", range(5))
def test_nodule_free_slices_are_drawn_among_those_without_nodule(seed):
    """The nodule covers 11 .. 29, its blur one more on either side; it is shown once: five more slices, all outside."""
    slices = extract([nodule((20, 10, 12), 36.2)], params=ExtractParams(1, 5), seed=seed)
    free = [int(index) for index in slices.target_indices if not 10 <= index <= 30]
    assert len(free) == 5
    assert len(slices.target_indices) == 6


def test_same_seed_same_slices():
    found = [nodule((20, 10, 12), 7.0)]
    assert_identical(extract(found), extract(found))


def test_seed_and_series_decide_the_nodule_free_slices():
    targets = {tuple(extract([], seed=seed, uid=uid).target_indices) for seed in (1, 2) for uid in ("1.2.3", "1.2.4")}
    assert len(targets) == 4


def test_other_series_do_not_matter():
    alone = extract([nodule((20, 10, 12), 7.0)])
    np.random.default_rng(17).random(5)
    for uid in ("1.2.3", "1.2.4"):
        extract([nodule((9, 10, 12), 3.0)], uid=uid)
    assert_identical(extract([nodule((20, 10, 12), 7.0)]), alone)


def test_no_nodules_and_no_nodule_free_slices():
    slices = extract([], params=ExtractParams(5, 0))
    assert slices.voxels_zyx.shape == (0, 22, 26)
    assert slices.nodule_masks_zyx.shape == (0, 22, 26)
    assert slices.nodule_numbers.shape == (0, 2)
    assert slices.centre_world_xyz.shape == (0, 3)


@pytest.mark.parametrize("index_zyx", [(-6, 10, 12), (46, 10, 12), (20, -8, 12), (20, 10, 40)])
def test_nodule_outside_the_grid_has_no_slices_but_stays_listed(index_zyx):
    slices = extract([nodule(index_zyx, 7.0)], params=ExtractParams(5, 0))
    assert slices.target_indices.size == 0
    assert slices.nodule_numbers.size == 0
    assert slices.diameter_mm.tolist() == [7.0]


def test_nodule_partly_above_the_last_slice():
    slices = extract([nodule((39.5, 10, 12), 9.0)], params=ExtractParams(5, 0))
    assert slices.target_indices.tolist() == [38, 39]  # 37.25 and up
    assert slices.slice_indices.tolist() == [36, 37, 38, 39]


def test_nodule_thinner_than_a_slice_is_on_the_nearest_one():
    slices = extract([nodule((20.6, 10, 12), 0.5)], params=ExtractParams(5, 0))
    assert slices.target_indices.tolist() == [21]
    assert np.argwhere(slices.nodule_masks_zyx[0] == INSIDE).tolist() == [[10, 12]]


def test_one_slice_volume():
    volume = scan((1, 22, 26))
    slices = extract([nodule((0, 10, 12), 7.0)], volume)
    assert slices.target_indices.tolist() == [0]
    assert slices.slice_indices.tolist() == [0]


def test_slices_thicker_than_the_context_distance():
    volume = scan(spacing=(6.0, 1.1, 0.9))
    slices = extract([nodule((20, 10, 12), 4.0, volume)], volume, ExtractParams(5, 0))
    assert slices.target_indices.tolist() == [20]
    assert slices.slice_indices.tolist() == [19, 20, 21]


def box(*bounds) -> np.ndarray:
    """Indices of all voxels from the first to the last slice, row and column."""
    axes = np.meshgrid(*(np.arange(low, high + 1) for low, high in bounds), indexing="ij")
    return np.stack([axis.ravel() for axis in axes], axis=1)


def outlined(voxels: np.ndarray, readers: int = 4, drawn: np.ndarray | None = None) -> OutlinedNodule:
    x, y, z = scan().voxel_to_world(voxels.mean(axis=0)).tolist()
    return OutlinedNodule(readers, voxels, voxels if drawn is None else drawn, (x, y, z), 8.0, {})


def extract_outlined(nodules, *outlines, params=PARAMS) -> ScanSlices:
    return extract_slices(UID, scan(), nodules, params, CONTEXT, 17, outlines)


def test_outline_takes_the_place_of_the_sphere():
    """The sphere of 7 mm crosses slices 19 to 21; the readers drew 19 to 23."""
    drawn = box((19, 23), (9, 11), (11, 14))
    slices = extract_outlined([nodule((20, 10, 12), 7.0)], outlined(drawn), params=ExtractParams(7, 0))
    assert slices.target_indices.tolist() == [19, 20, 21, 22, 23]
    assert slices.nodule_numbers.tolist() == [[row, 0] for row in range(5)]
    inside = np.argwhere(slices.nodule_masks_zyx == INSIDE)
    assert (inside + np.array([19, 0, 0])).tolist() == drawn.tolist()
    assert slices.diameter_mm.tolist() == [7.0], "the annotation stays as it is"


def test_rim_of_an_outline_is_what_lies_within_a_slice_distance():
    """One voxel: at 1.1 mm and 0.9 mm a step, 10 others of its slice lie within the slice distance of 2 mm."""
    one = outlined(box((20, 20), (10, 10), (12, 12)))
    slices = extract_outlined([nodule((20, 10, 12), 7.0)], one, params=ExtractParams(1, 0))
    assert slices.target_indices.tolist() == [20]
    rim = np.argwhere(slices.nodule_masks_zyx[0] == NODULE_RIM) - (10, 12)
    near = [(y, x) for y in range(-2, 3) for x in range(-3, 4) if 0 < (1.1 * y) ** 2 + (0.9 * x) ** 2 <= 4]
    assert len(near) == 10
    assert list(map(tuple, rim.tolist())) == near


def test_what_a_single_reader_drew_is_rim():
    majority, drawn = box((20, 20), (10, 10), (12, 12)), box((20, 20), (2, 18), (12, 12))
    lone = box((20, 20), (4, 6), (20, 22))
    found = [outlined(majority, 3, drawn), outlined(lone, 1)]
    mask = extract_outlined([nodule((20, 10, 12), 7.0)], *found, params=ExtractParams(1, 0)).nodule_masks_zyx[0]
    assert np.argwhere(mask == INSIDE).tolist() == [[10, 12]]
    assert (mask[2:19, 12] > 0).all()
    assert (mask[4:7, 20:23] == NODULE_RIM).all()
    assert (mask[:, 20:] > 0).sum() == 9, "a single reader's outline has no rim of its own"


def test_nodule_of_two_readers_counts_without_an_annotation_but_gives_no_slices():
    two = box((20, 21), (16, 18), (20, 22))
    slices = extract_outlined([nodule((20, 10, 12), 7.0)], outlined(two, 2), params=ExtractParams(1, 0))
    assert slices.target_indices.tolist() == [20]
    assert (slices.nodule_masks_zyx[0, 16:19, 20:23] == INSIDE).all()


@pytest.mark.parametrize("readers", [1, 4])
def test_annotated_nodule_that_no_majority_drew_remains_a_sphere(readers):
    """Four readers drew another place; or one reader drew this one."""
    elsewhere = box((30, 31), (4, 5), (4, 5)) if readers > 1 else box((20, 20), (10, 10), (12, 12))
    one = nodule((20, 10, 12), 7.0)
    found, plain = extract_outlined([one], outlined(elsewhere, readers)), extract([one])
    rows = np.isin(found.target_indices, (19, 20, 21))
    assert rows.sum() == 3
    known = np.isin(plain.target_indices, (19, 20, 21))
    np.testing.assert_array_equal(found.nodule_masks_zyx[rows], plain.nodule_masks_zyx[known])


def test_each_annotation_takes_the_nearest_outline():
    near, far = outlined(box((20, 20), (10, 10), (12, 12))), outlined(box((22, 22), (10, 10), (12, 12)))
    for order in ((near, far), (far, near)):
        slices = extract_outlined([nodule((20, 10, 12), 12.0)], *order, params=ExtractParams(9, 0))
        assert slices.target_indices.tolist() == [20]


@pytest.mark.parametrize("readers", [1, 2])
def test_nodule_free_slices_show_nothing_that_any_reader_drew(readers):
    """The readers drew slices 8 to 30; with one slice beside them, 6 and 32 and 33 remain of 6 to 33."""
    tall = box((8, 30), (10, 12), (10, 12))
    slices = extract_outlined([], outlined(tall, readers), params=ExtractParams(1, 100))
    assert slices.target_indices.tolist() == [6, 32, 33]
    assert not slices.nodule_masks_zyx.any()
