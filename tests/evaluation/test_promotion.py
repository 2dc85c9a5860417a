"""A new model takes over only with skill, and only if it is not worse on the patients that both have seen."""

import math

import pandas as pd
import pytest

from nodules.evaluation.promotion import Skill, decide

SKILLED, IDS, LABELS = Skill(0.2, 0.05, 0.3), ["a", "b", "c", "d"], [1, 0, 0, 1]


def predictions(probabilities, ids=IDS, labels=LABELS):
    return pd.DataFrame({"id": ids, "label": labels, "probability": probabilities})


GOOD, POOR = predictions([0.8, 0.2, 0.2, 0.8]), predictions([0.6, 0.4, 0.4, 0.6])


def test_the_first_model_with_skill_is_champion():
    decision = decide(SKILLED, GOOD, None)
    assert decision.alias == "champion"
    assert "no earlier champion" in decision.reason


@pytest.mark.parametrize("low", [0.0, -0.1, math.nan])
def test_while_there_is_no_champion_a_positive_skill_is_enough_and_nothing_is_called_proven(low):
    decision = decide(Skill(0.2, low, 0.4), GOOD, None)
    assert decision.alias == "champion"
    assert "nothing is proven" in decision.reason
    assert f"0.200 (95 %: {low:.3f} to 0.400)" in decision.reason


@pytest.mark.parametrize("value", [0.0, -0.1, math.nan])
def test_without_skill_nobody_is_champion(value):
    decision = decide(Skill(value, -0.2, 0.4), GOOD, None)
    assert decision.alias == "challenger"
    assert "not shown to lie above 0" in decision.reason


@pytest.mark.parametrize("left", [POOR, None])
def test_a_champion_is_replaced_only_by_a_proven_skill(left):
    decision = decide(Skill(0.2, -0.1, 0.4), GOOD, left, "version 3")
    assert decision.alias == "challenger"
    assert "not shown to lie above 0" in decision.reason


def test_better_model_takes_over_and_says_both_losses():
    decision = decide(SKILLED, GOOD, POOR, "version 3")
    assert decision.alias == "champion"
    assert "0.2231, of version 3 0.5108, on the same 4 patients" in decision.reason  # -ln 0.8, -ln 0.6


def test_worse_model_does_not():
    decision = decide(SKILLED, POOR, GOOD, "version 3")
    assert decision.alias == "challenger"
    assert "worse than the champion: log-loss 0.5108, of version 3 0.2231" in decision.reason


def test_equal_model_takes_over():
    assert decide(SKILLED, GOOD, GOOD, "version 3").alias == "champion"


def test_only_common_patients_count():
    """The new model is better on b and c, which the champion knows, and hopeless on its own two."""
    new = predictions([0.0, 0.1, 0.1, 0.0], ids=["x", "b", "c", "y"])
    decision = decide(SKILLED, new, POOR, "version 3")
    assert decision.alias == "champion"
    assert "same 2 patients" in decision.reason


def test_patients_are_weighed_alike_whatever_their_repeats():
    """Patient a three times as good as b is poor: each counts once."""
    new = predictions([0.9, 0.9, 0.9, 0.9], ids=["a", "a", "a", "b"], labels=[1, 1, 1, 0])
    old = predictions([0.5, 0.5], ids=["a", "b"], labels=[1, 0])
    decision = decide(SKILLED, new, old, "version 3")
    assert decision.alias == "challenger"
    assert f"{-(math.log(0.9) + math.log(0.1)) / 2:.4f}" in decision.reason


@pytest.mark.parametrize(
    "champion",
    [predictions([0.9] * 4, ids=["w", "x", "y", "z"]), predictions([0.9, 0.1, 0.1, 0.9], labels=[0, 1, 1, 0])],
    ids=["other ids", "the same ids with other labels"],
)
def test_other_patients_are_not_compared(champion):
    decision = decide(SKILLED, POOR, champion, "version 3")
    assert decision.alias == "champion"
    assert "other patients" in decision.reason


def test_numbers_as_ids_are_the_same_as_words():
    assert (
        "same 4 patients"
        in decide(SKILLED, GOOD.assign(id=[1, 2, 3, 4]), POOR.assign(id=list("1234")), "version 3").reason
    )


def test_certain_and_wrong_is_finite():
    assert decide(SKILLED, predictions([0.0, 1.0, 1.0, 0.0]), GOOD, "version 3").alias == "challenger"


def test_missing_column_is_named():
    with pytest.raises(ValueError, match="'probability'"):
        decide(SKILLED, GOOD.drop(columns="probability"), POOR, "version 3")


def test_champion_without_predictions_is_not_compared():
    decision = decide(SKILLED, POOR, None, "version 3")
    assert decision.alias == "champion"
    assert "version 3 left no predictions" in decision.reason
