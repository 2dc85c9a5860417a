"""The risk of hand-made nodules against the published coefficients."""

import math

import numpy as np
import pandas as pd
import pytest

from nodules.imaging.features.brock import add_cancer_probability, emphysema_degree, noisy_or, upper_lobe


def candidates(**changes) -> pd.DataFrame:
    """One smooth solid nodule of 4 mm at the bottom of the left lung's back."""
    nodule = {"probability": 1.0, "diameter_mm": 4.0, "solid_share": 0.9, "spiculation": 0.0}
    nodule |= {"lung": 2, "relative_height": 0.1, "relative_y": 0.9}
    return pd.DataFrame([nodule | changes])


def log_odds(table: pd.DataFrame, emphysema: float = 0.0) -> float:
    p = add_cancer_probability(table, emphysema)["brock_probability"].iloc[0]
    return math.log(p / (1 - p))


ONE_NODULE = -6.7892 + 3 * 0.0824


def test_smooth_solid_nodule_of_4_mm_has_the_intercept_and_the_count() -> None:
    assert log_odds(candidates()) == pytest.approx(ONE_NODULE)


@pytest.mark.parametrize(
    ("changes", "emphysema", "added"),
    [
        ({"diameter_mm": 10.0}, 0.0, 5.3854 * 0.58113883),
        ({"diameter_mm": 0.0}, 0.0, -5.3854 * (math.sqrt(10) - 1.58113883)),  # as one of 1 mm
        ({"solid_share": 0.0}, 0.0, -0.1276),
        ({"solid_share": 0.2}, 0.0, 0.3770),
        ({"relative_height": 0.95}, 0.0, 0.6581),
        ({"spiculation": 0.3}, 0.0, 0.7729),
        ({}, 1.0, 0.2953),
        ({"probability": 0.5}, 0.0, 0.5 * 0.0824),
    ],
)
def test_each_term_adds_its_published_coefficient(changes, emphysema, added) -> None:
    assert log_odds(candidates(**changes), emphysema) == pytest.approx(ONE_NODULE + added, abs=1e-6)


def test_probability_of_being_a_nodule_multiplies() -> None:
    table = add_cancer_probability(candidates(probability=0.25), 0.0)
    assert table["cancer_probability"].iloc[0] == pytest.approx(0.25 * table["brock_probability"].iloc[0])


def test_no_candidates() -> None:
    found = add_cancer_probability(candidates().head(0), 0.5)
    assert found.empty
    assert {"upper_lobe", "brock_probability", "cancer_probability"} <= set(found.columns)


def test_noisy_or() -> None:
    assert noisy_or([]) == pytest.approx(0.01)
    assert noisy_or([0.5, 0.2]) == pytest.approx(1 - 0.99 * 0.5 * 0.8)
    assert noisy_or([1.0, 0.0]) == 1.0
    assert noisy_or([], leak=0.0) == 0.0
    assert noisy_or([0.5, 0.2], leak=0.0) == pytest.approx(1 - 0.5 * 0.8)


@pytest.mark.parametrize(("share", "wanted"), [(0.0, 0.0), (0.02, 0.0), (0.06, 0.5), (0.1, 1.0), (0.4, 1.0)])
def test_emphysema_grows_between_its_limits(share, wanted) -> None:
    assert emphysema_degree(share) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("height", "y", "lung", "wanted"),
    [
        (0.9, 0.5, 1, 1.0),
        (0.5, 0.5, 1, 0.5),  # the horizontal fissure
        (0.5, 0.5, 2, 0.5),  # 0.15 + 0.7 * 0.5
        (0.3, 0.0, 1, 0.0),  # the middle lobe
        (0.3, 0.0, 2, 1.0),  # the lingula
        (0.7, 1.0, 2, 0.0),  # the top of the lower lobe: below 0.85 - 0.1
        (0.8, 1.0, 2, 0.25),
    ],
)
def test_upper_lobe_by_hand(height, y, lung, wanted) -> None:
    assert upper_lobe(height, y, lung) == pytest.approx(wanted)
    np.testing.assert_allclose(upper_lobe([height, 1.0], [y, 0.5], [lung, lung]), [wanted, 1.0])
