"""Training that is interrupted, stalls or diverges, and the averages of batch normalisation."""

import functools
import shutil
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest

from nodules.imaging.network_input.lung_roi import LungRoiParams
from nodules.models.runtime.epochs import learning_rate
from nodules.models.unet import training
from nodules.models.unet.loss import PooledDice
from nodules.models.unet.network import UNetParams, build
from nodules.models.unet.sampling import PatchSampler
from nodules.models.unet.training import FineTuningParams, recompute_statistics, train
from nodules.models.unet.training_slices import SliceSet
from support.small_training import SAMPLING, TRAINING

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
        flattened_share=0.5,
        scale=(0.8, 1.2),
        hu_shift=20.0,
        hu_noise=10.0,
    ),
)

ROI = LungRoiParams(1.0, 4.0, True, (-1000.0, 400.0))
AVERAGED = replace(PARAMS, ema_momentum=0.9)
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
    slices = SliceSet(hu, everywhere, nodules * has_nodules, everywhere, centres, np.full(len(centres), 6.0))
    return PatchSampler([slices], params, ROI)


def run(work, params=PARAMS, validation=None, log_epoch=None) -> tuple[list[np.ndarray], pd.DataFrame]:
    network, history = train(sampler(), validation or sampler(), 1, params, seed=SEED, work=work, log_epoch=log_epoch)
    return network.get_weights(), history


def last_weights(work, params=PARAMS) -> list[np.ndarray]:
    model = training.compiled(1, params)
    training._resume(model, work)
    return [*model.get_weights(), *(keras.ops.convert_to_numpy(v) for v in model.optimizer.variables)]


