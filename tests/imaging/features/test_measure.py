"""Every feature worked out by hand, patients with nothing to measure, and features from a network's output."""

import importlib
import pkgutil

import numpy as np
import pandas as pd
import pytest

from nodules.imaging import features
from nodules.imaging.candidates.outline import CANDIDATE_COLUMNS, SegmentationSettings, find_candidates
from nodules.imaging.candidates.probability_map import Segmentation
from nodules.imaging.candidates.proposals import CandidateParams
from nodules.imaging.features import measure as measuring
from nodules.imaging.features.cross_sections import REGION_COLUMNS
from nodules.imaging.features.definition import RANKS, Feature, PatientFindings, feature, ranked_feature
from nodules.imaging.features.measure import (
    COLUMNS,
    FEATURES,
    MALIGNANCY_COLUMNS,
    MALIGNANCY_FEATURES,
    by_name,
    measure,
    measure_patient,
)
from nodules.imaging.geometry.volume import Volume

LUNGS = {"volume_right_l": 2.5, "volume_left_l": 2.25, "mean_hu": -830.0, "emphysema_share": 0.125, "lungs_found": 1.0}
NO_LUNGS = {
    "volume_right_l": 0.0,
    "volume_left_l": 0.0,
    "mean_hu": float("nan"),
    "emphysema_share": float("nan"),
    "lungs_found": 0.0,
}
# Most probable first, as `find_candidates` sorts them: the largest one is the second, and it leads by its risk.
CANDIDATES = pd.DataFrame(
    {
        "label": [3, 1, 2],
        "x_mm": [0.0, 1.0, 2.0],
        "y_mm": [0.0, 1.0, 2.0],
        "z_mm": [0.0, 1.0, 2.0],
        "diameter_mm": [6.0, 12.0, 4.0],
        "volume_mm3": [113.0, 905.0, 33.5],
        "probability": [0.9, 0.8, 0.6],
        "mean_probability": [0.9, 0.8, 0.6],
        "max_probability": [0.95, 0.99, 0.7],
        "mean_hu": [-50.0, 35.0, -400.0],
        "sd_hu": [20.0, 45.0, 100.0],
        "solid_share": [0.75, 0.95, 0.25],
        "sphericity": [0.9, 0.7, 1.0],
        "spiculation": [0.0, 0.25, 0.005],
        "pleura_mm": [0.0, 7.5, 12.0],
        "lung": [1, 2, 0],
        "relative_height": [0.25, 0.95, 0.5],
        "relative_x": [0.25, 0.75, 0.5],
        "relative_y": [0.5, 0.5, 0.9],
    }
)[CANDIDATE_COLUMNS]
REGIONS = pd.DataFrame(
    [[10.0, 0.0, 3.0, 0.8, 0.1], [30.0, 0.5, 6.0, 0.4, 0.5], [20.0, 0.7, 6.0, 0.6, 0.9]],
    columns=["area_mm2", "eccentricity", "equivalent_diameter_mm", "relative_x", "relative_y"],
)[REGION_COLUMNS]


def by_brock(odds: float) -> float:
    return float(1 / (1 + np.exp(-odds)))


