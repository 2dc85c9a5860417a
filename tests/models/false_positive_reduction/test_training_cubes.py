"""Which cubes of a scan teach what."""

from __future__ import annotations

import numpy as np
import pytest

from nodules.imaging.geometry.volume import Volume
from nodules.models.false_positive_reduction.training_cubes import (
    CubeSet,
    in_excluded_finding,
    inside,
    spread_evenly,
    training_set,
)
from nodules.scans.tables.luna import NoduleAnnotation

NODULES = [NoduleAnnotation("1.2", (10.0, 20.0, 30.0), 6.0), NoduleAnnotation("1.2", (-5.0, 0.0, 4.0), 10.0)]
ON_THE_RIM, WITHIN, BESIDE = (10.0, 23.0, 30.0), (10.0, 22.9, 30.0), (0.1, 0.0, 4.0)


def scan() -> Volume:
    """HU that say where they are: the number of their slice."""
    z = np.arange(30)[:, None, None] * np.ones((1, 40, 50))
    return Volume(z.astype(np.int16), (2.0, 1.1, 0.9), (-20.0, -10.0, -8.0))


def test_luna_rule_is_nearer_than_the_radius():
    near = inside([ON_THE_RIM, WITHIN, BESIDE, (-5.0, 4.0, 4.0)], NODULES)
    assert near.tolist() == [[False, False], [True, False], [False, False], [False, True]]
    assert inside([], NODULES).shape == (0, 2)
    assert inside([WITHIN], []).shape == (1, 0)


def test_places_in_an_excluded_finding_that_is_no_nodule_are_spared():
    around = [NoduleAnnotation("1", WITHIN, 0.1), NoduleAnnotation("1", BESIDE, 0.1)]
    assert in_excluded_finding([WITHIN, BESIDE, ON_THE_RIM], NODULES, around).tolist() == [False, True, False]
    assert in_excluded_finding([WITHIN, BESIDE], NODULES, []).tolist() == [False, False]
    assert in_excluded_finding([WITHIN, BESIDE], [], around).tolist() == [True, True]
    assert in_excluded_finding([], NODULES, around).shape == (0,)


@pytest.mark.parametrize(("at_most", "rows"), [(3, [0, 5, 10]), (1, [0]), (0, []), (99, list(range(11)))])
def test_places_are_taken_from_the_whole_table(at_most, rows):
    places = np.arange(33.0).reshape(11, 3)
    assert spread_evenly(places, at_most).tolist() == places[rows].tolist()


def test_roles_of_the_places():
    cubes = training_set(scan(), [WITHIN, BESIDE], NODULES, [ON_THE_RIM, WITHIN], 8.0, 8)
    # proposals, then annotated centres, then the table's places without the one that lies in a nodule
    assert cubes.is_nodule.tolist() == [True, False, True, True, False]
    assert cubes.hu.shape == (5, 8, 8, 8)
    # z of a cube's two middle layers are 0.5 mm around the place, 2 mm a slice from -8
    heights = cubes.hu[:, 3:5, 4, 4].mean(axis=1)
    expected = [(place[2] + 8) / 2 for place in (WITHIN, BESIDE, *(n.centre_world_xyz for n in NODULES), ON_THE_RIM)]
    assert heights == pytest.approx(expected, abs=0.51)


def test_scan_without_anything(tmp_path):
    cubes = training_set(scan(), [], [], [], 8.0, 8)
    assert (cubes.hu.shape, cubes.is_nodule.shape) == ((0, 8, 8, 8), (0,))
    cubes.save(tmp_path)
    again = CubeSet.load(tmp_path)
    assert (again.hu.shape, again.is_nodule.dtype) == ((0, 8, 8, 8), bool)


def test_to_disk_and_back(tmp_path):
    cubes = training_set(scan(), [BESIDE], NODULES, [], 8.0, 8)
    cubes.save(tmp_path)
    again = CubeSet.load(tmp_path)
    assert isinstance(again.hu, np.memmap)
    np.testing.assert_array_equal(again.hu, cubes.hu)
    np.testing.assert_array_equal(again.is_nodule, cubes.is_nodule)
