"""A network that has learnt balls from tubes: what it answers, whoever asks in whatever company."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nodules.imaging.candidates.probability_map import Segmentation
from nodules.imaging.geometry.volume import Volume
from nodules.models.false_positive_reduction.network import build
from nodules.models.false_positive_reduction.reducer import BATCH, FalsePositiveReducer
from nodules.models.false_positive_reduction.sampling import CubeSampler
from nodules.models.false_positive_reduction.score_fusion import Fusion
from nodules.models.false_positive_reduction.training import train
from support.balls_and_tubes import REDUCTION, ball_or_tube, cube_set
from support.trained_until import first_good

SIZE = REDUCTION.cube.size_px
CENTRES = [(14.0, 12.5, -3.0), (14.0, 12.5, 41.0)]
FUSION = Fusion((0.7, 0.2, -0.1, 0.3), -0.4)


def share_right(network) -> float:
    unseen = cube_set(40, 9, SIZE)
    found = FalsePositiveReducer(network, REDUCTION.network, REDUCTION.cube, FUSION)
    return float(((found.log_odds(unseen.hu) > 0) == unseen.is_nodule).mean())


@pytest.fixture(scope="module")
def trained():
    sampler = CubeSampler([cube_set(24, 1), cube_set(24, 2)], REDUCTION.cube, REDUCTION.variation)
    lengths = (REDUCTION.epochs, 2 * REDUCTION.epochs, 4 * REDUCTION.epochs)
    trainings = (train(sampler, replace(REDUCTION, epochs=epochs), seed=5) for epochs in lengths)
    return first_good(trainings, lambda training: share_right(training[0]) >= 0.9)


@pytest.fixture(scope="module")
def reducer(trained) -> FalsePositiveReducer:
    return FalsePositiveReducer(trained[0], REDUCTION.network, REDUCTION.cube, FUSION)


def proposals(centres) -> pd.DataFrame:
    table = pd.DataFrame(centres, columns=["x_mm", "y_mm", "z_mm"]).astype(float)
    return table.assign(label=np.arange(1, len(table) + 1), diameter_mm=6.0, mean_probability=0.6, max_probability=0.8)


def segmentation() -> Segmentation:
    """A ball below and a tube above, each as wide as a cube, on a grid of 1.5 x 1.2 x 1.1 mm with a far origin."""
    spacing, origin = (1.5, 1.2, 1.1), (-6.0, -4.0, -30.0)
    volume = Volume(np.zeros((60, 30, 36), np.int16), spacing, origin)
    z, y, x = np.indices(volume.shape_zyx)
    world = volume.voxel_to_world(np.stack([z, y, x], axis=-1))
    ball = np.linalg.norm(world - CENTRES[0], axis=-1) <= 4.0
    tube = (np.linalg.norm((world - CENTRES[1])[..., 1:], axis=-1) <= 4.0) & (world[..., 2] > 20)
    voxels = np.where(ball | tube, 20, -850).astype(np.int16)
    blank = np.zeros(voxels.shape, np.uint8)
    return Segmentation(volume.with_voxels(voxels), blank, blank.astype(np.float32))


def test_it_learns_to_tell_balls_from_tubes(trained):
    assert share_right(trained[0]) >= 0.9


def test_history_has_one_row_an_epoch(trained):
    history = trained[1]
    assert list(history["epoch"]) == list(range(1, len(history) + 1))
    assert len(history) >= REDUCTION.epochs
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert history["accuracy"].between(0, 1).all()


def test_answers_for_places_in_a_scan(reducer):
    log_odds = reducer.log_odds(
        np.stack([ball_or_tube(ball, np.random.default_rng(3), SIZE) for ball in (True, False)])
    )
    assert log_odds[0] > log_odds[1]
    ball, tube = reducer(segmentation(), proposals(CENTRES))
    assert 0 < tube < ball < 1


def test_fusion_has_the_last_word(reducer):
    found = reducer(segmentation(), proposals(CENTRES))
    network = replace_fusion(reducer, Fusion((1.0, 0.0, 0.0, 0.0), 0.0))(segmentation(), proposals(CENTRES))
    log_odds = np.log(network / (1 - network))
    total = 0.7 * log_odds + 0.2 * np.log(0.6 / 0.4) - 0.1 * np.log(0.8 / 0.2) + 0.3 * np.log(6.0) - 0.4
    assert found == pytest.approx(1 / (1 + np.exp(-total)), abs=1e-6)


def replace_fusion(reducer: FalsePositiveReducer, combine: Fusion) -> FalsePositiveReducer:
    return FalsePositiveReducer(reducer.network, reducer.shape, reducer.cube, combine)


@pytest.mark.parametrize("count", [1, 3, BATCH, BATCH + 1])
def test_an_answer_does_not_depend_on_its_company(reducer, count):
    everything = cube_set(2 * BATCH, 4, SIZE).hu
    chosen = np.random.default_rng(count).permutation(len(everything))[:count]
    np.testing.assert_allclose(
        reducer.log_odds(everything[chosen]), reducer.log_odds(everything)[chosen], rtol=0, atol=1e-5
    )


def test_order_of_proposals_is_kept_and_none_is_no_error(reducer):
    there, back = (reducer(segmentation(), proposals(centres)) for centres in (CENTRES, CENTRES[::-1]))
    np.testing.assert_allclose(there, back[::-1], atol=1e-6)
    assert reducer(segmentation(), proposals([])).shape == (0,)


def test_to_disk_and_back(reducer, tmp_path):
    reducer.save(tmp_path / "a")
    again = FalsePositiveReducer.load(tmp_path / "a")
    np.testing.assert_array_equal(
        again(segmentation(), proposals(CENTRES)), reducer(segmentation(), proposals(CENTRES))
    )
    assert again.fusion == FUSION
    assert (again.cube, again.shape) == (REDUCTION.cube, REDUCTION.network)
    again.save(tmp_path / "b")
    files = sorted(file.name for file in (tmp_path / "a").iterdir())
    assert files == ["false_positive_reduction.json", "false_positive_reduction.weights.h5"]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert json.loads((tmp_path / "a" / "false_positive_reduction.json").read_text())["fusion"]["intercept"] == -0.4


def test_diverged_network_is_named(reducer):
    network = build(REDUCTION.network, SIZE)
    weights = network.get_layer("log_odds").get_weights()
    network.get_layer("log_odds").set_weights([np.full_like(weights[0], np.nan), weights[1]])
    with pytest.raises(ValueError, match="expected finite log-odds, got NaN"):
        FalsePositiveReducer(network, REDUCTION.network, REDUCTION.cube).log_odds(cube_set(2, 1, SIZE).hu)


def test_same_seed_gives_the_same_network():
    short = replace(REDUCTION, epochs=2, steps_per_epoch=1)
    sampler = CubeSampler([cube_set(8, 1)], REDUCTION.cube, REDUCTION.variation)
    told = []
    first = train(sampler, short, seed=6, log_epoch=lambda epoch, numbers: told.append({"epoch": epoch, **numbers}))
    again = train(sampler, short, seed=6)
    for one, two in zip(first[0].get_weights(), again[0].get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    pd.testing.assert_frame_equal(first[1], again[1])
    assert told == first[1].to_dict("records"), "epochs are told as they pass"
