"""Errors are found where the network is wrong, and only there; the sampler shows them once they are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nodules.models.mining import find_errors
from nodules.models.sampling import PatchSampler, SliceSet
from nodules.models.training_errors import TrainingErrors
from small_training import SAMPLING


class BrightIsNodule:
    """Stands in for a network: every bright pixel of the first channel is a nodule."""

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        return (images[..., :1] > 0.5).astype(np.float32)


def errors_in(*sets: SliceSet) -> TrainingErrors:
    return find_errors(BrightIsNodule(), 2, sets, (-1000.0, 400.0))


def two_slices() -> SliceSet:
    """A nodule at (10, 12), a vessel at (20, 33) touching nothing, a speck of 3 pixels; the second slice is empty."""
    hu = np.full((2, 40, 50, 1), -900, dtype=np.int16)
    nodules = np.zeros((2, 40, 50), dtype=np.uint8)
    hu[0, 8:13, 10:15] = 0
    nodules[0, 8:13, 10:14] = 1  # one column short: the found part still touches it
    hu[0, 19:22, 32:35] = 0
    hu[0, 30, 5:8] = 0
    seen = np.ones((2, 40, 50), dtype=bool)
    return SliceSet(hu, seen, nodules, seen, np.array([[0, 10, 12, 0]]), np.array([5.0]))


def test_only_what_touches_no_nodule_and_is_large_enough() -> None:
    found = errors_in(two_slices(), two_slices())
    assert found.false_positives.tolist() == [[0, 0, 20, 33], [1, 0, 20, 33]]
    assert found.misses.shape == (0, 4)


def test_nothing_found_is_an_empty_table() -> None:
    dark = two_slices()
    dark.hu[:] = -900
    found = errors_in(dark)
    assert found.false_positives.shape == (0, 4)
    assert found.misses.tolist() == [[0, 0, 10, 12]]


def test_invisible_pixels_are_not_searched() -> None:
    hidden = two_slices()
    hidden.visible[:] = False
    assert len(errors_in(hidden).false_positives) == 0


def test_the_sampler_shows_them_once_it_knows_them() -> None:
    params = replace(SAMPLING, nodule_share=0.0, hard_share=1.0)
    sampler = PatchSampler([two_slices()], params, (-1000.0, 400.0))
    sampler.learn_from(TrainingErrors.of([[0, 0, 20, 33]]))
    image, mask = sampler.draw(np.random.default_rng(0), augment=False)
    vessel = np.zeros((8, 8), dtype=bool)
    vessel[3:6, 3:6] = True  # the patch runs from 16 to 23 and from 29 to 36
    assert np.array_equal(image[..., 0] > 0.5, vessel)
    assert not mask.any()


def test_what_lies_beside_a_nodule_is_no_hard_negative() -> None:
    above = two_slices()
    above.nodules[0] = 0
    above.nodules[0, 8:13, 10:14] = 2  # the slice above shows the nodule without cutting it
    assert errors_in(above).false_positives.tolist() == [[0, 0, 20, 33]]


def three_nodules() -> SliceSet:
    """In two slices: nodule 0 is bright in the first only, nodule 1 in neither, nodule 2 is not marked where it is."""
    hu = np.full((2, 40, 50, 1), -900, dtype=np.int16)
    nodules = np.zeros((2, 40, 50), dtype=np.uint8)
    nodules[:, 8:13, 10:14] = nodules[:, 20:24, 30:34] = 1
    hu[0, 12, 13] = 0  # one pixel of nodule 0
    seen = np.ones((2, 40, 50), dtype=bool)
    centres = np.array([[0, 10, 12, 0], [1, 10, 12, 0], [0, 22, 32, 1], [1, 22, 32, 1], [0, 35, 5, 2]])
    return SliceSet(hu, seen, nodules, seen, centres, np.full(5, 5.0))


def test_a_nodule_is_missed_if_no_slice_shows_a_pixel_of_it() -> None:
    found = errors_in(three_nodules())

    assert found.misses.tolist() == [[0, 0, 22, 32], [0, 1, 22, 32], [0, 0, 35, 5]]


def test_missed_nodules_are_shown_once_they_are_known_and_any_nodule_until_then() -> None:
    params = replace(SAMPLING, nodule_share=0.0, missed_share=1.0, hard_share=0.0, jitter_px=0)
    slices = three_nodules()
    sampler = PatchSampler([slices], params, (-1000.0, 400.0))
    before = [sampler._place(np.random.default_rng(seed))[1:] for seed in range(30)]
    sampler.learn_from(errors_in(slices))
    after = [sampler._place(np.random.default_rng(seed))[1:] for seed in range(30)]

    assert set(before) == {tuple(place) for place in slices.centres[:, :3].tolist()}
    assert set(after) == {(0, 22, 32), (1, 22, 32), (0, 35, 5)}


def test_each_kind_of_place_has_its_share() -> None:
    params = replace(SAMPLING, nodule_share=0.2, missed_share=0.3, hard_share=0.4, jitter_px=0, balance_diameters=False)
    slices = three_nodules()
    slices.lungs[:] = False  # healthy lung: the middle of the image
    sampler = PatchSampler([slices], params, (-1000.0, 400.0))
    sampler.learn_from(TrainingErrors.of([[0, 0, 1, 1]], [[0, 0, 2, 2]]))
    random = np.random.default_rng(0)
    drawn = [sampler._place(random)[2:] for _ in range(4000)]

    shares = {place: drawn.count(place) / 4000 for place in [(1, 1), (2, 2), (20, 25)]}
    assert abs(shares[2, 2] - 0.3) < 0.03
    assert abs(shares[1, 1] - 0.4) < 0.03
    assert abs(shares[20, 25] - 0.1) < 0.03


def test_errors_of_several_rounds_are_kept_each_once(tmp_path) -> None:
    first = TrainingErrors.of([[0, 1, 2, 3]], [[5, 5, 5, 5], [4, 4, 4, 4]])
    second = TrainingErrors.of([[0, 1, 2, 3], [0, 0, 2, 3]])
    first.save(tmp_path / "errors.npz")

    both = TrainingErrors.load(tmp_path / "errors.npz") + second

    assert both.false_positives.tolist() == [[0, 0, 2, 3], [0, 1, 2, 3]]
    assert both.misses.tolist() == [[4, 4, 4, 4], [5, 5, 5, 5]]
    assert [path.name for path in tmp_path.iterdir()] == ["errors.npz"]
