"""Nodules that touch: weak bridges, narrow necks, and shapes that must stay whole."""

import numpy as np
import pytest

from nodules.imaging.candidates.watershed import SplitLimits, heaviest_component, split_touching

CUT = SplitLimits(dynamic=0.3, min_peak=0.3, min_voxels=5.0)
GRIDS = [(1.0, 1.0, 1.0), (2.5, 1.0, 1.0), (1.25, 0.7, 0.8)]


def places(shape_mm, spacing) -> np.ndarray:
    """World mm (Z, Y, X, 3), z first, of a grid around 0."""
    axes = [
        (np.arange(int(2 * size / step)) + 0.31) * step - size for size, step in zip(shape_mm, spacing, strict=True)
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def ball(grid, centre, radius_mm) -> np.ndarray:
    return np.linalg.norm(grid - np.array(centre), axis=-1) <= radius_mm


def row(*values) -> tuple[np.ndarray, np.ndarray]:
    """A bar of 3 x 3 voxels along x."""
    line = np.broadcast_to(np.array(values, np.float32), (3, 3, len(values))).copy()
    return line, line > 0


def count(probability, inside, spacing=(1.0, 1.0, 1.0), cut=CUT) -> int:
    return int(split_touching(probability.astype(np.float32), inside, spacing, cut).max())


@pytest.mark.parametrize(
    ("valley", "parts"), [(0.9, 1), (0.6, 1), (0.51, 1), (0.5, 2), (0.2, 2)], ids=lambda value: str(value)
)
def test_bridge_is_cut_where_the_map_falls_by_the_dynamic_below_the_lower_peak(valley, parts):
    assert count(*row(0.9, 0.9, 0.9, valley, 0.8, 0.8, 0.8)) == parts


def test_the_cut_lies_in_the_valley_and_every_voxel_belongs_to_one_side():
    probability, inside = row(0.6, 0.9, 0.7, 0.4, 0.3, 0.5, 0.7, 0.4)
    labels = split_touching(probability, inside, (1.0, 1.0, 1.0), CUT)
    assert (labels[inside] > 0).all()
    left, right = labels[0, 0, 1], labels[0, 0, 6]
    assert left != right
    assert (labels[:, :, :4] == left).all()
    assert (labels[:, :, 5:] == right).all()


def test_a_peak_too_low_to_be_a_nodule_stays_with_its_neighbour():
    probability, inside = row(0.9, 0.9, 0.9, 0.1, 0.45, 0.45)
    assert count(probability, inside) == 2
    assert count(probability, inside, cut=SplitLimits(0.3, 0.5, 5.0)) == 1


def test_a_part_too_small_to_be_a_nodule_stays_with_its_neighbour():
    probability, inside = row(0.9, 0.9, 0.9, 0.2, 0.8)
    assert count(probability, inside) == 2
    assert count(probability, inside, cut=SplitLimits(0.3, 0.3, 19.0)) == 1


def test_small_parts_fall_to_the_large_ones_beside_them():
    probability, inside = row(0.9, 0.9, 0.9, 0.9, 0.1, 0.6, 0.1, 0.8, 0.8, 0.8, 0.8)
    assert count(probability, inside) == 3
    labels = split_touching(probability, inside, (1.0, 1.0, 1.0), SplitLimits(0.3, 0.3, 30.0))
    assert sorted(np.unique(labels)) == [1, 2]
    assert np.count_nonzero(labels) == inside.sum()


@pytest.mark.parametrize("spacing", GRIDS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_two_saturated_balls_that_overlap_a_little_are_two(spacing, axis):
    """Radii 7 and 5.5 mm, 12 mm apart: the neck's radius is sqrt(49 - 6.78**2) = 1.7 mm."""
    grid = places((16.0, 16.0, 16.0), spacing)
    first, second = np.zeros(3), np.zeros(3)
    first[axis], second[axis] = -5.2, 6.8
    one, other = ball(grid, first, 7.0), ball(grid, second, 5.5)
    labels = split_touching((one | other).astype(np.float32), one | other, spacing, CUT)
    assert labels.max() == 2
    for nodule in (one & ~other, other & ~one):
        found = np.bincount(labels[nodule]).max()
        assert found / nodule.sum() > 0.97


@pytest.mark.parametrize("spacing", GRIDS)
def test_soft_edges_do_not_hide_the_neck(spacing):
    """The same with a map that falls over 2 mm: the bridge is saturated, its surroundings are not."""
    grid = places((16.0, 16.0, 16.0), spacing)
    depth = [7.0 - np.linalg.norm(grid - (0, 0, -5.0), axis=-1), 5.5 - np.linalg.norm(grid - (0, 0, 6.5), axis=-1)]
    probability = np.clip(0.5 + np.maximum(*depth) / 2, 0, 1).astype(np.float32)
    assert count(probability, probability >= 0.1, spacing) == 2


@pytest.mark.parametrize("spacing", GRIDS)
@pytest.mark.parametrize(
    ("name", "balls"),
    [
        ("one ball", [((0, 0, 0), 8)]),
        ("elongated", [((0, 0, x), 5) for x in range(-10, 11)]),
        ("pear", [((0, 0, -4), 8), ((0, 0, 4), 5)]),
        ("lobulated", [((0, 0, 0), 8), ((0, 6, 3), 4), ((-5, -4, 3), 4), ((3, 0, -7), 4)]),
        ("two that overlap by half", [((0, 0, -4), 7), ((0, 0, 4), 7)]),
        ("with a vessel", [((0, 0, -5), 7), *(((0, 0, x), 1.8) for x in range(15))]),
        ("bent", [((0, 0, 0), 5), ((0, 4, 4), 5), ((0, 4, 9), 5), ((0, 0, 13), 5)]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_nodule_stays_one(name, balls, spacing):
    grid = places((12.0, 14.0, 20.0), spacing)
    inside = np.logical_or.reduce([ball(grid, centre, radius) for centre, radius in balls])
    assert count(inside.astype(np.float32), inside, spacing) == 1, name


def test_three_in_a_chain_are_three():
    grid = places((12.0, 12.0, 26.0), (2.0, 1.0, 1.0))
    inside = np.logical_or.reduce([ball(grid, (0, 0, x), 6.5) for x in (-12.0, 0.0, 12.0)])
    assert count(inside.astype(np.float32), inside, (2.0, 1.0, 1.0)) == 3


def test_labels_are_1_to_n_inside_and_0_outside():
    grid = places((12.0, 12.0, 26.0), (2.0, 1.0, 1.0))
    inside = ball(grid, (0, 0, -8.0), 6.0) | ball(grid, (0, 0, 3.0), 6.0)
    labels = split_touching(inside.astype(np.float32), inside, (2.0, 1.0, 1.0), CUT)
    np.testing.assert_array_equal(labels > 0, inside)
    assert np.unique(labels).tolist() == [0, 1, 2]


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 2), (2, 1, 1), (1, 9, 9)])
def test_a_few_voxels_are_one_nodule(shape):
    assert count(np.ones(shape), np.ones(shape, bool), (2.5, 1.0, 1.0), SplitLimits(0.3, 0.3, 0.0)) == 1


def test_heaviest_part_by_hand():
    weight = np.array([[[0.9, 0.0, 0.5, 0.5, 0.0, 0.4]]])
    assert heaviest_component(weight > 0, weight).ravel().tolist() == [False, False, True, True, False, False]
    touching = np.zeros((2, 2, 2), bool)
    touching[0, 0, 0] = touching[1, 1, 1] = True
    np.testing.assert_array_equal(heaviest_component(touching, touching), touching)
    assert not heaviest_component(np.zeros((2, 2, 2), bool), np.zeros((2, 2, 2))).any()
