"""Calibration of probabilities that were distorted on purpose."""

import json

import numpy as np
import pytest
from scipy.special import expit, logit

from nodules.models.cancer.calibration import KINDS, Calibration, choose_calibration, fit_kind


def true_probabilities(patients=4000, seed=0):
    rng = np.random.default_rng(seed)
    probabilities = rng.uniform(0.02, 0.98, patients)
    return probabilities, (rng.random(patients) < probabilities).astype(int)


def loss(truth, probabilities):
    return -np.mean(np.where(truth == 1, np.log(probabilities), np.log(1 - probabilities)))


def test_true_probabilities_are_left_alone():
    probabilities, truth = true_probabilities()
    assert choose_calibration(truth, probabilities, 0)[0].kind == "none"


def test_overconfidence_is_repaired_by_platt():
    probabilities, truth = true_probabilities(20_000)
    distorted = expit(3 * logit(probabilities) + 1)
    calibration = choose_calibration(truth, distorted, 0)[0]
    assert calibration.kind == "platt"
    # The inverse of the distortion, log-odds / 3 - 1/3.
    assert (calibration.slope, calibration.intercept) == pytest.approx((1 / 3, -1 / 3), abs=0.05)
    fresh, others = true_probabilities(seed=1)
    repaired = calibration.of(expit(3 * logit(fresh) + 1))
    assert loss(others, expit(3 * logit(fresh) + 1)) > loss(others, fresh) + 0.1
    assert loss(others, repaired) < loss(others, fresh) + 0.003


def test_a_bend_that_no_line_undoes_is_repaired_by_isotonic():
    probabilities, truth = true_probabilities()
    bent = np.where(probabilities < 0.5, probabilities / 10, 0.9 + probabilities / 10)
    calibration = choose_calibration(truth, bent, 0)[0]
    assert calibration.kind == "isotonic"
    assert loss(truth, calibration.of(bent)) < loss(truth, probabilities) + 0.005


def test_predictions_that_lean_away_from_the_labels_are_laid_flat():
    probabilities, truth = true_probabilities(500)
    calibration = fit_kind("platt", truth, 1 - probabilities)
    assert calibration.slope == 0
    assert calibration.of([0.1, 0.9]) == pytest.approx([truth.mean()] * 2, abs=0.01)


def test_chance_gives_no_skill():
    rng = np.random.default_rng(0)
    truth = (np.arange(300) % 4 == 0).astype(int)
    prior = loss(truth, np.full(300, 0.25))
    losses = [
        choose_calibration(rng.permutation(truth), rng.uniform(0.2, 0.3, 300), seed)[1].mean() for seed in range(20)
    ]
    assert np.mean(losses) > prior


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_impossible_and_nothing_certain(kind):
    truth = np.repeat([0, 1], 50)
    calibration = fit_kind(kind, truth, truth.astype(float))
    probabilities = calibration.of([0.0, 0.3, 1.0])
    assert (np.diff(probabilities) >= 0).all()
    assert 0 < probabilities[0] < 0.05
    assert 0.95 < probabilities[-1] < 1
    assert probabilities[0] >= 1 / 202


def test_few_patients_are_not_calibrated():
    truth = np.repeat([0, 1], [50, 9])
    calibration, losses = choose_calibration(truth, np.where(truth == 1, 0.1, 0.9), 0)
    assert calibration.kind == "none"
    assert losses == pytest.approx(-np.log(0.1))


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip_by_json(kind):
    probabilities, truth = true_probabilities(200)
    calibration = fit_kind(kind, truth, probabilities)
    read = Calibration.from_json(json.loads(json.dumps(calibration.to_json())))
    assert read == calibration
    np.testing.assert_array_equal(read.of(probabilities), calibration.of(probabilities))


@pytest.mark.parametrize(
    "described",
    [
        {},
        {"kind": "beta", "floor": 0.01},
        {"kind": "none"},
        {"kind": "none", "floor": 0.0},
        {"kind": "none", "floor": "low"},
        {"kind": "platt", "floor": 0.01, "slope": -1.0},
        {"kind": "platt", "floor": 0.01, "slope": float("nan")},
        {"kind": "platt", "floor": 0.01, "intercept": float("inf")},
        {"kind": "isotonic", "floor": 0.01},
        {"kind": "isotonic", "floor": 0.01, "stated": [0.1, 0.5], "calibrated": [0.1]},
        {"kind": "isotonic", "floor": 0.01, "stated": [0.1, 0.5], "calibrated": [0.6, 0.2]},
        ["platt"],
    ],
)
def test_what_is_no_calibration_is_refused(described):
    with pytest.raises(ValueError, match="a calibration must"):
        Calibration.from_json(described)
