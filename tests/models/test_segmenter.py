"""Prediction over a whole region, and the same segmenter from its files."""

import keras
import numpy as np
import pytest

from nodules.imaging.lung_roi import LungRoi, LungRoiParams, network_input
from nodules.imaging.slice_context import ContextParams
from nodules.imaging.volume import Volume
from nodules.models import unet
from nodules.models.segmenter import Segmenter

ROI = LungRoiParams(spacing_mm=1.0, margin_mm=4.0, window_hu=(-1000.0, 400.0))
CONTEXT = ContextParams(slices=3, distance_mm=2.0)
SHAPE = unet.UNetParams(filters=3, depth=2, normalisation="batch")


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    """Random weights; normalisation with statistics of its own, so that forgetting to store them would show."""
    keras.utils.set_random_seed(3)
    network = unet.build(SHAPE, CONTEXT.slices)
    random = np.random.default_rng(3)
    network.set_weights([weight + random.normal(0, 0.05, weight.shape) for weight in network.get_weights()])
    return Segmenter(network, SHAPE, ROI, CONTEXT)


def region(shape=(11, 37, 45)) -> LungRoi:
    """Lungs in the middle slices; sides that no pooling divides."""
    random = np.random.default_rng(5)
    hu = random.integers(-1000, 400, shape, dtype=np.int16)
    visible = np.zeros(shape, bool)
    visible[2:9, 5:30, 4:41] = True
    scan = Volume(hu, (1.5, 1.0, 1.0), (-10.0, 20.0, -300.0))
    return LungRoi(scan, visible.astype(np.uint8), visible)


def test_predict_is_the_network_on_the_padded_slices(segmenter):
    seen = region()
    image = network_input(seen, list(range(11)), ROI, CONTEXT)
    padded = np.zeros((11, 64, 64, 3), np.float32)
    padded[:, :37, :45] = image
    wanted = keras.ops.convert_to_numpy(segmenter.network(padded, training=False))[:, :37, :45, 0]
    wanted = np.where(seen.visible_zyx, wanted, 0)
    answer = segmenter.predict(seen)
    assert answer.shape == (11, 37, 45)
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, wanted, atol=0.5 / 255 + 1e-5)
    assert np.ptp(answer[seen.visible_zyx]) > 0.02


def test_zero_where_nothing_is_visible(segmenter):
    seen = region()
    answer = segmenter.predict(seen)
    assert (answer[~seen.visible_zyx] == 0).all()
    assert (answer[seen.visible_zyx] > 0).any()


def test_answers_are_whole_steps_of_8_bits(segmenter):
    steps = segmenter.predict(region()).astype(np.float64) * 255
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)


def test_batches_do_not_change_the_answer(segmenter):
    one = Segmenter(segmenter.network, SHAPE, ROI, CONTEXT, batch_size=1)
    np.testing.assert_allclose(one.predict(region()), segmenter.predict(region()), atol=1.01 / 255)


def test_region_without_lungs_has_no_nodules(segmenter):
    seen = region()
    dark = LungRoi(seen.scan, np.zeros_like(seen.lungs_zyx), np.zeros_like(seen.visible_zyx))
    assert not segmenter.predict(dark).any()


def test_files_hold_all_that_decides_the_answer(segmenter, tmp_path):
    segmenter.save(tmp_path)
    read = Segmenter.load(tmp_path)
    assert (read.shape, read.roi, read.context) == (SHAPE, ROI, CONTEXT)
    np.testing.assert_array_equal(read.predict(region()), segmenter.predict(region()))


def test_same_segmenter_same_bytes(segmenter, tmp_path):
    segmenter.save(tmp_path / "first")
    Segmenter.load(tmp_path / "first").save(tmp_path / "second")
    names = sorted(file.name for file in (tmp_path / "first").iterdir())
    assert names == ["segmenter.json", "unet.weights.h5"]
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
