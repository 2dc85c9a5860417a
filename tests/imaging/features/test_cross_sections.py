"""Cross-sections of candidates in single slices, measured by hand."""

import numpy as np
import pandas as pd
import pytest

from nodules.imaging.candidates.outline import CANDIDATE_COLUMNS, Candidates
from nodules.imaging.features.cross_sections import REGION_COLUMNS, find_regions
from nodules.imaging.geometry.volume import Volume


def grid(shape=(4, 14, 20)) -> Volume:
    return Volume(np.zeros(shape, np.int16), (2.5, 0.8, 0.8), (-50.0, 20.0, -300.0))


def lungs_box() -> np.ndarray:
    """Rows 2 .. 11 and columns 4 .. 15, the two sides in different slices."""
    lungs = np.zeros((4, 14, 20), np.uint8)
    lungs[0, 2:8, 4:9] = 1
    lungs[3, 5:12, 10:16] = 2
    return lungs


def candidates(labels: np.ndarray) -> Candidates:
    return Candidates(labels.astype(np.int32), pd.DataFrame([], columns=CANDIDATE_COLUMNS))


def test_regions_by_hand():
    labels = np.zeros((4, 14, 20), np.int32)
    labels[1, 3:6, 5:10] = 7  # 3 x 5 pixels around (4, 7)
    labels[2, 4, 6:10] = 7  # 1 x 4 around (4, 7.5)
    labels[2, 9:11, 12:14] = 9  # 2 x 2 around (9.5, 12.5)
    found = find_regions(grid(), lungs_box(), candidates(labels))
    assert found.columns.tolist() == REGION_COLUMNS
    areas = np.array([15, 4, 4]) * 0.64
    np.testing.assert_allclose(found["area_mm2"], areas)
    np.testing.assert_allclose(found["equivalent_diameter_mm"], 2 * np.sqrt(areas / np.pi))
    # Variances of n pixels in a row are (n**2 - 1) / 12: 8 and 24 for the rectangle, 0 across a line.
    np.testing.assert_allclose(found["eccentricity"], [np.sqrt(1 - 8 / 24), 1.0, 0.0], atol=1e-6)
    # The box runs from 1.5 to 11.5 down and from 3.5 to 15.5 across.
    np.testing.assert_allclose(found["relative_y"], [2.5 / 10, 2.5 / 10, 8 / 10])
    np.testing.assert_allclose(found["relative_x"], [3.5 / 12, 4 / 12, 9 / 12])


def test_two_parts_of_one_nodule_in_a_slice_are_two_regions():
    labels = np.zeros((4, 14, 20), np.int32)
    labels[1, 5, 5:12] = 1
    labels[2, 5, [5, 11]] = 1  # the ends of a bow
    assert len(find_regions(grid(), lungs_box(), candidates(labels))) == 3


def test_pixels_that_touch_at_a_corner_are_one_region():
    labels = np.zeros((4, 14, 20), np.int32)
    labels[1, [5, 6], [5, 6]] = 1
    assert find_regions(grid(), lungs_box(), candidates(labels))["area_mm2"].tolist() == pytest.approx([2 * 0.64])


def test_mirrored_patient_has_mirrored_positions():
    labels = np.zeros((4, 14, 20), np.int32)
    labels[1, 3:6, 5:10] = 1
    found = find_regions(grid(), lungs_box(), candidates(labels))
    turned = find_regions(grid(), lungs_box()[:, ::-1, ::-1], candidates(labels[:, ::-1, ::-1]))
    np.testing.assert_allclose(turned["relative_x"], 1 - found["relative_x"])
    np.testing.assert_allclose(turned["relative_y"], 1 - found["relative_y"])


def test_region_that_fills_the_lungs_lies_in_their_middle():
    labels = np.zeros((4, 14, 20), np.int32)
    labels[2, 2:12, 4:16] = 1
    found = find_regions(grid(), lungs_box(), candidates(labels))
    assert found[["relative_y", "relative_x"]].to_numpy().tolist() == [[0.5, 0.5]]


def test_no_regions():
    found = find_regions(grid(), lungs_box(), candidates(np.zeros((4, 14, 20))))
    assert found.empty
    assert found.columns.tolist() == REGION_COLUMNS


def test_regions_without_lungs_are_placed_in_the_grid():
    labels = np.zeros((4, 14, 20), np.int32)
    labels[0, 0, 0] = 1
    labels[3, 13, 19] = 2
    found = find_regions(grid(), np.zeros((4, 14, 20), np.uint8), candidates(labels))
    np.testing.assert_allclose(found["relative_y"], [0.5 / 14, 13.5 / 14])
    np.testing.assert_allclose(found["relative_x"], [0.5 / 20, 19.5 / 20])
    assert np.isfinite(found.to_numpy()).all()


def test_one_slice_volume():
    labels = np.ones((1, 2, 3), np.int32)
    found = find_regions(grid((1, 2, 3)), np.ones((1, 2, 3), np.uint8), candidates(labels))
    assert found["area_mm2"].tolist() == pytest.approx([6 * 0.64])