def raw_and_averages(work, params) -> tuple[list[np.ndarray], list[np.ndarray]]:
    model = training.compiled(1, params)
    training._resume(model, work)
    variables = (model.trainable_variables, model.optimizer._model_variables_moving_average)
    raw, averages = ([keras.ops.convert_to_numpy(v) for v in group] for group in variables)
    return raw, averages


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Work folder, weights and history of a run that nothing disturbed."""
    work = tmp_path_factory.mktemp("straight")
    return work, *run(work)


def assert_same_end(work, result, straight, params=PARAMS):
    straight_work, weights, history = straight
    ours, theirs = last_weights(work, params), last_weights(straight_work, params)
    pairs = [*zip(result[0], weights, strict=True), *zip(ours, theirs, strict=True)]
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


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    """The same with averaged weights, and the raw weights and their averages after each epoch."""
    work, states = tmp_path_factory.mktemp("averaged"), []
    result = run(work, AVERAGED, log_epoch=lambda *_: states.append(raw_and_averages(work, AVERAGED)))
    return work, *result, states


def test_averaged_training_that_is_killed_ends_with_the_same_averages(tmp_path, averaged):
    with pytest.raises(Killed):
        run(tmp_path, AVERAGED, log_epoch=functools.partial(die_after, 2))
    keras.utils.set_random_seed(999)
    assert_same_end(tmp_path, run(tmp_path, AVERAGED), averaged[:3], AVERAGED)


def test_averaging_does_not_disturb_the_training(averaged, straight):
    count = len(straight[1])
    for ours, theirs in zip(
        last_weights(averaged[0], AVERAGED)[:count], last_weights(straight[0])[:count], strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    pd.testing.assert_frame_equal(averaged[2][["loss", "dice"]], straight[2][["loss", "dice"]])
    assert (averaged[2]["val_loss"] != straight[2]["val_loss"]).all()


def test_averages_are_the_running_mean_of_the_steps(tmp_path):
    """One step an epoch, so that the raw weights of every step are seen."""
    params, states = replace(AVERAGED, steps_per_epoch=1), []
    run(tmp_path, params, log_epoch=lambda *_: states.append(raw_and_averages(tmp_path, params)))
    assert len(states) == 3
    wanted = states[0][0]
    for raw, averages in states:
        wanted = [0.9 * old + 0.1 * new for old, new in zip(wanted, raw, strict=True)]
        for ours, theirs in zip(averages, wanted, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_the_averaged_weights_are_kept(averaged):
    work, _, history, states = averaged
    network, _ = train(sampler(), sampler(), 1, AVERAGED, seed=SEED, work=work)
    best = int(history["val_loss"].idxmin())
    for ours, theirs in zip(network.trainable_variables, states[best][1], strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(ours), theirs)
    dice = PooledDice()
    for images, masks in training._validation_set(sampler(), AVERAGED, SEED):
        dice.update_state(masks, network.predict_on_batch(images))
    assert float(dice.result()) == pytest.approx(history["val_dice"][best], abs=1e-6)


def test_learning_rate_rises_before_it_falls(tmp_path):
    """A third of 6 steps up to 0.01, then half a cosine over 4 steps; seen before steps 3, 5 and after the last."""
    history = run(tmp_path, replace(PARAMS, warmup_share=1 / 3))[1]
    np.testing.assert_allclose(history["learning_rate"], [0.01, 0.005, 0.0], atol=1e-7)
    schedule = learning_rate(0.01, 6, 1 / 3)
    assert [float(schedule(step)) for step in range(3)] == pytest.approx([0.0, 0.005, 0.01], abs=1e-7)


def test_a_start_brings_its_own_length_and_learning_rate():
    tuned = FineTuningParams(epochs=5, learning_rate=1e-4, mining_epochs=[2], frozen_normalisation=True)
    both = replace(PARAMS, epochs=9, learning_rate=0.02, mining_epochs=[4], fine_tuning=tuned)
    assert both.from_start() == replace(both, fine_tuning=None)
    started = replace(both, start_from="models/earlier")
    wanted = replace(
        started, epochs=5, learning_rate=1e-4, mining_epochs=[2], fine_tuning=None, frozen_normalisation=True
    )
    assert started.from_start() == wanted
    alone = replace(started, fine_tuning=None)
    assert alone.from_start() == alone


def test_training_starts_from_given_weights(tmp_path):
    """Steps too small to change anything."""
    numb = replace(
        PARAMS,
        epochs=1,
        learning_rate=1e-12,
        network=UNetParams(2, 1, stem_stride=1, normalisation="none", residual=False),
    )
    earlier = training.compiled(1, numb).get_weights()
    started = [weight + 0.25 for weight in earlier]
    network, _ = train(sampler(), sampler(), 1, numb, seed=SEED, work=tmp_path, start_from=started)
    for ours, theirs in zip(network.get_weights(), started, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("ema_momentum", [0.0, 0.9])
def test_frozen_normalisation_keeps_what_the_earlier_network_knew(tmp_path, ema_momentum):
    network = UNetParams(2, 1, stem_stride=1, normalisation="batch", residual=False)
    frozen = replace(PARAMS, epochs=2, network=network, ema_momentum=ema_momentum, frozen_normalisation=True)
    earlier = training.compiled(1, frozen)
    started = [weight + 0.25 for weight in earlier.get_weights()]
    trained, _ = train(sampler(), sampler(), 1, frozen, seed=SEED, work=tmp_path, start_from=started)
    changed = {}
    for weight, before, after in zip(earlier.weights, started, trained.get_weights(), strict=True):
        changed.setdefault("norm" in weight.path, []).append(not np.array_equal(before, after))
    assert not any(changed[True])
    assert all(changed[False])


def test_killed_while_it_keeps_an_epoch_it_repeats_that_epoch(tmp_path, straight, monkeypatch):
    """The second epoch's weights are written, the history that names them is not."""
    dumps = training.json.dumps
    monkeypatch.setattr(training.json, "dumps", lambda rows: dumps(rows) if len(rows) < 2 else die_after(1, 1, {}))
    with pytest.raises(Killed):
        run(tmp_path)
    assert (tmp_path / "epoch2.npz").exists()
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
    assert {file.name for file in work.iterdir()} == {"history.json", "epoch3.npz", "best.npz"}
    assert (work / "best.npz").stat().st_size < (work / "epoch3.npz").stat().st_size


