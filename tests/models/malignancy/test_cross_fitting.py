import numpy as np
import pytest

from nodules.models.malignancy import cross_fitting
from nodules.models.malignancy.cross_fitting import PROBABILITIES, OutOfFold, calibrate, cross_fit
from nodules.models.malignancy.network import TARGETS
from support.rated_cubes import PARAMS, rated_balls

FOLDS = np.array([0, 1, 2, 0, 1, 2, 2, 2])


def answer(networks, settings, hu) -> np.ndarray:
    """Stands for the outputs: the number of nodules that the networks were trained on."""
    assert hu.shape[1] in (PARAMS.cube.size_px, PARAMS.cube.size_px + 2)
    return np.full((len(hu), len(TARGETS)), float(networks[0]))


@pytest.fixture
def trainings(monkeypatch) -> list[int]:
    """Seeds of the trainings."""
    seeds: list[int] = []

    def train(cubes, params, *, seed, log_epoch):
        seeds.append(seed)
        return [len(cubes.targets)]

    monkeypatch.setattr(cross_fitting, "train", train)
    monkeypatch.setattr(cross_fitting, "mean_log_odds", answer)
    return seeds


def test_each_fold_is_rated_by_networks_that_have_not_seen_it(trainings, tmp_path):
    found = cross_fit(rated_balls(8), FOLDS, PARAMS, seed=1, work=tmp_path)
    expected = np.array([6, 6, 4])[FOLDS]
    np.testing.assert_array_equal(found.centred[:, 0], expected)
    np.testing.assert_array_equal(found.off_centre[:, 0], expected)
    assert len(set(trainings)) == 3


def test_finished_folds_are_kept(trainings, tmp_path):
    whole = cross_fit(rated_balls(8), FOLDS, PARAMS, seed=1, work=tmp_path / "a")
    (tmp_path / "a" / "log_odds_1.npy").unlink()
    again = cross_fit(rated_balls(8), FOLDS, PARAMS, seed=1, work=tmp_path / "a")
    np.testing.assert_array_equal(again.centred, whole.centred)
    assert len(trainings) == 4
    assert trainings[3] == trainings[1], "with the seed of its fold"


def test_places_beside_the_centre_are_shifted_by_the_margin(tmp_path, monkeypatch):
    seen = []

    def looks(networks, settings, hu):
        seen.append(hu)
        return np.zeros((len(hu), len(TARGETS)))

    monkeypatch.setattr(cross_fitting, "train", lambda *_, **__: [])
    monkeypatch.setattr(cross_fitting, "mean_log_odds", looks)
    cubes = rated_balls(8)
    cross_fit(cubes, np.zeros(8, int), PARAMS, seed=1, work=tmp_path)
    centred, beside = seen
    assert centred.shape[1] == beside.shape[1] + 2
    centres = [np.argwhere(hu > 0).mean(axis=0) - (hu.shape[0] - 1) / 2 for hu in beside]
    np.testing.assert_allclose(np.abs(centres), 1)
    assert len({tuple(np.sign(centre)) for centre in centres}) > 2


def fabricated(seed: int = 0):
    """Outputs that are too sure and too high, labels, diameters without information, and folds."""
    random = np.random.default_rng(seed)
    malignant = random.integers(2, size=400).astype(float)
    centred = random.normal(0, 1, (400, len(TARGETS)))
    centred[:, 0] = 3 * (random.normal(malignant * 2 - 1, 1.2) * 1.4 + 1)
    shift = np.eye(len(TARGETS))[0]
    return OutOfFold(centred, centred - shift), malignant, random.uniform(4, 20, 400), np.arange(400) % 5


def test_calibrated_probabilities_agree_with_the_labels():
    outputs, malignant, diameters_mm, folds = fabricated()
    fusions, found = calibrate(outputs, malignant, diameters_mm, folds, seed=1)
    assert set(found) == set(PROBABILITIES)
    assert found["centred"].mean() == pytest.approx(malignant.mean(), abs=0.01)
    sure = found["centred"] > 0.8
    assert malignant[sure].mean() == pytest.approx(found["centred"][sure].mean(), abs=0.06)
    assert found["off_centre"].mean() < found["centred"].mean(), "what is off centre has no fusion of its own"
    assert np.abs(fusions.by_centre.probability(outputs.centred) - found["centred"]).mean() < 0.05


def test_a_fold_does_not_calibrate_itself():
    outputs, malignant, diameters_mm, folds = fabricated()
    other = np.where(folds == 2, 1 - malignant, malignant)
    _, there = calibrate(outputs, malignant, diameters_mm, folds, seed=1)
    _, here = calibrate(outputs, other, diameters_mm, folds, seed=1)
    for name in PROBABILITIES:
        np.testing.assert_array_equal(here[name][folds == 2], there[name][folds == 2])
        assert (here[name][folds != 2] != there[name][folds != 2]).any()


def test_a_diameter_that_tells_more_is_used_as_far_as_it_can_be_measured():
    outputs, malignant, _, folds = fabricated()
    exact = np.where(malignant == 1, 9.0, 8.0)
    _, found = calibrate(outputs, malignant, exact, folds, seed=1)

    def brier(name: str) -> float:
        return float(np.mean((found[name] - malignant) ** 2))

    assert 0.02 < brier("centred_with_diameter") < brier("centred"), "the readers' own diameter would tell everything"


def test_nodules_that_do_not_count_are_rated_and_do_not_calibrate():
    outputs, malignant, diameters_mm, folds = fabricated()
    malignant[::7] = np.nan
    outputs.centred[::7] = -50
    _, found = calibrate(outputs, malignant, diameters_mm, folds, seed=1)
    assert np.isfinite(found["centred"]).all()
    counted = np.isfinite(malignant)
    assert found["centred"][counted].mean() == pytest.approx(malignant[counted].mean(), abs=0.01)
