"""Training that is killed and resumed, that stalls, and that gets worse."""

import functools
import shutil
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest

from nodules.models import training
from nodules.models.dice import PooledDice
from nodules.models.sampling import PatchSampler, SliceSet
from nodules.models.training import EpochPatches, train
from nodules.models.unet import UNetParams
from small_training import SAMPLING, TRAINING

PARAMS = replace(
    TRAINING,
    epochs=3,
    steps_per_epoch=2,
    patience=3,
    validation_patches=6,
    network=replace(TRAINING.network, normalisation="batch"),
    sampling=replace(
        SAMPLING,
        patch_px=16,
        nodule_share=0.5,
        jitter_px=3,
        warped_share=0.5,
        scale=(0.8, 1.2),
        hu_shift=20.0,
        hu_noise=10.0,
    ),
)
SEED = 5


class Killed(BaseException):
    pass


def sampler(has_nodules: bool = True) -> PatchSampler:
    """A bright square in each of two slices, called a nodule or not."""
    hu = np.full((2, 40, 32, 1), -800, np.int16)
    nodules = np.zeros(hu.shape[:3], np.uint8)
    nodules[:, 10:16, 18:24] = 1
    hu[nodules > 0] = 50
    everywhere = np.ones(nodules.shape, bool)
    centres = np.array([[0, 13, 21, 0], [1, 13, 21, 0]]) if has_nodules else np.empty((0, 4), np.int64)
    params = replace(PARAMS.sampling, nodule_share=0.5 if has_nodules else 0.0)
    slices = SliceSet(hu, everywhere, nodules * has_nodules, everywhere, centres)
    return PatchSampler([slices], params, (-1000.0, 400.0))


def run(work, params=PARAMS, validation=None, log_epoch=None) -> tuple[list[np.ndarray], pd.DataFrame]:
    network, history = train(sampler(), validation or sampler(), 1, params, seed=SEED, work=work, log_epoch=log_epoch)
    return network.get_weights(), history


def last_weights(work, params=PARAMS) -> list[np.ndarray]:
    model = training._compiled(1, params)
    training._resume(model, work)
    return model.get_weights()


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Work folder, weights and history of a run that nothing disturbed."""
    work = tmp_path_factory.mktemp("straight")
    return work, *run(work)


def assert_same_end(work, result, straight):
    straight_work, weights, history = straight
    pairs = [*zip(result[0], weights, strict=True), *zip(last_weights(work), last_weights(straight_work), strict=True)]
    for ours, theirs in pairs:
        np.testing.assert_array_equal(ours, theirs)
    pd.testing.assert_frame_equal(result[1], history)


def die_after(last: int, epoch: int, numbers: dict[str, float]) -> None:
    if epoch == last:
        raise Killed


def test_killed_between_epochs_it_ends_with_the_same_weights(tmp_path, straight):
    with pytest.raises(Killed):
        run(tmp_path, log_epoch=functools.partial(die_after, 1))
    keras.utils.set_random_seed(999)
    seen = []
    resumed = run(tmp_path, log_epoch=lambda epoch, numbers: seen.append(epoch))
    assert seen == [2, 3]
    assert_same_end(tmp_path, resumed, straight)


def test_killed_while_it_keeps_an_epoch_it_repeats_that_epoch(tmp_path, straight, monkeypatch):
    """The second epoch's weights are written, the history that names them is not."""
    dumps = training.json.dumps
    monkeypatch.setattr(training.json, "dumps", lambda rows: dumps(rows) if len(rows) < 2 else die_after(1, 1, {}))
    with pytest.raises(Killed):
        run(tmp_path)
    assert (tmp_path / "epoch2.weights.h5").exists()
    monkeypatch.undo()
    assert_same_end(tmp_path, run(tmp_path), straight)


def test_finished_training_only_reads(tmp_path, straight):
    shutil.copytree(straight[0], tmp_path, dirs_exist_ok=True)
    assert_same_end(tmp_path, run(tmp_path, log_epoch=functools.partial(die_after, 1)), straight)


def test_history_has_one_row_an_epoch(straight):
    history = straight[2]
    assert list(history["epoch"]) == [1, 2, 3]
    assert set(history.columns) == {"epoch", "loss", "dice", "val_loss", "val_dice", "learning_rate"}
    # half a cosine from 0.01 to 0 over 6 steps, seen after 2, 4 and 6
    expected = [0.005 * (1 + np.cos(np.pi * share)) for share in (1 / 3, 2 / 3, 1)]
    np.testing.assert_allclose(history["learning_rate"], expected, atol=1e-7)


def test_work_folder_holds_one_epoch_and_the_best(straight):
    work = straight[0]
    assert {file.name for file in work.iterdir()} == {"history.json", "epoch3.weights.h5", "best.weights.h5"}
    assert (work / "best.weights.h5").stat().st_size < (work / "epoch3.weights.h5").stat().st_size


def test_patience_ends_it(tmp_path):
    """Steps too small to change anything: no epoch is better than the first."""
    numb = replace(PARAMS, epochs=9, patience=2, learning_rate=1e-12, network=UNetParams(2, 1, "none"))
    assert len(run(tmp_path, numb)[1]) == 1 + 2
    assert len(run(tmp_path, numb)[1]) == 1 + 2  # nor does a second call go on


def test_best_epoch_is_kept_not_the_last(tmp_path):
    """The validation patients are called healthy: the better the network finds bright squares, the worse it gets."""
    params = replace(PARAMS, epochs=12, steps_per_epoch=5, patience=12)
    healthy = sampler(has_nodules=False)
    network, history = train(sampler(), healthy, 1, params, seed=SEED, work=tmp_path)
    best = history["val_dice"].max()
    assert history["dice"].iloc[-1] > 0.5 > history["dice"].iloc[0]
    assert history["val_dice"].iloc[-1] < best
    images, masks = EpochPatches(healthy, 8, 1, (SEED, 0), augment=False)[0]
    dice = PooledDice()
    dice.update_state(masks, network.predict_on_batch(images))
    assert float(dice.result()) == pytest.approx(best, abs=1e-6)
    assert not network.compiled