def test_patience_ends_it(tmp_path):
    """Steps too small to change anything: no epoch is better than the first."""
    numb = replace(
        PARAMS,
        epochs=9,
        patience=2,
        learning_rate=1e-12,
        network=UNetParams(2, 1, stem_stride=1, normalisation="none", residual=False),
    )
    assert len(run(tmp_path, numb)[1]) == 1 + 2
    assert len(run(tmp_path, numb)[1]) == 1 + 2  # nor does a second call go on


@pytest.mark.parametrize(
    ("val_losses", "mining_epochs", "best"),
    [
        ([3, 1, 2], [], 2),
        ([3, 1, 2, 1.5], [2], 4),
        ([1, 2, 3, 5, 4], [1, 3], 5),
        ([3, 1], [2, 7], 2),  # nothing has been trained since, or ever will be
        ([2, 1, 1], [], 2),
        ([2, 1, 3, 3], [2], 3),
        ([4], [], 1),
    ],
)
def test_best_epoch_is_one_since_the_last_mining(val_losses, mining_epochs, best):
    assert training.best_epoch(val_losses, mining_epochs) == best


@pytest.mark.parametrize(("mined", "best"), [(0, 2), (3, 5)])
def test_best_epoch_is_kept_not_the_last(tmp_path, monkeypatch, mined, best):
    losses = iter([0.5, 0.2, 0.4, 0.6, 0.3, 0.7])
    monkeypatch.setattr(keras.Model, "evaluate", lambda *_, **__: {"loss": next(losses), "dice": 0.25})
    params = replace(PARAMS, epochs=6, patience=6, mining_epochs=[mined] if mined else [])
    states = []
    network, history = train(
        *(sampler(), sampler(), 1, params),
        seed=SEED,
        work=tmp_path,
        log_epoch=lambda *_: states.append(last_weights(tmp_path, params)),
    )
    assert history["val_loss"].tolist() == [0.5, 0.2, 0.4, 0.6, 0.3, 0.7]
    kept = network.get_weights()
    for ours, theirs, last in zip(kept, states[best - 1], states[-1], strict=False):
        np.testing.assert_array_equal(ours, theirs)
        assert (ours != last).any(), "otherwise this test cannot tell the best epoch from the last"
    assert not network.compiled


def batches(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(1)
    images = [random.normal(number, 1 + number, (2, 4, 6, 3)).astype(np.float32) for number in range(count)]
    return [(image, np.zeros((2, 4, 6, 1), np.float32)) for image in images]


@pytest.mark.parametrize("count", [1, 3, 5])
def test_statistics_are_the_mean_over_the_first_batches(monkeypatch, count):
    monkeypatch.setattr(training, "STATISTICS_BATCHES", 3)
    image = keras.Input((None, None, 3))
    norm = keras.layers.BatchNormalization(momentum=0.9)
    model = keras.Model(image, norm(image))
    norm.moving_mean.assign(np.full(3, 77.0))
    shown = batches(count)
    recompute_statistics(model, shown)
    used = [images for images, _ in shown[:3]]
    mean = np.mean([images.mean(axis=(0, 1, 2)) for images in used], axis=0)
    variance = np.mean([images.var(axis=(0, 1, 2)) for images in used], axis=0)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(norm.moving_mean), mean, rtol=1e-4)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(norm.moving_variance), variance, rtol=1e-4)
    assert norm.momentum == 0.9


def test_network_without_normalisation_is_left_alone():
    model = build(UNetParams(filters=2, depth=1, stem_stride=1, normalisation="none", residual=False), channels=3)
    before = model.get_weights()
    recompute_statistics(model, batches(2))
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
