"""Labels of proposals beside hand-made marks, and the training cubes around them."""

from __future__ import annotations

import numpy as np
import pytest

from nodules.imaging.candidates.probability_map import Segmentation
from nodules.imaging.candidates.proposals import CandidateParams, propose
from nodules.imaging.geometry.volume import Volume
from nodules.pretraining.labelled_candidates import COLUMNS, label_candidates, marks_on_region, training_cubes
from nodules.pretraining.reader_marks import MarkedNodule, ReaderMarks

GRID = Volume(np.full((12, 60, 60), -850, np.int16), (1.0, 1.0, 1.0), (-30.0, -30.0, 5.0))
PARAMS = CandidateParams(min_diameter_mm=2.0, proposal_threshold=0.1, proposal_peak=0.2, split_dynamic=0.3)
DRAWN_BY_MOST, BY_ONE, NOWHERE, AT_THE_RIM = (np.s_[4:8, y : y + 4, 20:24] for y in (5, 20, 35, 50))


def segmentation() -> Segmentation:
    """Four parts; the last one is certain at its left end and faint to the right."""
    probability = np.zeros(GRID.shape_zyx, np.float32)
    for part in (DRAWN_BY_MOST, BY_ONE, NOWHERE, AT_THE_RIM):
        probability[part] = 0.9
    probability[4:8, 50:54, 24:30] = 0.15
    hu = GRID.voxels_zyx.copy()
    hu[probability > 0] = 1200
    return Segmentation(GRID.with_voxels(hu), np.ones(GRID.shape_zyx, np.uint8), probability)


def marks() -> ReaderMarks:
    numbers, drawn = np.zeros(GRID.shape_zyx, np.uint8), np.zeros(GRID.shape_zyx, bool)
    numbers[5:7, 6:8, 21:23] = 1
    numbers[4:8, 50:54, 28:30] = 2  # only the faint part of a proposal touches it
    drawn[numbers > 0] = True
    drawn[7, 23, 23] = True
    nodules = tuple(
        MarkedNodule(3, tuple(GRID.voxel_to_world(place)), 4.0) for place in ((5.5, 6.5, 21.5), (5.5, 52, 30))
    )
    return ReaderMarks(numbers, drawn, nodules)


@pytest.fixture
def labelled():
    found = segmentation()
    table = label_candidates(found, propose(found, PARAMS), marks())
    return table.assign(row=(table["y_mm"] + 30).round(1))


def test_kinds(labelled):
    assert list(labelled.columns)[:-1] == COLUMNS
    by_row = labelled.set_index("row")
    assert by_row["kind"].to_dict() == {6.5: "nodule", 21.5: "unclear", 36.5: "other", 51.5: "unclear"}
    assert by_row["nodule"].to_dict() == {6.5: 1, 21.5: 0, 36.5: 0, 51.5: 0}


def test_no_proposals():
    empty = Segmentation(GRID, np.ones(GRID.shape_zyx, np.uint8), np.zeros(GRID.shape_zyx, np.float32))
    table = label_candidates(empty, propose(empty, PARAMS), marks())
    assert list(table.columns) == COLUMNS
    assert table.empty
    cubes = training_cubes(empty.scan, table, marks(), 8.0, 8, (-1000.0, 300.0))
    assert cubes.is_nodule.tolist() == [True, True], "the nodules themselves"
    nothing = ReaderMarks(np.zeros(GRID.shape_zyx, np.uint8), np.zeros(GRID.shape_zyx, bool), ())
    assert training_cubes(empty.scan, table, nothing, 8.0, 8, (-1000.0, 300.0)).hu.shape == (0, 8, 8, 8)


def test_cubes_of_clear_candidates_and_of_all_nodules_clipped_like_stored_cubes(labelled):
    cubes = training_cubes(segmentation().scan, labelled, marks(), 8.0, 8, (-1000.0, 300.0))
    clear = labelled[labelled["kind"] != "unclear"]
    assert cubes.is_nodule.tolist() == [*(clear["kind"] == "nodule"), True, True]
    assert cubes.hu.max() == 300
    assert (cubes.hu[:, 3:5, 3:5, 3:5] == 300)[:2].all(), "the centres of candidates"


def test_marks_on_the_grid_of_a_region():
    region = Volume(np.zeros((4, 20, 30), np.int16), (1.0, 2.0, 2.0), (-30.0, -30.0, 9.0))  # from slice 4 on
    found = marks_on_region(marks(), GRID, region)
    assert found.numbers_zyx.shape == region.shape_zyx
    assert np.argwhere(found.numbers_zyx == 1).tolist() == [[1, 3, 11], [2, 3, 11]]
    assert found.drawn_zyx[found.numbers_zyx > 0].all()
    assert found.nodules == marks().nodules
