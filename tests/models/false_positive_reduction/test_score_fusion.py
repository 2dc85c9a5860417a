"""The logistic regression behind the final probability, against its own equations."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from nodules.models.false_positive_reduction import score_fusion
from nodules.models.false_positive_reduction.score_fusion import IDENTITY, INVERSE_RIDGE, Fusion

TABLE = pd.DataFrame(
    {"mean_probability": [0.5, 1.0, 0.0], "max_probability": [0.75, 1.0, 0.0], "diameter_mm": [np.e, 0.2, 1.0]}
)


def test_evidence_by_hand():
    rows = score_fusion.evidence([2.0, -3.0, 0.0], TABLE)
    edge = np.log(509)  # 1 - 1 / 510 against 1 / 510
    np.testing.assert_allclose(rows, [[2, 0, np.log(3), 1], [-3, edge, edge, 0], [0, -edge, -edge, 0]], atol=1e-9)


def test_probability_by_hand():
    combine = Fusion((1.0, 0.5, 0.0, -2.0), 0.25)
    rows = np.array([[0.5, 1.0, 9.0, 0.5], [0.0, 0.0, 0.0, 0.0]])
    expected = [1 / (1 + np.exp(-(0.5 + 0.5 - 1.0 + 0.25))), 1 / (1 + np.exp(-0.25))]
    assert combine.probability(rows) == pytest.approx(expected, abs=1e-12)
    assert IDENTITY.probability(rows) == pytest.approx([1 / (1 + np.exp(-0.5)), 0.5], abs=1e-12)


def example(count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    is_nodule = random.random(count) < 0.3
    rows = random.normal(0, 1, (count, 4)) * [3.0, 1.0, 1.0, 0.5] + [0.0, 2.0, 3.0, 1.5]
    rows[:, 0] += 4 * is_nodule
    return rows, is_nodule


def test_fit_is_the_penalised_maximum_likelihood_of_standardised_numbers():
    rows, is_nodule = example()
    standard = (rows - rows.mean(axis=0)) / rows.std(axis=0)

    def loss(numbers: np.ndarray) -> float:
        log_odds = standard @ numbers[:4] + numbers[4]
        return np.logaddexp(0, -np.where(is_nodule, 1, -1) * log_odds).sum() + (numbers[:4] ** 2).sum() / (
            2 * INVERSE_RIDGE
        )

    best = minimize(loss, np.zeros(5), tol=1e-10).x
    expected = 1 / (1 + np.exp(-(standard @ best[:4] + best[4])))
    assert score_fusion.fit(rows, is_nodule).probability(rows) == pytest.approx(expected, abs=1e-3)


def test_fitted_probabilities_add_up_to_the_nodules():
    rows, is_nodule = example()
    assert score_fusion.fit(rows, is_nodule).probability(rows).sum() == pytest.approx(is_nodule.sum(), abs=0.01)


@pytest.mark.parametrize("truth", [True, False])
def test_one_kind_alone_leaves_the_network_its_answer(truth):
    rows, _ = example()
    assert score_fusion.fit(rows, np.full(len(rows), truth)) == IDENTITY
    assert score_fusion.fit(rows[:0], np.empty(0, bool)) == IDENTITY


def test_patients_are_judged_by_the_others_alone():
    rows, is_nodule = example()
    patients = [f"p{number % 3}" for number in range(len(rows))]
    judged = score_fusion.out_of_fold(rows, is_nodule, patients)
    for patient in set(patients):
        own = np.array(patients) == patient
        np.testing.assert_allclose(judged[own], score_fusion.fit(rows[~own], is_nodule[~own]).probability(rows[own]))


def test_fit_and_judge_names_what_each_area_is_of():
    rows, is_nodule = example()
    patients = [f"p{number % 3}" for number in range(len(rows))]
    table = pd.DataFrame(
        {
            "mean_probability": 1 / (1 + np.exp(-rows[:, 1])),
            "max_probability": 1 / (1 + np.exp(-rows[:, 2])),
            "diameter_mm": np.exp(rows[:, 3]),
        }
    )
    evidence = score_fusion.evidence(rows[:, 0], table)
    combine, areas = score_fusion.fit_and_evaluate(rows[:, 0], table, is_nodule, patients)
    assert combine == score_fusion.fit(evidence, is_nodule)
    assert areas == {
        "auc_before": score_fusion.auc(is_nodule, table["mean_probability"]),
        "auc_network": score_fusion.auc(is_nodule, rows[:, 0]),
        "auc_after": score_fusion.auc(is_nodule, score_fusion.out_of_fold(evidence, is_nodule, patients)),
    }
    assert areas["auc_before"] < areas["auc_network"]
    assert list(combine.by_name().values()) == [*combine.weights, combine.intercept]
    assert list(combine.by_name()) == ["network", "mean_probability", "max_probability", "diameter", "intercept"]


def test_without_other_patients_nothing_is_fitted():
    rows, is_nodule = example()
    single = score_fusion.out_of_fold(rows, is_nodule, ["p"] * len(rows))
    np.testing.assert_array_equal(single, IDENTITY.probability(rows))
    assert score_fusion.out_of_fold(rows[:0], is_nodule[:0], []).shape == (0,)


def test_area_under_the_curve():
    truth = np.array([True, False, True, False])
    assert score_fusion.auc(truth, [0.9, 0.8, 0.7, 0.1]) == pytest.approx(0.75)  # 3 of the 4 pairs stand right
    assert score_fusion.auc(truth, [0.5] * 4) == pytest.approx(0.5)
    assert score_fusion.auc(np.array([True, True]), [0.1, 0.2]) is None
    assert score_fusion.auc(np.empty(0, bool), []) is None


def test_a_weight_of_two_is_a_proposal_given_twice():
    random = np.random.default_rng(3)
    rows, truth = random.normal(size=(40, 4)), random.random(40) < 0.5
    twice = np.concatenate([rows, rows[truth]]), np.concatenate([truth, truth[truth]])
    weighted = score_fusion.fit(rows, truth, np.where(truth, 2.0, 1.0))
    # only the scale of the inputs, on which the penalty depends, differs a little
    assert weighted.weights == pytest.approx(score_fusion.fit(*twice).weights, abs=0.1)
    assert score_fusion.fit(rows, truth, np.ones(40)) == score_fusion.fit(rows, truth)