# Emphysema is plain at 0.125; 2.3 nodules are expected; sizes count as (mm / 10) ** -0.5 - 1.58113883.
EVERY_NODULE = -6.7892 + 0.2953 - 0.0824 * (2.3 - 4)
SIZES = {mm: -5.3854 * ((mm / 10) ** -0.5 - 1.58113883) for mm in (4.0, 6.0, 12.0)}
RISKS = [
    0.8 * by_brock(EVERY_NODULE + SIZES[12.0] + 0.6581 + 0.7729),  # the left lung's top, spiculated
    0.9 * by_brock(EVERY_NODULE + SIZES[6.0]),
    0.6 * by_brock(EVERY_NODULE + SIZES[4.0] + 0.3770),  # part-solid; height 0.5, fissure at 0.78
]
NOISY_OR = 1 - 0.99 * (1 - RISKS[0]) * (1 - RISKS[1]) * (1 - RISKS[2])
LUNG_VALUES = {
    "lung_volume_l": 4.75,
    "right_lung_volume_l": 2.5,
    "left_lung_volume_l": 2.25,
    "emphysema_share": 0.125,
}
OF_PATIENT = {
    "mean_area_mm2": 20.0,
    "max_area_mm2": 30.0,
    "mean_eccentricity": 0.4,
    "mean_equivalent_diameter_mm": 5.0,
    "sd_equivalent_diameter_mm": np.sqrt((2**2 + 1 + 1) / 3),
    "weighted_x": (10 * 0.8 + 30 * 0.4 + 20 * 0.6) / 60,
    "weighted_y": (10 * 0.1 + 30 * 0.5 + 20 * 0.9) / 60,
    "region_count": 3.0,
    "regions_per_slice": 3 / 40,
    "has_candidate": 1.0,
    "candidate_count": 3.0,
    "expected_count": 2.3,
    "largest_diameter_mm": 12.0,
    "second_diameter_mm": 6.0,
    "total_volume_mm3": 1051.5,
    "max_probability": 0.9,
    "largest_mean_hu": 35.0,
    "largest_sd_hu": 45.0,
    "largest_relative_height": 0.95,
    "largest_malignancy_risk": RISKS[0],
    "noisy_or_risk": NOISY_OR,
    "noisy_or_log_odds": np.log(NOISY_OR / (1 - NOISY_OR)),
    **LUNG_VALUES,
}
# The three nodules in their order, then what stands for one that is not there.
OF_RANKS = {
    "volume_mm3": (905.0, 113.0, 33.5, 0.0),
    "diameter_mm": (12.0, 6.0, 4.0, 0.0),
    "probability": (0.8, 0.9, 0.6, 0.0),
    "cancer_probability": (*RISKS, 0.0),
    "sphericity": (0.7, 0.9, 1.0, 1.0),
    "mean_hu": (35.0, -50.0, -400.0, -1000.0),
    "sd_hu": (45.0, 20.0, 100.0, 0.0),
    "solid_share": (0.95, 0.75, 0.25, 0.0),
    "spiculation": (0.25, 0.0, 0.005, 0.0),
    "relative_height": (0.95, 0.25, 0.5, 0.5),
    "upper_lobe": (1.0, 0.0, 0.0, 0.0),
    "pleura_mm": (7.5, 0.0, 12.0, 0.0),
    "side": (1.0, -1.0, 0.0, 0.0),
}
BY_HAND = OF_PATIENT | {
    f"nodule{rank}_{name}": values[min(rank, 4) - 1] for name, values in OF_RANKS.items() for rank in range(1, 6)
}
ABSENT = {f"nodule{rank}_{name}": values[3] for name, values in OF_RANKS.items() for rank in range(1, 6)}
NOTHING = (
    dict.fromkeys(BY_HAND, 0.0)
    | ABSENT
    | {
        "weighted_x": 0.5,
        "weighted_y": 0.5,
        "largest_mean_hu": -1000.0,
        "largest_relative_height": 0.5,
        "noisy_or_risk": pytest.approx(0.01),
        "noisy_or_log_odds": pytest.approx(np.log(1 / 99)),
    }
)


def nothing_found(lungs, slice_count: int = 40) -> PatientFindings:
    no_candidates = pd.DataFrame([], columns=CANDIDATE_COLUMNS)
    return PatientFindings(no_candidates, pd.DataFrame([], columns=REGION_COLUMNS, dtype=float), slice_count, lungs)


def test_columns_keep_their_order():
    """The trained classifiers and their scores depend on the order of the columns."""
    of_nodules = [f"nodule{rank}_{name}" for name in OF_RANKS for rank in range(1, RANKS + 1)]
    assert [column.name for column in COLUMNS] == list(FEATURES) == [*OF_PATIENT, *of_nodules]


def test_every_feature_that_is_defined_has_a_column():
    defined = set()
    for found in pkgutil.iter_modules(features.__path__):
        module = importlib.import_module(f"nodules.imaging.features.{found.name}")
        for value in vars(module).values():
            if value is not COLUMNS and value is not MALIGNANCY_COLUMNS:
                defined |= {
                    part for part in (value if isinstance(value, tuple) else (value,)) if isinstance(part, Feature)
                }
    assert defined == {*COLUMNS, *MALIGNANCY_COLUMNS}


def test_every_feature_is_checked_here():
    assert set(FEATURES) == set(BY_HAND)
    assert list(FEATURES)[: len(OF_PATIENT)] == list(OF_PATIENT)


@pytest.mark.parametrize("name", BY_HAND)
def test_feature_by_hand(name):
    assert measure(PatientFindings(CANDIDATES, REGIONS, 40, LUNGS))[name] == pytest.approx(BY_HAND[name])


@pytest.mark.parametrize("name", BY_HAND)
def test_feature_without_candidates(name):
    assert measure(nothing_found(LUNGS))[name] == (NOTHING | LUNG_VALUES)[name]


@pytest.mark.parametrize("slice_count", [0, 1, 40])
def test_no_lungs_and_no_candidates_give_finite_values(slice_count):
    assert measure(nothing_found(NO_LUNGS, slice_count)) == NOTHING


