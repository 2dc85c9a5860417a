"""Features without scans: the draws of the rendered cohort, and nothing of its risks or labels."""

import dataclasses

import numpy as np
import pytest

from nodules.imaging.candidates.outline import CANDIDATE_COLUMNS
from nodules.imaging.features.measure import FEATURES
from nodules.scans.phantom import cohort
from nodules.scans.phantom.nodules import LOBES, Nodule
from nodules.scans.phantom.patient import Truth, draw_truth
from phantom_features import patient_findings, patient_tables
from reference_chest import ReferenceChest, build_chest
from support.small_cohort import SMALL

FINE = dataclasses.replace(SMALL, grid_px=288, pixel_spacing_mm=(0.75, 0.9), slice_thickness_mm=(1.0, 1.0))


@pytest.fixture(scope="module")
def chest() -> ReferenceChest:
    return build_chest()


def truth(*nodules: Nodule, emphysema: bool = False) -> Truth:
    return Truth("dsb", 3, nodules, emphysema, 0.5, 1)


def nodule(**changes) -> Nodule:
    plain = {"diameter_mm": 16.0, "kind": "solid", "shape": "round", "attachment": "isolated", "lobe": "right_upper"}
    return Nodule(**(plain | changes))


def candidate(chest, **changes):
    table = patient_findings(truth(nodule(**changes)), FINE, chest).candidates
    assert table.columns.tolist() == CANDIDATE_COLUMNS
    assert len(table) == 1
    return table.iloc[0]


def test_rows_are_those_of_the_cohort_and_repeat_exactly() -> None:
    features, labels = patient_tables(range(12), SMALL)
    assert features.columns.tolist() == list(FEATURES)
    assert np.isfinite(features.to_numpy()).all()
    truths = [draw_truth(index, "dsb", SMALL) for index in range(12)]
    assert labels["id"].tolist() == features.index.tolist() == [cohort.patient_id(i, SMALL) for i in range(12)]
    assert labels["cancer"].tolist() == [t.cancer for t in truths]
    assert labels["true_probability"].tolist() == [t.true_probability for t in truths]
    assert features["candidate_count"].tolist() == [len(t.nodules) for t in truths]
    largest_mm = [max((n.diameter_mm for n in t.nodules), default=0.0) for t in truths]
    np.testing.assert_allclose(features["largest_diameter_mm"], largest_mm, rtol=0.25)
    again, _ = patient_tables(range(9, 12), SMALL)
    assert again.equals(features.iloc[9:])


def test_features_know_neither_risk_nor_label(chest) -> None:
    known = truth(nodule(), nodule(diameter_mm=6.0, lobe="left_lower"), emphysema=True)
    other = dataclasses.replace(known, true_probability=0.01, cancer=0)
    one, two = (patient_findings(patient, FINE, chest) for patient in (known, other))
    assert one.candidates.equals(two.candidates)
    assert one.regions.equals(two.regions)
    assert one.lungs == two.lungs


@pytest.mark.parametrize("diameter_mm", [6.0, 12.0, 25.0])
def test_size_is_that_of_the_ball(chest, diameter_mm) -> None:
    found = candidate(chest, diameter_mm=diameter_mm)
    assert found["diameter_mm"] == pytest.approx(diameter_mm, rel=0.1)
    assert found["probability"] == 1.0


def test_kinds_show_in_the_solid_share(chest) -> None:
    solid, part, glass = (
        candidate(chest, kind=kind)["solid_share"] for kind in ("solid", "part_solid", "ground_glass")
    )
    assert glass < 0.02 < 0.08 < part < 0.45 < 0.8 < solid


def test_spiculated_nodules_show_strands(chest) -> None:
    smooth, lobulated, spiculated = (
        candidate(chest, shape=shape)["spiculation"] for shape in ("round", "lobulated", "spiculated")
    )
    assert max(smooth, lobulated) < 0.03
    assert spiculated > 0.05


@pytest.mark.parametrize("lobe", LOBES)
def test_place_is_in_the_lobe(chest, lobe) -> None:
    found = candidate(chest, lobe=lobe, diameter_mm=8.0)
    assert found["lung"] == (1 if lobe.startswith("right") else 2)
    assert (found["relative_x"] < 0.5) == lobe.startswith("right")
    assert 0 <= found["relative_height"] <= 1
    assert found["pleura_mm"] >= 2.5


def test_nodule_on_the_pleura_touches_it(chest) -> None:
    assert candidate(chest, attachment="pleura")["pleura_mm"] < 2.0


def test_upper_lobes_lie_high_and_lungs_have_litres(chest) -> None:
    height = {lobe: float(places.relative_height.mean()) for lobe, places in chest.lobes.items()}
    assert set(height) == set(LOBES)
    assert min(height["right_upper"], height["left_upper"]) > 0.6
    assert max(height["right_lower"], height["left_lower"], height["right_middle"]) < 0.5
    assert 1.5 < chest.litres["left"] < chest.litres["right"] < 4.0


def test_emphysema_shows_and_nothing_found_is_an_empty_table(chest) -> None:
    plain, ill = (patient_findings(truth(emphysema=state), FINE, chest) for state in (False, True))
    assert plain.candidates.empty
    assert plain.candidates.columns.tolist() == CANDIDATE_COLUMNS
    assert plain.lungs["emphysema_share"] < 0.05 < ill.lungs["emphysema_share"] < 0.4
