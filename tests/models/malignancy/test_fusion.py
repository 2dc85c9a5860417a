import numpy as np
import pytest

from nodules.models.malignancy.fusion import LIMITS, Fusion, fit
from nodules.models.malignancy.network import TARGETS


def outputs(count: int = 400, seed: int = 1):
    """Overconfident first outputs, noise in the others, and diameters that tell more."""
    random = np.random.default_rng(seed)
    malignant = random.integers(2, size=count).astype(float)
    found = random.normal(0, 1, (count, len(TARGETS)))
    found[:, 0] = 5 * random.normal(malignant - 0.5, 0.8) + 2
    return found, malignant, np.exp(random.normal(2 + 0.4 * malignant, 0.4))


def brier(probability, malignant) -> float:
    return float(np.mean((probability - malignant) ** 2))


def test_fitted_probabilities_agree_with_the_labels():
    found, malignant, _ = outputs()
    probability = fit(found, malignant).probability(found)
    assert probability.mean() == pytest.approx(malignant.mean(), abs=0.01)
    sure = probability > 0.7
    assert malignant[sure].mean() == pytest.approx(probability[sure].mean(), abs=0.08)


def test_the_diameter_helps_where_it_tells_more():
    found, malignant, diameters_mm = outputs()
    without = fit(found, malignant).probability(found)
    fused = fit(found, malignant, diameters_mm)
    assert fused.diameter_weight > 0.5
    assert brier(fused.probability(found, diameters_mm), malignant) < brier(without, malignant) - 0.01


def test_unit_of_an_input_does_not_matter():
    found, malignant, diameters_mm = outputs()
    scaled = found * 10.0 ** np.arange(len(TARGETS)) / 1000
    np.testing.assert_allclose(
        fit(scaled, malignant, 0.1 * diameters_mm).probability(scaled, 0.1 * diameters_mm),
        fit(found, malignant, diameters_mm).probability(found, diameters_mm),
        atol=1e-4,
    )


def test_nodules_that_do_not_count_have_no_influence():
    found, malignant, _ = outputs()
    malignant[::5] = np.nan
    other = np.where(np.isnan(malignant)[:, None], 99.0, found)
    assert fit(other, malignant) == fit(found, malignant)


def test_probability_is_a_weighted_sum_within_limits():
    fusion = Fusion((2.0, *(0.0 for _ in TARGETS[1:])), 3.0, -1.0)
    found = np.zeros((3, len(TARGETS)))
    found[:, 0] = [0.5, 99.0, -99.0]
    expected = 1 / (1 + np.exp(-(1.0 + 3 * np.log(2) - 1)))
    np.testing.assert_allclose(fusion.probability(found, [2.0, 2.0, 2.0]), [expected, LIMITS[1], LIMITS[0]])


def test_diameters_are_needed_if_they_are_weighted():
    with pytest.raises(ValueError, match="expected 1 positive numbers"):
        Fusion((0.0,) * len(TARGETS), 1.0, 0.0).probability(np.zeros((1, len(TARGETS))))


def test_one_label_cannot_be_fitted():
    found, malignant, _ = outputs(20)
    with pytest.raises(ValueError, match="class"):
        fit(found, np.ones_like(malignant))
