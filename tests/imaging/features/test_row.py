"""Every feature of one patient worked out by hand, and patients with nothing to measure."""

import numpy as np
import pandas as pd
import pytest

from nodules.imaging.candidates.outline import CANDIDATE_COLUMNS, Candidates
from nodules.imaging.features import registry
from nodules.imaging.features.row import FEATURES, RANKS, REGION_COLUMNS, Findings, find_regions, measure
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


def nothing_found(lungs, slice_count: int = 40) -> Findings:
    no_candidates = pd.DataFrame([], columns=CANDIDATE_COLUMNS)
    return Findings(no_candidates, pd.DataFrame([], columns=REGION_COLUMNS, dtype=float), slice_count, lungs)


def test_every_feature_is_checked_here():
    assert set(FEATURES) == set(BY_HAND)
    assert list(FEATURES)[: len(OF_PATIENT)] == list(OF_PATIENT)


@pytest.mark.parametrize("name", BY_HAND)
def test_feature_by_hand(name):
    assert measure(Findings(CANDIDATES, REGIONS, 40, LUNGS))[name] == pytest.approx(BY_HAND[name])


@pytest.mark.parametrize("name", BY_HAND)
def test_feature_without_candidates(name):
    assert measure(nothing_found(LUNGS))[name] == (NOTHING | LUNG_VALUES)[name]


@pytest.mark.parametrize("slice_count", [0, 1, 40])
def test_no_lungs_and_no_candidates_give_finite_values(slice_count):
    assert measure(nothing_found(NO_LUNGS, slice_count)) == NOTHING


def test_every_value_is_a_plain_float():
    for findings in (Findings(CANDIDATES, REGIONS, 40, LUNGS), nothing_found(NO_LUNGS)):
        assert {type(value) for value in measure(findings).values()} == {float}


def test_one_candidate_with_one_region():
    measured = measure(Findings(CANDIDATES[:1], REGIONS[:1], 40, LUNGS))
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
    measured = measure(Findings(seven, REGIONS, 40, LUNGS))
    assert [measured[f"nodule{rank}_diameter_mm"] for rank in range(1, 6)] == [30.0, 9.0, 8.0, 7.0, 6.0]
    assert measured["candidate_count"] == 7.0
    assert measured["expected_count"] == 3.5
    assert np.isfinite(list(measured.values())).all()


def test_equals_stay_in_the_order_of_the_candidates():
    twins = pd.concat([CANDIDATES[:1]] * 6, ignore_index=True).assign(sd_hu=np.arange(6.0))
    measured = measure(Findings(twins, REGIONS, 40, LUNGS))
    assert [measured[f"nodule{rank}_sd_hu"] for rank in range(1, 6)] == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_without_lungs_candidates_are_measured_all_the_same():
    measured = measure(Findings(CANDIDATES, REGIONS, 40, NO_LUNGS))
    assert np.isfinite(list(measured.values())).all()
    assert measured["nodule1_cancer_probability"] < RISKS[0]  # no emphysema known


def test_a_certain_cancer_has_finite_log_odds():
    giant = CANDIDATES.assign(diameter_mm=1e9, probability=1.0)
    assert np.isfinite(measure(Findings(giant, REGIONS, 40, LUNGS))["noisy_or_log_odds"])


def test_every_feature_has_a_definition_a_unit_and_a_source():
    for name, entry in FEATURES.items():
        assert entry.name == name
        assert entry.definition.endswith("."), name
        assert entry.unit, name
        assert entry.source, name


@pytest.fixture
def empty_register(monkeypatch):
    register = {}
    monkeypatch.setattr(registry, "FEATURES", register)
    return register


def test_new_feature_is_one_function(empty_register):
    @registry.feature
    def slices(findings: Findings) -> float:
        """Number of slices.

        Unit: 1
        Source: none
        """
        return findings.slice_count

    assert measure(nothing_found(LUNGS)) == {"slices": 40.0}
    assert slices(nothing_found(LUNGS)) == 40
    assert empty_register["slices"].definition == "Number of slices."
    assert "slices" not in FEATURES


def test_new_feature_of_every_nodule_is_one_function(empty_register):
    @registry.ranked_feature(absent=-1.0)
    def brightness(nodule) -> float:
        """Mean HU above air.

        Unit: HU
        Source: none
        """
        return nodule["mean_hu"] + 1000

    assert list(empty_register) == [f"nodule{rank}_brightness" for rank in range(1, RANKS + 1)]
    assert list(measure(Findings(CANDIDATES, REGIONS, 40, LUNGS)).values()) == [1035.0, 950.0, 600.0, -1.0, -1.0]
    assert empty_register["nodule2_brightness"].definition == "Mean HU above air. -1 if there are fewer nodules."


def test_a_name_taken_and_a_feature_without_source_are_refused(empty_register):
    def slices(findings: Findings) -> float:
        """Number of slices.

        Unit: 1
        """
        return findings.slice_count

    with pytest.raises(ValueError, match="docstring of feature 'slices' must have a definition"):
        registry.feature(slices)
    slices.__doc__ += "Source: none"
    registry.feature(slices)
    with pytest.raises(ValueError, match="name must be new, got 'slices'"):
        registry.feature(slices)


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
