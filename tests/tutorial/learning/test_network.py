"""The tutorial's U-Net, its loss, and the trained network on disk."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from nodules.tutorial.learning.network import architecture_of, build
from nodules.tutorial.learning.settings import TutorialUnetDefects
from nodules.tutorial.learning.training import loss_of, negative_dice_of_batch, negative_dice_of_slices
from nodules.tutorial.learning.unet import SETTINGS_FILE, WEIGHTS_FILE, TutorialUnet


def test_the_published_network_has_the_published_size() -> None:
    network = build(512, 32, 4)
    assert network.count_params() == 7_846_081
    assert network.output_shape == (None, 512, 512, 1)
    assert not [layer for layer in network.layers if "Normalization" in type(layer).__name__]
    assert architecture_of(network) == {"size_px": 512, "filters": 32, "depth": 4, "normalisation": "none"}


def test_weights_counted_level_by_level() -> None:
    """Two poolings and 2 filters: pairs of convolutions at 2, 4, 8, 4 and 2 filters, and one of 1 x 1."""

    def pair(before: int, filters: int) -> int:
        return (9 * before + 1) * filters + (9 * filters + 1) * filters

    wanted = pair(1, 2) + pair(2, 4) + pair(4, 8) + pair(8 + 4, 4) + pair(4 + 2, 2) + 2 + 1
    assert build(16, 2, 2).count_params() == wanted


def test_initial_weights_are_those_of_the_page() -> None:
    """Glorot's uniform bound sqrt(6 / (9 * 1 + 9 * 4)) in the first convolution, and no bias anywhere."""
    keras.utils.set_random_seed(0)
    network = build(16, 4, 1)
    kernel, bias = network.get_layer("down0_a").get_weights()
    assert np.abs(kernel).max() == pytest.approx(np.sqrt(6 / 45), rel=0.15)
    assert np.abs(kernel).max() <= np.sqrt(6 / 45)
    assert not bias.any()
    assert not network.get_layer("nodule").get_weights()[1].any()


def test_a_normalised_network_begins_with_a_small_answer_and_four_more_numbers_a_filter() -> None:
    """Scale, shift, mean and variance for each of 2 + 2 + 4 + 4 + 2 + 2 filters; sigmoid(-3) = 0.047."""
    network = build(16, 2, 1, "batch")
    assert network.count_params() == build(16, 2, 1).count_params() + 4 * 16
    answer = keras.ops.convert_to_numpy(network.predict_on_batch(np.zeros((1, 16, 16, 1), dtype=np.float32)))
    np.testing.assert_allclose(answer, 0.0474259, rtol=1e-5)
    assert architecture_of(network)["normalisation"] == "batch"


def test_sides_that_the_poolings_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="size_px divisible by 16, got 40"):
        build(40, 2, 4)


def test_dice_flattened_over_batch() -> None:
    """A nodule of 100 pixels found, one of 4 missed: 0.98 for the batch, though half of the nodules are lost."""
    truth, answer = _large_found_small_missed()
    wrong = float(negative_dice_of_batch(truth, answer))
    right = keras.ops.convert_to_numpy(negative_dice_of_slices(truth, answer))
    assert wrong == pytest.approx(-(2 * 100 + 1) / (104 + 100 + 1))
    assert right == pytest.approx([-(2 * 100 + 1) / (100 + 100 + 1), -1 / (4 + 0 + 1)])
    assert float(right.mean()) == pytest.approx(-0.6)


