"""Figures of repeated validation against those of scikit-learn and against hand-made cases; intervals that cover."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from nodules.evaluation.bootstrap import (
    Predicted,
    by_model,
    evaluate_repeated,
    from_table,
    grouped_metrics,
    mean_interval,
)
from nodules.evaluation.cancer import classification_metrics, expected_calibration_error

RANDOM = np.random.default_rng(7)
LABELS = RANDOM.integers(2, size=60)
PROBABILITIES = np.clip(LABELS[:, np.newaxis] * 0.3 + RANDOM.random((60, 3)).round(1) * 0.7, 0, 1)  # rounded: many ties


def figures(labels, models, **how):
    return by_model(evaluate_repeated(labels, models, **how))


def test_one_repeat_is_the_plain_metrics():
    found = figures(LABELS, {"m": Predicted(PROBABILITIES[:, :1])}, draws=0)["m"]
    plain = classification_metrics(LABELS, PROBABILITIES[:, 0])
    assert set(found) == set(plain) - {"patients", "positives"}
    assert found == pytest.approx({name: plain[name] for name in found})


def test_repeats_are_judged_one_by_one_and_then_averaged():
    found = figures(LABELS, {"m": Predicted(PROBABILITIES)}, draws=0)["m"]
    for name in ("log_loss", "auc", "f1", "ece"):
        assert found[name] == pytest.approx(np.mean([classification_metrics(LABELS, c)[name] for c in PROBABILITIES.T]))


def test_a_drawn_patient_counts_as_often_as_it_was_drawn():
    """Every figure of a draw is that of scikit-learn on the patients written out."""
    from nodules.evaluation.bootstrap import _averaged_metrics, _bootstrap_counts

    (counts,) = _bootstrap_counts(60, 5, seed=3)
    drawn = _averaged_metrics(LABELS, Predicted(PROBABILITIES[:, :1], np.full((60, 1), 0.35)), counts)
    for row, times in enumerate(counts.astype(int)):
        truth, probability = np.repeat(LABELS, times), np.repeat(PROBABILITIES[:, 0], times)
        assert times.sum() == 60
        assert drawn["auc"][row] == pytest.approx(metrics.roc_auc_score(truth, probability))
        assert drawn["brier"][row] == pytest.approx(metrics.brier_score_loss(truth, probability))
        assert drawn["f1_tuned"][row] == pytest.approx(metrics.f1_score(truth, probability >= 0.35))
        assert drawn["precision"][row] == pytest.approx(metrics.precision_score(truth, probability >= 0.5))
        assert drawn["ece"][row] == pytest.approx(expected_calibration_error(truth, probability))
        plain = classification_metrics(truth, probability)
        assert drawn["skill"][row] == pytest.approx(plain["skill"])


def test_chunks_of_draws_do_not_change_the_numbers(monkeypatch):
    whole = evaluate_repeated(LABELS, {"m": Predicted(PROBABILITIES)}, draws=50, seed=1)
    monkeypatch.setattr("nodules.evaluation.bootstrap._CHUNK", 60 * 7)
    pd.testing.assert_frame_equal(evaluate_repeated(LABELS, {"m": Predicted(PROBABILITIES)}, draws=50, seed=1), whole)


def test_interval_of_a_share_is_that_of_the_binomial():
    """Recall of 50 found among 100 with cancer: standard error sqrt(0.25 / 100), a little more as 100 itself varies."""
    labels, found = np.repeat([1, 0], 100), np.tile([1.0, 0.0], 100)
    recall = figures(labels, {"m": Predicted(found[:, np.newaxis])}, draws=4000)["m"]
    assert recall["recall"] == 0.5
    assert recall["recall_low"] == pytest.approx(0.5 - 1.96 * 0.05, abs=0.012)
    assert recall["recall_high"] == pytest.approx(0.5 + 1.96 * 0.05, abs=0.012)


def test_models_are_judged_on_the_same_draws():
    table = evaluate_repeated(
        LABELS, {"a": Predicted(PROBABILITIES), "b": Predicted(PROBABILITIES.copy())}, draws=20
    ).set_index("model")
    columns = ["value", "low", "high"]
    np.testing.assert_array_equal(table.loc["a", columns].to_numpy(), table.loc["b", columns].to_numpy())


def test_seed_decides():
    first, again, other = (
        evaluate_repeated(LABELS, {"m": Predicted(PROBABILITIES)}, draws=20, seed=seed)["low"] for seed in (1, 1, 2)
    )
    assert first.equals(again)
    assert not first.equals(other)


def test_threshold_of_each_patient_counts():
    found = figures([1, 1, 0], {"m": Predicted(np.array([[0.3], [0.3], [0.3]]), np.array([[0.2], [0.4], [0.4]]))})["m"]
    assert (found["precision_tuned"], found["recall_tuned"], found["recall"]) == (1.0, 0.5, 0.0)


def test_one_class_has_no_skill_nor_auc():
    found = figures([0, 0, 0], {"m": Predicted(np.full((3, 1), 0.2))}, draws=10)["m"]
    assert not {"skill", "auc", "skill_low", "auc_high"} & set(found)
    assert found["log_loss"] == pytest.approx(-np.log(0.8))


def test_certain_and_wrong_is_the_tutorials_figure():
    labels = np.repeat([1, 0], [107, 463])
    found = figures(labels, {"all_positive": Predicted(np.ones((570, 1)))}, draws=0)["all_positive"]
    assert found["log_loss"] == pytest.approx(28.06, abs=0.005)


def test_constant_probability_has_an_auc_of_a_half():
    assert figures(LABELS, {"prior": Predicted(np.full((60, 2), 0.4))}, draws=5)["prior"]["auc_high"] == 0.5


@pytest.mark.parametrize(
    ("labels", "predicted", "message"),
    [
        ([], Predicted(np.empty((0, 1))), "at least one"),
        ([0, 2], Predicted(np.full((2, 1), 0.5)), "0 and 1"),
        ([0, 1], Predicted(np.full(2, 0.5)), "by repeat"),
        ([0, 1], Predicted(np.full((3, 1), 0.5)), "2 patients"),
        ([0, 1], Predicted(np.array([[0.5], [np.nan]])), r"\[0, 1\]"),
        ([0, 1], Predicted(np.array([[0.5], [1.5]])), r"\[0, 1\]"),
        ([0, 1], Predicted(np.full((2, 1), 0.5), np.full((2, 2), 0.5)), "threshold for each"),
    ],
)
def test_wrong_tables_are_refused(labels, predicted, message):
    with pytest.raises(ValueError, match=message):
        evaluate_repeated(np.array(labels), {"m": predicted})


def test_long_table_becomes_patients_by_repeats():
    table = pd.DataFrame(
        {
            "id": ["b", "a", "a", "b"],
            "repeat": [0, 0, 1, 1],
            "label": [1, 0, 0, 1],
            "threshold": [0.1, 0.2, 0.3, 0.4],
            "chosen": [0.9, 0.2, 0.3, 0.8],
            "prior": [0.5, 0.5, 0.5, 0.5],
        }
    )
    labels, models = from_table(table, ["chosen", "prior"], tuned="chosen")
    assert labels.to_dict() == {"a": 0, "b": 1}
    np.testing.assert_array_equal(models["chosen"].probabilities, [[0.2, 0.3], [0.9, 0.8]])
    np.testing.assert_array_equal(models["chosen"].thresholds, [[0.2, 0.3], [0.1, 0.4]])
    assert models["prior"].thresholds is None


def test_a_hundred_thousand_patients_fit_into_memory():
    labels = RANDOM.integers(2, size=100_000)
    found = figures(labels, {"m": Predicted(RANDOM.random((100_000, 1)))}, draws=60)["m"]
    assert found["auc_low"] < 0.5 < found["auc_high"]
    assert found["auc_high"] - found["auc_low"] < 0.02


def test_interval_of_a_mean_draws_patients():
    """With two patients there are three means, and the extreme ones have a chance of a quarter each."""
    values, patients = np.array([0.0, 0.0, 0.0, 1.0]), ["a", "a", "a", "b"]
    assert mean_interval(values, patients) == (0.0, 1.0)
    assert mean_interval(values[::-1], patients[::-1]) == (0.0, 1.0)
    assert mean_interval(values, ["a"] * 4) == (0.25, 0.25)


def test_interval_of_a_mean_of_many_patients_is_that_of_the_normal_distribution():
    values = RANDOM.normal(5.0, 2.0, 1000)
    low, high = mean_interval(values, np.arange(1000))
    assert [low, high] == pytest.approx(values.mean() + np.array([-1.96, 1.96]) * 2 / np.sqrt(1000), abs=0.02)


def test_metrics_of_nodules_are_the_plain_ones():
    found = grouped_metrics(LABELS, PROBABILITIES[:, 0], np.arange(60), draws=0)
    plain = classification_metrics(LABELS, PROBABILITIES[:, 0])
    assert set(found) == {"auc", "ece", "brier", "log_loss", "prior_log_loss", "skill"}
    assert found == pytest.approx({name: plain[name] for name in found})


def test_intervals_of_nodules_are_as_wide_as_their_patients_are_few():
    """Each nodule four times: with patients of four equal nodules, the intervals are those of one nodule each."""
    labels, probabilities = np.repeat(LABELS, 4), np.repeat(PROBABILITIES[:, 0], 4)
    alone = grouped_metrics(LABELS, PROBABILITIES[:, 0], np.arange(60))
    together = grouped_metrics(labels, probabilities, np.repeat(np.arange(60), 4))
    assert together == pytest.approx(alone)
    too_narrow = grouped_metrics(labels, probabilities, np.arange(240))
    assert too_narrow["auc_high"] - too_narrow["auc_low"] < 0.7 * (alone["auc_high"] - alone["auc_low"])
    assert alone["auc_low"] < alone["auc"] < alone["auc_high"]


def test_patients_with_more_nodules_weigh_more():
    """Two patients, three nodules: drawing one patient twice gives the metrics of that patient's nodules alone."""
    found = grouped_metrics([1, 1, 0], np.array([0.9, 0.9, 0.4]), ["a", "a", "b"], draws=500)
    assert found["brier"] == pytest.approx((0.01 + 0.01 + 0.16) / 3)
    assert (found["brier_low"], found["brier_high"]) == pytest.approx((0.01, 0.16))


@pytest.mark.parametrize("labels", [[], [0, 2, 1], [[0, 1, 1]]])
def test_labels_of_nodules_are_checked(labels):
    with pytest.raises(ValueError, match="expected a 1-D array of 0 and 1"):
        grouped_metrics(labels, np.array([0.1, 0.2, 0.3]), ["a", "b", "c"])


def test_only_one_label_has_no_auc():
    found = grouped_metrics([1, 1], np.array([0.8, 0.9]), ["a", "b"])
    assert "auc" not in found
    assert found["log_loss"] > 0