def test_every_value_is_a_plain_float():
    for findings in (PatientFindings(CANDIDATES, REGIONS, 40, LUNGS), nothing_found(NO_LUNGS)):
        assert {type(value) for value in measure(findings).values()} == {float}


def test_one_candidate_with_one_region():
    measured = measure(PatientFindings(CANDIDATES[:1], REGIONS[:1], 40, LUNGS))
    assert measured["second_diameter_mm"] == 0.0
    assert measured["sd_equivalent_diameter_mm"] == 0.0
    assert measured["weighted_x"] == pytest.approx(0.8)
    assert measured["nodule1_diameter_mm"] == 6.0
    assert measured["largest_malignancy_risk"] == measured["nodule1_cancer_probability"]
    assert {name: measured[name] for name in ABSENT if name[6] != "1"} == {
        name: value for name, value in ABSENT.items() if name[6] != "1"
    }


def test_seven_candidates_leave_the_two_of_least_risk_out():
    seven = pd.concat([CANDIDATES] * 3, ignore_index=True).head(7)
    seven["diameter_mm"] = [4.0, 9.0, 30.0, 5.0, 6.0, 8.0, 7.0]
    seven[["solid_share", "spiculation", "relative_height", "probability"]] = [0.9, 0.0, 0.2, 0.5]
    measured = measure(PatientFindings(seven, REGIONS, 40, LUNGS))
    assert [measured[f"nodule{rank}_diameter_mm"] for rank in range(1, 6)] == [30.0, 9.0, 8.0, 7.0, 6.0]
    assert measured["candidate_count"] == 7.0
    assert measured["expected_count"] == 3.5
    assert np.isfinite(list(measured.values())).all()


def test_equals_stay_in_the_order_of_the_candidates():
    twins = pd.concat([CANDIDATES[:1]] * 6, ignore_index=True).assign(sd_hu=np.arange(6.0))
    measured = measure(PatientFindings(twins, REGIONS, 40, LUNGS))
    assert [measured[f"nodule{rank}_sd_hu"] for rank in range(1, 6)] == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_without_lungs_candidates_are_measured_all_the_same():
    measured = measure(PatientFindings(CANDIDATES, REGIONS, 40, NO_LUNGS))
    assert np.isfinite(list(measured.values())).all()
    assert measured["nodule1_cancer_probability"] < RISKS[0]  # no emphysema known


def test_a_certain_cancer_has_finite_log_odds():
    giant = CANDIDATES.assign(diameter_mm=1e9, probability=1.0)
    assert np.isfinite(measure(PatientFindings(giant, REGIONS, 40, LUNGS))["noisy_or_log_odds"])


def test_every_feature_has_a_definition_a_unit_and_a_source():
    for name, entry in FEATURES.items():
        assert entry.name == name
        assert entry.definition.endswith("."), name
        assert entry.unit, name
        assert entry.source, name


def test_new_feature_is_one_function(monkeypatch):
    @feature
    def slices(findings: PatientFindings) -> float:
        """Number of slices.

        Unit: 1
        Source: none
        """
        return findings.slice_count

    monkeypatch.setattr(measuring, "FEATURES", by_name([slices]))
    assert measure(nothing_found(LUNGS)) == {"slices": 40.0}
    assert slices(nothing_found(LUNGS)) == 40
    assert slices.definition == "Number of slices."
    assert "slices" not in FEATURES


def test_new_feature_of_every_nodule_is_one_function(monkeypatch):
    @ranked_feature(absent=-1.0)
    def brightness(nodule) -> float:
        """Mean HU above air.

        Unit: HU
        Source: none
        """
        return nodule["mean_hu"] + 1000

    new = by_name(brightness)
    monkeypatch.setattr(measuring, "FEATURES", new)
    assert list(new) == [f"nodule{rank}_brightness" for rank in range(1, RANKS + 1)]
    assert list(measure(PatientFindings(CANDIDATES, REGIONS, 40, LUNGS)).values()) == [1035.0, 950.0, 600.0, -1.0, -1.0]
    assert new["nodule2_brightness"].definition == "Mean HU above air. -1 if there are fewer nodules."


def test_a_name_taken_and_a_feature_without_source_are_refused():
    def slices(findings: PatientFindings) -> float:
        """Number of slices.

        Unit: 1
        """
        return findings.slice_count

    with pytest.raises(ValueError, match="docstring of feature 'slices': expected a definition"):
        feature(slices)
    slices.__doc__ += "Source: none"
    column = feature(slices)
    with pytest.raises(ValueError, match="unique name for each feature, got 'slices' twice"):
        by_name([*COLUMNS, column, column])


# --- from a network output ---

