import numpy as np
import pytest

from nodules.models.malignancy import cross_fitting
from nodules.models.malignancy.cross_fitting import calibrate, cross_fit
from support.rated_cubes import PARAMS, rated_balls

FOLDS = np.array([0, 1, 2, 0, 1, 2, 2, 2])


class Told:
    """Stands for the rater of a training: its answer is the number of nodules that it was trained on."""

    def __init__(self, trained_on: int) -> None:
        self.trained_on = trained_on

    def log_odds(self, hu) -> np.ndarray:
        assert hu.shape[1] in (PARAMS.cube.size_px, PARAMS.cube.size_px + 2)
        return np.tile([float(self.trained_on), 99.0], (len(hu), 1))


@pytest.fixture
def trainings(monkeypatch) -> list[int]:
    """Seeds of the trainings."""
    seeds: list[int] = []

    def train(cubes, params, *, seed, log_epoch):
        seeds.append(seed)
        return [len(cubes.targets)]

    monkeypatch.setattr(cross_fitting, "train", train)
    monkeypatch.setattr(cross_fitting, "rater", lambda networks, params: Told(networks[0]))
    return seeds


def test_each_fold_is_rated_by_networks_that_have_not_seen_it(trainings, tmp_path):
    found = cross_fit(rated_balls(8), FOLDS, PARAMS, seed=1, work=tmp_path)
    expected = np.array([6, 6, 4])[FOLDS]
    np.testing.assert_array_equal(found, np.column_stack([expected, expected]))
    assert len(set(trainings)) == 3


def test_finished_folds_are_kept(trainings, tmp_path):
    whole = cross_fit(rated_balls(8), FOLDS, PARAMS, seed=1, work=tmp_path / "a")
    (tmp_path / "a" / "log_odds_1.npy").unlink()
    np.testing.assert_array_equal(cross_fit(rated_balls(8), FOLDS, PARAMS, seed=1, work=tmp_path / "a"), whole)
    assert len(trainings) == 4
    assert trainings[3] == trainings[1], "with the seed of its fold"


def test_places_beside_the_centre_are_shifted_by_the_margin(tmp_path, monkeypatch):
    seen = []

    class Looks:
        def log_odds(self, hu):
            seen.append(hu)
            return np.zeros((len(hu), 2))

    monkeypatch.setattr(cross_fitting, "train", lambda *_, **__: [])
    monkeypatch.setattr(cross_fitting, "rater", lambda *_: Looks())
    cubes = rated_balls(8)
    cross_fit(cubes, np.zeros(8, int), PARAMS, seed=1, work=tmp_path)
    centred, beside = seen
    assert centred.shape[1] == beside.shape[1] + 2
    centres = [np.argwhere(hu > 0).mean(axis=0) - (hu.shape[0] - 1) / 2 for hu in beside]
    np.testing.assert_allclose(np.abs(centres), 1)
    assert len({tuple(np.sign(centre)) for centre in centres}) > 2


def fabricated(seed: int = 0):
    random = np.random.default_rng(seed)
    malignant = random.integers(2, size=400).astype(float)
    log_odds = 3 * (random.normal(malignant * 2 - 1, 1.2) * 1.4 + 1)  # too sure, and too high
    return np.column_stack([log_odds, log_odds - 0.5]), malignant, np.arange(400) % 5


def test_calibrated_probabilities_agree_with_the_labels():
    log_odds, malignant, folds = fabricated()
    calibration, probabilities = calibrate(log_odds, malignant, folds)
    assert probabilities[:, 0].mean() == pytest.approx(malignant.mean(), abs=0.01)
    sure = probabilities[:, 0] > 0.8
    assert malignant[sure].mean() == pytest.approx(probabilities[sure, 0].mean(), abs=0.05)
    assert (probabilities[:, 1] < probabilities[:, 0]).all(), "the second column has the same calibration"
    np.testing.assert_allclose(calibration.of(1 / (1 + np.exp(-log_odds[:, 0]))), probabilities[:, 0], atol=0.05)


def test_a_fold_does_not_calibrate_itself():
    log_odds, malignant, folds = fabricated()
    other = np.where(folds == 2, 1 - malignant, malignant)
    _, there = calibrate(log_odds, malignant, folds)
    _, here = calibrate(log_odds, other, folds)
    np.testing.assert_array_equal(here[folds == 2], there[folds == 2])
    assert (here[folds != 2] != there[folds != 2]).any()


def test_nodules_that_do_not_count_are_rated_and_do_not_calibrate():
    log_odds, malignant, folds = fabricated()
    malignant[::7] = np.nan
    log_odds[::7] = -50
    _, probabilities = calibrate(log_odds, malignant, folds)
    assert np.isfinite(probabilities).all()
    counted = np.isfinite(malignant)
    assert probabilities[counted, 0].mean() == pytest.approx(malignant[counted].mean(), abs=0.01)