def test_dice_without_cross_entropy() -> None:
    """A blank answer of 0.01 to nodules of 100 and 4 pixels of 256: the Dice has hardly a gradient, the sum has one."""
    truth, _ = _large_found_small_missed()
    blank = np.full_like(truth, 0.01)
    pixels = np.array([100, 4])
    dice = -(2 * 0.01 * pixels + 1) / (pixels + 2.56 + 1)
    entropy = -(pixels * np.log(0.01) + (256 - pixels) * np.log(0.99)) / 256
    wrong, right = (
        keras.ops.convert_to_numpy(loss_of(TutorialUnetDefects(dice_without_cross_entropy=switch))(truth, blank))
        for switch in (True, False)
    )
    assert wrong == pytest.approx(dice, rel=1e-5)
    assert right == pytest.approx(dice + entropy, rel=1e-5)
    flattened = loss_of(TutorialUnetDefects(dice_flattened_over_batch=True))(truth, blank)
    of_batch = -(2 * 0.01 * 104 + 1) / (104 + 5.12 + 1)
    assert keras.ops.convert_to_numpy(flattened) == pytest.approx(of_batch + entropy, rel=1e-5)


def test_an_empty_answer_to_an_empty_slice_is_perfect() -> None:
    empty = np.zeros((2, 8, 8, 1), np.float32)
    assert keras.ops.convert_to_numpy(negative_dice_of_slices(empty, empty)) == pytest.approx([-1, -1])
    assert float(negative_dice_of_batch(empty, empty)) == -1


def test_images_not_standardised_get_another_answer() -> None:
    """The network was trained on (image - 10) / 4; asked about the image itself it answers something else."""
    network = _network()
    images = np.random.default_rng(0).normal(10, 4, (11, 16, 16)).astype(np.float32)
    right = TutorialUnet(network, 10.0, 4.0).predict(images)
    wrong = TutorialUnet(network, 10.0, 4.0, standardised_at_test=False).predict(images)
    by_hand = keras.ops.convert_to_numpy(network((images[..., None] - 10) / 4))[..., 0]
    np.testing.assert_allclose(right, by_hand, atol=1e-6)
    np.testing.assert_allclose(wrong, keras.ops.convert_to_numpy(network(images[..., None]))[..., 0], atol=1e-6)
    assert np.abs(wrong - right).max() > 0.05


def test_read_back_it_answers_the_same_from_the_same_bytes(tmp_path) -> None:
    unet = TutorialUnet(_network(), 0.125, 3.5, standardised_at_test=False)
    unet.save(tmp_path / "one")
    read = TutorialUnet.load(tmp_path / "one")
    assert (read.mean, read.deviation, read.standardised_at_test) == (0.125, 3.5, False)
    images = np.random.default_rng(1).random((3, 16, 16), dtype=np.float32)
    np.testing.assert_array_equal(read.predict(images), unet.predict(images))
    read.save(tmp_path / "two")
    for name in (SETTINGS_FILE, WEIGHTS_FILE):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_no_slices_get_no_answers() -> None:
    assert TutorialUnet(_network(), 0.0, 1.0).predict(np.empty((0, 16, 16), np.float32)).shape == (0, 16, 16)


@pytest.mark.parametrize("shape", [(2, 32, 32), (16, 16), (2, 16, 16, 1)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must have the shape \(N, 16, 16\), got"):
        TutorialUnet(_network(), 0.0, 1.0).predict(np.zeros(shape, np.float32))


def test_a_diverged_network_is_named() -> None:
    network = _network()
    network.set_weights([np.full_like(weight, np.nan) for weight in network.get_weights()])
    with pytest.raises(ValueError, match="lower the learning rate"):
        TutorialUnet(network, 0.0, 1.0).predict(np.zeros((1, 16, 16), np.float32))


def test_a_folder_of_something_else_is_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match=f"{SETTINGS_FILE} is missing"):
        TutorialUnet.load(tmp_path)


def _network() -> keras.Model:
    keras.utils.set_random_seed(3)
    return build(16, 2, 1)


def _large_found_small_missed() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    truth, answer = np.zeros((2, 2, 16, 16, 1), np.float32)
    truth[0, 2:12, 2:12], truth[1, 4:6, 4:6] = 1, 1
    answer[0, 2:12, 2:12] = 1
    return truth, answer