SHAPE = (6, 12, 16)
SETTINGS, PARAMS = SegmentationSettings(0.5, 0.0), CandidateParams(3.0, 0.1, 0.3, 0.3)
BOX_LUNGS = {"volume_right_l": 1.0, "volume_left_l": 2.0, "emphysema_share": 0.25}


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
    candidates, measured = measure_patient(segmentation(), BOX_LUNGS, SETTINGS, PARAMS)
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
        candidates, measured = measure_patient(segmentation(), BOX_LUNGS, settings, PARAMS)
        alone = find_candidates(segmentation(), settings, PARAMS)
        np.testing.assert_array_equal(candidates.labels_zyx, alone.labels_zyx)
        assert measured["candidate_count"] == len(alone.table)


@pytest.mark.parametrize("lungs", [0, 1])
def test_patient_without_lungs_or_nodules_has_every_feature(lungs):
    scan = segmentation().scan
    empty = Segmentation(scan, np.full(SHAPE, lungs, np.uint8), np.zeros(SHAPE, np.float32))
    candidates, measured = measure_patient(empty, BOX_LUNGS if lungs else NO_LUNGS, SETTINGS, PARAMS)
    assert candidates.table.empty
    assert list(measured) == list(FEATURES)
    assert np.isfinite(list(measured.values())).all()
    assert measured["has_candidate"] == 0.0


def test_scorer_gives_the_probability():
    _, measured = measure_patient(
        segmentation(), BOX_LUNGS, SETTINGS, PARAMS, lambda _, table: np.full(len(table), 0.25)
    )
    assert measured["max_probability"] == 0.25


# --- with a rater ---

RATED = CANDIDATES.assign(malignancy=[0.1, 0.5, 0.75])


def test_features_of_malignancy_by_hand():
    assert list(MALIGNANCY_FEATURES) == ["largest_suspicion", "suspicion"]
    measured = measure(PatientFindings(RATED, REGIONS, 40, LUNGS), MALIGNANCY_FEATURES)
    suspicions = [0.9 * 0.1, 0.8 * 0.5, 0.6 * 0.75]
    assert measured["largest_suspicion"] == pytest.approx(max(suspicions))
    assert measured["suspicion"] == pytest.approx(1 - np.prod(1 - np.array(suspicions)))
    assert {type(value) for value in measured.values()} == {float}


def test_malignancy_changes_no_other_feature():
    rated, unrated = (PatientFindings(table, REGIONS, 40, LUNGS) for table in (RATED, CANDIDATES))
    assert measure(rated) == measure(unrated)


def test_rater_is_asked_about_the_centres_in_the_world():
    asked = []

    def rater(scan, centres_world_xyz):
        asked.append((scan, centres_world_xyz))
        return np.array([0.4])

    candidates, measured = measure_patient(segmentation(), BOX_LUNGS, SETTINGS, PARAMS, rater=rater)
    ((scan, centres),) = asked
    np.testing.assert_array_equal(scan.voxels_zyx, segmentation().scan.voxels_zyx)
    np.testing.assert_allclose(centres, [[3.5, 10.0, 95.0]])
    assert candidates.table["malignancy"].tolist() == [0.4]
    assert list(measured) == [*FEATURES, *MALIGNANCY_FEATURES]
    assert measured["largest_suspicion"] == measured["suspicion"] == pytest.approx(0.75 * 0.4)


def test_without_a_rater_the_malignancy_is_unknown():
    candidates, measured = measure_patient(segmentation(), BOX_LUNGS, SETTINGS, PARAMS)
    assert candidates.table["malignancy"].isna().all()
    assert len(candidates.table) == 1
    assert list(measured) == list(FEATURES)


def test_without_candidates_there_is_nothing_to_rate_and_no_suspicion():
    scan = segmentation().scan
    empty = Segmentation(scan, np.ones(SHAPE, np.uint8), np.zeros(SHAPE, np.float32))
    candidates, measured = measure_patient(empty, BOX_LUNGS, SETTINGS, PARAMS, rater=lambda *_: pytest.fail("asked"))
    assert list(candidates.table["malignancy"]) == []
    assert {name: measured[name] for name in MALIGNANCY_FEATURES} == {"largest_suspicion": 0.0, "suspicion": 0.0}


@pytest.mark.parametrize("answer", [[], [0.5, 0.5], [1.5], [-0.1], [float("nan")]])
def test_rater_that_answers_no_probability_is_refused(answer):
    with pytest.raises(ValueError, match=r"rater: expected 1 probabilities in \[0, 1\], one per nodule, got"):
        measure_patient(segmentation(), BOX_LUNGS, SETTINGS, PARAMS, rater=lambda *_: np.array(answer))
