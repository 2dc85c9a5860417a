"""The risk model against hand-worked odds, and the labels of a cohort drawn without images."""

import math
from dataclasses import replace

import numpy as np
import pytest

from nodules.scans.phantom import cohort, nodules, patient
from nodules.scans.phantom.nodules import Nodule
from nodules.scans.phantom.patient import PhantomParams, draw_truth
from support.small_cohort import SMALL

DEMO = PhantomParams(2017, 320, (0.75, 0.9), (2.0, 3.0), 60, 2, 0, 75, (4.0, 30.0), 0.1, (15.0, 50.0), 0.6)


def nodule(**changes):
    return Nodule(
        **(
            {"diameter_mm": 4.0, "kind": "solid", "shape": "round", "attachment": "isolated", "lobe": "left_lower"}
            | changes
        )
    )


def log_odds(probability):
    return math.log(probability / (1 - probability))


def test_reference_nodule_has_the_intercept():
    assert log_odds(patient.nodule_probability(nodule(), count=4, emphysema=False)) == pytest.approx(
        patient.INTERCEPT, abs=1e-6
    )


@pytest.mark.parametrize(
    ("changes", "count", "emphysema", "added"),
    [
        ({"diameter_mm": 10.0}, 4, False, 5.3854 * 0.58113883),
        ({"kind": "part_solid"}, 4, False, 0.3770),
        ({"kind": "ground_glass"}, 4, False, -0.1276),
        ({"lobe": "right_upper"}, 4, False, 0.6581),
        ({"shape": "spiculated"}, 4, False, 0.7729),
        ({}, 1, False, 0.2472),
        ({}, 4, True, 0.2953),
    ],
)
def test_each_term_adds_its_coefficient(changes, count, emphysema, added):
    probability = patient.nodule_probability(nodule(**changes), count=count, emphysema=emphysema)
    assert log_odds(probability) == pytest.approx(patient.INTERCEPT + added, abs=1e-6)


def test_patient_risk_is_that_of_at_least_one_cancer():
    one = patient.nodule_probability(nodule(), count=2, emphysema=False)
    assert patient.patient_probability([nodule(), nodule()], emphysema=False) == pytest.approx(1 - (1 - one) ** 2)


def test_patient_without_nodules_has_the_base_risk():
    assert patient.patient_probability([], emphysema=True) == patient.BASE_RISK


def test_labels_of_a_cohort_are_decisive_and_a_quarter_is_positive():
    truths = [draw_truth(index, "dsb", DEMO) for index in range(2000)]
    p = np.array([truth.true_probability for truth in truths])
    bayes = -np.mean(p * np.log(p) + (1 - p) * np.log(1 - p))
    assert abs(np.mean([truth.cancer for truth in truths]) - 0.25) < 0.03
    assert abs(p.mean() - 0.25) < 0.015
    assert 0.33 < bayes < 0.42  # the prior alone gives 0.562
    assert abs(np.mean([not truth.nodules for truth in truths]) - 0.1) < 0.03


def test_drawn_nodules_stay_in_range_and_are_mostly_small():
    drawn = [one for index in range(2000) for one in draw_truth(index, "luna", DEMO).nodules]
    diameters_mm = np.array([one.diameter_mm for one in drawn])
    assert ((diameters_mm >= 4) & (diameters_mm <= 30)).all()
    assert ((diameters_mm >= 5) & (diameters_mm <= 12)).mean() > 0.6
    assert 1.6 < len(drawn) / 2000 < 2.2
    assert {one.lobe for one in drawn} == set(nodules.LOBES)


def test_truth_without_an_image_is_that_of_the_rendered_patient():
    for index in range(2):
        _, truth = cohort.make_patient(index, "dsb", SMALL)
        drawn = draw_truth(index, "dsb", SMALL)
        assert [n.diameter_mm for n in drawn.nodules] == [n.diameter_mm for n in truth.nodules]
        assert (drawn.cancer, drawn.true_probability) == (truth.cancer, truth.true_probability)


def test_only_luna_patients_get_extra_nodules_and_only_those_that_have_any() -> None:
    more = replace(DEMO, luna_extra_nodules=4)
    plain, many = ([len(draw_truth(index, "luna", params).nodules) for index in range(300)] for params in (DEMO, more))
    assert [count == 0 for count in plain] == [count == 0 for count in many]
    gained = np.array(many)[np.array(plain) > 0].mean() - np.array(plain)[np.array(plain) > 0].mean()
    assert gained == pytest.approx(2.0, abs=0.3)  # uniform on 0..4, about 270 patients: standard error 0.09
    for index in range(20):
        assert draw_truth(index, "dsb", DEMO) == draw_truth(index, "dsb", more)
