"""Candidates and features in one step: a small case by hand and the ones without anything."""

import numpy as np
import pytest

from nodules.imaging.candidates.outline import SegmentationSettings, find_candidates
from nodules.imaging.candidates.probability_map import Segmentation
from nodules.imaging.candidates.proposals import CandidateParams
from nodules.imaging.features.measure import FEATURES, measure_patient
from nodules.imaging.geometry.volume import Volume

SHAPE = (6, 12, 16)
SETTINGS, PARAMS = SegmentationSettings(0.5, 0.0), CandidateParams(3.0, 0.1, 0.3, 0.3)
LUNGS = {"volume_right_l": 1.0, "volume_left_l": 2.0, "emphysema_share": 0.25}
NO_LUNGS = {"volume_right_l": 0.0, "volume_left_l": 0.0, "emphysema_share": float("nan")}


def segmentation() -> Segmentation:
    """Box of 2 x 3 x 4 voxels of 2 x 1 x 1 mm in the left lung, a second one too small to count."""
    hu = np.full(SHAPE, -1000, np.int16)
    probability = np.zeros(SHAPE, np.float32)
    hu[2:4, 4:7, 9:13], probability[2:4, 4:7, 9:13] = 25, 0.75
    probability[0, 0, 0] = 1.0
    lungs = np.zeros(SHAPE, np.uint8)
    lungs[:, :, :8], lungs[:, :, 8:] = 1, 2
    return Segmentation(Volume(hu, (2.0, 1.0, 1.0), (-7.0, 5.0, 90.0)), lungs, probability)


def test_by_hand():
    candidates, measured = measure_patient(segmentation(), LUNGS, SETTINGS, PARAMS)
    diameter_mm = (6 * 48 / np.pi) ** (1 / 3)
    wanted = {
        "mean_area_mm2": 12.0,
        "max_area_mm2": 12.0,
        "mean_eccentricity": np.sqrt(1 - 8 / 15),  # variances (n**2 - 1) / 12 of 3 and 4 pixels
        "mean_equivalent_diameter_mm": np.sqrt(48 / np.pi),
        "sd_equivalent_diameter_mm": 0.0,
        "weighted_x": 11 / 16,
        "weighted_y": 5.5 / 12,
        "region_count": 2.0,
        "regions_per_slice": 2 / 6,
        "has_candidate": 1.0,
        "candidate_count": 1.0,
        "largest_diameter_mm": diameter_mm,
        "second_diameter_mm": 0.0,
        "total_volume_mm3": 48.0,
        "max_probability": 0.75,
        "largest_mean_hu": 25.0,
        "largest_sd_hu": 0.0,
        "largest_relative_height": 0.5,
        "lung_volume_l": 3.0,
        "emphysema_share": 0.25,
    }
    assert {name: measured[name] for name in wanted} == pytest.approx(wanted)
    assert list(measured) == list(FEATURES)
    of_nodule = {"diameter_mm": diameter_mm, "mean_hu": 25.0, "solid_share": 1.0, "side": 1.0, "probability": 0.75}
    assert {name: measured[f"nodule1_{name}"] for name in of_nodule} == pytest.approx(of_nodule)
    assert measured["nodule2_diameter_mm"] == 0.0
    row = candidates.table.iloc[0]
    assert (row["x_mm"], row["y_mm"], row["z_mm"], row["lung"]) == pytest.approx((3.5, 10.0, 95.0, 2))


def test_candidates_are_those_of_the_settings():
    for settings in (SETTINGS, SegmentationSettings(0.5, 0.0, 0.8)):
        candidates, measured = measure_patient(segmentation(), LUNGS, settings, PARAMS)
        alone = find_candidates(segmentation(), settings, PARAMS)
        np.testing.assert_array_equal(candidates.labels_zyx, alone.labels_zyx)
        assert measured["candidate_count"] == len(alone.table)


@pytest.mark.parametrize("lungs", [0, 1])
def test_patient_without_lungs_or_nodules_has_every_feature(lungs):
    scan = segmentation().scan
    empty = Segmentation(scan, np.full(SHAPE, lungs, np.uint8), np.zeros(SHAPE, np.float32))
    candidates, measured = measure_patient(empty, LUNGS if lungs else NO_LUNGS, SETTINGS, PARAMS)
    assert candidates.table.empty
    assert list(measured) == list(FEATURES)
    assert np.isfinite(list(measured.values())).all()
    assert measured["has_candidate"] == 0.0


def test_scorer_gives_the_probability():
    _, measured = measure_patient(segmentation(), LUNGS, SETTINGS, PARAMS, lambda _, table: np.full(len(table), 0.25))
    assert measured["max_probability"] == 0.25
