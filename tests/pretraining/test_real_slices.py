"""Training slices of hand-made cubes and excerpts."""

from __future__ import annotations

import numpy as np
import pytest

from nodules.imaging.geometry.volume import Volume
from nodules.imaging.network_input.lung_roi import LungRoiParams
from nodules.imaging.network_input.slice_context import ContextParams
from nodules.pretraining.excerpts import Excerpt
from nodules.pretraining.real_slices import slices_of_cube, slices_of_excerpt
from nodules.scans.stores.slices import INSIDE, NODULE_RIM
from nodules.scans.tables.luna import NoduleAnnotation
from nodules.scans.tables.nodule_cubes import read_cube_table
from support.nodule_cubes import write_cubes

ROI = LungRoiParams(spacing_mm=0.8, margin_mm=4.0, masked_input=False, window_hu=(-1000.0, 300.0))
CONTEXT = ContextParams(slices=3, distance_mm=2.5)
SHAPE_ZYX = (6, 20, 18)
NODULE = np.s_[2:4, 8:12, 6:9]


def cube_of(mask_part, **columns):
    hu, mask = np.full(SHAPE_ZYX, -850), np.zeros(SHAPE_ZYX, bool)
    if mask_part is not None:
        hu[mask_part], mask[mask_part] = 100, True
    return hu, mask, {"x": -48.0, **columns}  # on the network's grid of 0.8 mm


def test_all_slices_of_a_cube_are_shown_and_its_sections_are_those_of_the_mask(tmp_path):
    (cube,) = read_cube_table(write_cubes(tmp_path, {"a.png": cube_of(NODULE)}))
    slices = slices_of_cube(cube, [cube], ROI, CONTEXT)
    assert slices.hu.shape == (*SHAPE_ZYX, 3)
    assert slices.visible.all()
    assert slices.lungs.all()
    assert np.argwhere(slices.nodules == INSIDE).min(axis=0).tolist() == [2, 8, 6]
    assert np.argwhere(slices.nodules == INSIDE).max(axis=0).tolist() == [3, 11, 8]
    assert slices.centres[:, 0].tolist() == [2, 3]
    assert slices.centres[0, 1:].tolist() in ([9, 7, 0], [10, 7, 0])
    assert slices.diameters_mm == pytest.approx([5.0, 5.0], abs=0.01)


def test_neighbouring_slices_are_2_5_mm_away(tmp_path):
    (cube,) = read_cube_table(write_cubes(tmp_path, {"a.png": cube_of(NODULE)}))
    hu = slices_of_cube(cube, [cube], ROI, CONTEXT).hu  # slices are 1.25 mm apart
    assert (hu[0, ..., 2] == hu[2, ..., 1]).all()
    assert (hu[5, ..., 0] == hu[3, ..., 1]).all()
    assert (hu[0, ..., 0] == hu[0, ..., 1]).all(), "beyond the end the last slice repeats"


def test_other_listed_nodules_in_view_are_inside_too(tmp_path):
    """The second cube begins 4 voxels further along x and shows a nodule that the first one does not draw."""
    second = cube_of(np.s_[1:3, 2:4, 8:10], x=-48.0 + 4 * 0.8)
    cubes = read_cube_table(write_cubes(tmp_path, {"a.png": cube_of(NODULE), "b.png": second}))
    slices = slices_of_cube(cubes[0], cubes, ROI, CONTEXT)
    assert (slices.nodules[1:3, 2:4, 12:14] == INSIDE).all()
    assert np.count_nonzero(slices.nodules == INSIDE) == 2 * 4 * 3 + 2 * 2 * 2
    assert slices.centres[:, 0].tolist() == [2, 3], "sections are those of the cube's own nodule"


def test_nodules_of_another_series_are_not_in_view(tmp_path):
    second = cube_of(np.s_[1:3, 2:4, 8:10], seriesuid="1.3")
    cubes = read_cube_table(write_cubes(tmp_path, {"a.png": cube_of(NODULE), "b.png": second}))
    assert np.count_nonzero(slices_of_cube(cubes[0], cubes, ROI, CONTEXT).nodules) == 2 * 4 * 3


def test_cube_with_an_empty_mask_has_slices_and_no_section(tmp_path):
    (cube,) = read_cube_table(write_cubes(tmp_path, {"a.png": cube_of(None)}))
    slices = slices_of_cube(cube, [cube], ROI, CONTEXT)
    assert len(slices.hu) == SHAPE_ZYX[0]
    assert slices.centres.shape == (0, 4)


GRID = Volume(np.full((3, 20, 20), -850, np.int16), (2.5, 0.8, 0.8))


def excerpt(readers) -> Excerpt:
    nodule = NoduleAnnotation("1.2", tuple(GRID.voxel_to_world((1, 10, 12))), 4.0)
    lungs = GRID.with_voxels(np.ones(GRID.shape_zyx, np.uint8))
    return Excerpt("1.2", 0, GRID, lungs, 1, [nodule], readers)


def test_excerpt_shows_its_middle_slice_with_what_two_readers_drew():
    counts = np.zeros(GRID.shape_zyx, np.uint8)
    counts[:, 9:12, 11:14], counts[:, 10, 12], counts[1, 2, 2] = 1, 2, 4
    slices = slices_of_excerpt(excerpt(counts), ROI, CONTEXT)
    assert slices.hu.shape == (1, 20, 20, 3)
    assert np.argwhere(slices.nodules[0] == INSIDE).tolist() == [[2, 2], [10, 12]]
    assert np.count_nonzero(slices.nodules == NODULE_RIM) == 8
    assert slices.centres.tolist() == [[0, 10, 12, 0]]
    assert slices.diameters_mm.tolist() == [4.0]


def test_excerpt_without_readers_is_refused():
    with pytest.raises(ValueError, match=r"1\.2-0: read without the readers' outlines"):
        slices_of_excerpt(excerpt(None), ROI, CONTEXT)
