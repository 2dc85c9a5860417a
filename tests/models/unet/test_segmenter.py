"""Prediction over a whole region, by one network and by several, and the same segmenter from its files."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from nodules.imaging.geometry.volume import Volume
from nodules.imaging.network_input.lung_roi import LungRoi, LungRoiParams, network_input
from nodules.imaging.network_input.slice_context import ContextParams
from nodules.models.unet.network import UNetParams, build
from nodules.models.unet.segmenter import (
    Segmenter,
    SegmenterParams,
    SegmenterSettings,
    combine,
    initial_weights,
    probability_of_excerpt,
)

SETTINGS = SegmenterSettings(
    network=UNetParams(filters=3, depth=2, stem_stride=1, normalisation="batch", residual=False),
    lung_roi=LungRoiParams(spacing_mm=1.0, margin_mm=4.0, masked_input=True, window_hu=(-1000.0, 400.0)),
    context=ContextParams(slices=3, distance_mm=2.0),
    segmenter=SegmenterParams(flips=1, precision="float32"),
)


def network(seed: int) -> keras.Model:
    """Random weights; normalisation with statistics of its own, so that forgetting to store them would show."""
    keras.utils.set_random_seed(seed)
    built = build(SETTINGS.network, SETTINGS.context.slices)
    random = np.random.default_rng(seed)
    built.set_weights([weight + random.normal(0, 0.05, weight.shape) for weight in built.get_weights()])
    return built


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter([network(3)], SETTINGS)


@pytest.fixture(scope="module")
def other() -> Segmenter:
    return Segmenter([network(4)], SETTINGS)


def region(shape=(11, 37, 45)) -> LungRoi:
    """Lungs in the middle slices; sides that no pooling divides."""
    random = np.random.default_rng(5)
    hu = random.integers(-1000, 400, shape, dtype=np.int16)
    visible = np.zeros(shape, bool)
    visible[2:9, 5:30, 4:41] = True
    scan = Volume(hu, (1.5, 1.0, 1.0), (-10.0, 20.0, -300.0))
    return LungRoi(scan, visible.astype(np.uint8), visible)


def padded_input(seen: LungRoi) -> np.ndarray:
    padded = np.zeros((11, 64, 64, 3), np.float32)
    padded[:, :37, :45] = network_input(seen, list(range(11)), SETTINGS.lung_roi, SETTINGS.context)
    return padded


def answer_of(asked: keras.Model, images: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(asked(images, training=False))[..., 0]


def assert_answers(found: np.ndarray, wanted: np.ndarray, seen: LungRoi) -> None:
    assert found.shape == (11, 37, 45)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.where(seen.visible_zyx, wanted[:, :37, :45], 0), atol=0.5 / 255 + 1e-5)
    assert np.ptp(found[seen.visible_zyx]) > 0.02


def test_predict_is_the_network_on_the_padded_slices(segmenter):
    seen = region()
    assert_answers(segmenter.predict(seen), answer_of(segmenter.networks[0], padded_input(seen)), seen)


def test_several_networks_are_averaged(segmenter, other):
    seen = region()
    both = Segmenter([*segmenter.networks, *other.networks], SETTINGS)
    images = padded_input(seen)
    wanted = (answer_of(segmenter.networks[0], images) + answer_of(other.networks[0], images)) / 2
    assert_answers(both.predict(seen), wanted, seen)


@pytest.mark.parametrize(("flips", "turned"), [(2, [""]), (4, ["", "y"])])
def test_flips_are_averaged(segmenter, flips, turned):
    """Each of the images with and without a mirror in x; with four of them in y as well. Then zeros fill the sides."""
    seen = region()
    asked = Segmenter(segmenter.networks, replace(SETTINGS, segmenter=SegmenterParams(flips, precision="float32")))
    images, answers = padded_input(seen)[:, :37, :45], []
    for y in turned:
        for step in (1, -1):
            rows = -1 if y else 1
            shown = np.pad(images[:, ::rows, ::step], ((0, 0), (0, 27), (0, 19), (0, 0)))
            answers.append(answer_of(asked.networks[0], shown)[:, :37, :45][:, ::rows, ::step])
    assert len(answers) == flips
    assert_answers(asked.predict(seen), np.mean(answers, axis=0), seen)


def test_flips_answer_a_mirrored_scan_by_the_mirrored_map(segmenter):
    seen = region()
    mirrored = LungRoi(
        seen.scan.with_voxels(seen.scan.voxels_zyx[:, :, ::-1].copy()),
        seen.lungs_zyx[:, :, ::-1],
        seen.visible_zyx[:, :, ::-1],
    )
    asked = Segmenter(segmenter.networks, replace(SETTINGS, segmenter=SegmenterParams(flips=2, precision="float32")))
    np.testing.assert_allclose(asked.predict(mirrored)[:, :, ::-1], asked.predict(seen), atol=1.01 / 255)
    assert np.abs(segmenter.predict(mirrored)[:, :, ::-1] - segmenter.predict(seen)).max() > 1.01 / 255


def test_zero_where_nothing_is_visible(segmenter):
    seen = region()
    answer = segmenter.predict(seen)
    assert (answer[~seen.visible_zyx] == 0).all()
    assert (answer[seen.visible_zyx] > 0).any()


def test_answers_are_whole_steps_of_8_bits(segmenter):
    steps = segmenter.predict(region()).astype(np.float64) * 255
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)


def test_batches_do_not_change_the_answer(segmenter):
    one = Segmenter(segmenter.networks, SETTINGS, batch_size=1)
    np.testing.assert_allclose(one.predict(region()), segmenter.predict(region()), atol=1.01 / 255)


def test_region_without_lungs_has_no_nodules(segmenter):
    seen = region()
    dark = LungRoi(seen.scan, np.zeros_like(seen.lungs_zyx), np.zeros_like(seen.visible_zyx))
    assert not segmenter.predict(dark).any()


def test_diverged_network_is_refused(segmenter):
    broken = network(5)
    broken.set_weights([np.full_like(weight, np.nan) for weight in broken.get_weights()])
    with pytest.raises(ValueError, match="NaN"):
        Segmenter([*segmenter.networks, broken], SETTINGS).predict(region())


def test_no_network_is_refused():
    with pytest.raises(ValueError, match="at least one network"):
        Segmenter([], SETTINGS)


def test_files_hold_all_that_decides_the_answer(segmenter, tmp_path):
    settings = replace(SETTINGS, segmenter=SegmenterParams(flips=2, precision="float32"))
    Segmenter(segmenter.networks, settings).save(tmp_path)
    read = Segmenter.load(tmp_path)
    assert read.settings == settings
    assert read.roi == SETTINGS.lung_roi
    np.testing.assert_array_equal(read.predict(region()), Segmenter(segmenter.networks, settings).predict(region()))


@pytest.mark.parametrize("count", [1, 2])
def test_same_segmenter_same_bytes(segmenter, other, tmp_path, count):
    Segmenter([*segmenter.networks, *other.networks][:count], SETTINGS).save(tmp_path / "first")
    Segmenter.load(tmp_path / "first").save(tmp_path / "second")
    names = sorted(file.name for file in (tmp_path / "first").iterdir())
    weights = {1: ["unet.weights.h5"], 2: ["unet0.weights.h5", "unet1.weights.h5"]}[count]
    assert names == ["segmenter.json", *weights]
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_combined_folders_answer_the_mean_of_theirs(segmenter, other, tmp_path):
    segmenter.save(tmp_path / "a")
    other.save(tmp_path / "b")
    combine([tmp_path / "a", tmp_path / "b"]).save(tmp_path / "both")
    again = combine([tmp_path / "both", tmp_path / "a"])  # an ensemble may join another
    assert len(again.networks) == 3
    mean = (segmenter.predict(region()) + other.predict(region())) / 2
    np.testing.assert_allclose(Segmenter.load(tmp_path / "both").predict(region()), mean, atol=1.01 / 255)


def test_flips_can_be_set_when_combining(segmenter, tmp_path):
    segmenter.save(tmp_path / "a")
    Segmenter(segmenter.networks, replace(SETTINGS, segmenter=SegmenterParams(flips=2, precision="float32"))).save(
        tmp_path / "b"
    )
    assert combine([tmp_path / "a", tmp_path / "b"], flips=4).settings.segmenter.flips == 4
    with pytest.raises(
        ValueError, match=r"b: segmenter is \{'flips': 2, 'precision': 'float32'\}, but \{'flips': 1, 'precision"
    ):
        combine([tmp_path / "a", tmp_path / "b"])


def test_different_regions_do_not_combine(segmenter, tmp_path):
    segmenter.save(tmp_path / "a")
    coarse = replace(SETTINGS, lung_roi=replace(SETTINGS.lung_roi, spacing_mm=1.5))
    Segmenter(segmenter.networks, coarse).save(tmp_path / "b")
    with pytest.raises(ValueError, match=r"b: lung_roi is .*1\.5.*it must be the same in an ensemble"):
        combine([tmp_path / "a", tmp_path / "b"])


def test_initial_weights_are_those_of_the_folder(segmenter, tmp_path):
    segmenter.save(tmp_path)
    weights = initial_weights(tmp_path, SETTINGS.network, SETTINGS.lung_roi, SETTINGS.context)
    for found, wanted in zip(weights, segmenter.networks[0].get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_other_networks_are_no_start(segmenter, other, tmp_path):
    segmenter.save(tmp_path / "one")
    Segmenter([*segmenter.networks, *other.networks], SETTINGS).save(tmp_path / "two")
    shape, roi, context = SETTINGS.network, SETTINGS.lung_roi, SETTINGS.context
    for folder, wanted, message in (
        ("one", (replace(shape, filters=4), roi, context), r"expected network .*filters=4.*got .*filters=3"),
        (
            "one",
            (shape, roi, replace(context, distance_mm=2.5)),
            r"expected context .*distance_mm=2\.5.*got .*distance_mm=2\.0",
        ),
        ("one", (shape, replace(roi, masked_input=False), context), r"expected lung_roi .*=False.*got .*=True"),
        ("two", (shape, roi, context), "expected one network, got 2"),
        ("none", (shape, roi, context), "none holds no segmenter"),
    ):
        with pytest.raises(ValueError, match=message):
            initial_weights(tmp_path / folder, *wanted)


def test_all_of_an_excerpt_is_visible_and_answered_on_its_own_grid(segmenter):
    """On a grid that is the network's own, the answer is that of the network on the slices as they are."""
    seen = region()
    everything = replace(seen, lungs_zyx=np.ones_like(seen.lungs_zyx), visible_zyx=np.ones_like(seen.visible_zyx))
    found = probability_of_excerpt(seen.scan, segmenter)
    np.testing.assert_array_equal(found, segmenter.predict(everything))
    assert found[[0, -1]].all()


def test_answer_is_interpolated_between_the_networks_pixels(segmenter):
    fine = replace(region().scan, spacing_zyx_mm=(1.5, 0.5, 0.5))
    found = probability_of_excerpt(fine, segmenter)
    assert found.shape == fine.shape_zyx
    np.testing.assert_allclose(
        found[:, 2:35:2, 1:43:2], (found[:, 2:35:2, 0:42:2] + found[:, 2:35:2, 2:44:2]) / 2, atol=1e-6
    )
