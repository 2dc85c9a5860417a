"""Hard negatives: found where the network is wrong, and only there; shown once they are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nodules.imaging.network_input.lung_roi import LungRoiParams
from nodules.models.unet.hard_negatives import find_false_positives
from nodules.models.unet.sampling import PatchSampler
from nodules.models.unet.training_slices import SliceSet
from support.small_training import SAMPLING

ROI = LungRoiParams(1.0, 4.0, True, (-1000.0, 400.0))


def bright_is_nodule(images: np.ndarray) -> np.ndarray:
    """Stands in for a network: every bright pixel of the first channel is a nodule."""
    return (images[..., 0] > 0.5).astype(np.float32)


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
    found = find_false_positives(bright_is_nodule, [two_slices(), two_slices()], ROI)
    assert found.tolist() == [[0, 0, 20, 33], [1, 0, 20, 33]]


def test_nothing_found_is_an_empty_table() -> None:
    dark = two_slices()
    dark.hu[:] = -900
    assert find_false_positives(bright_is_nodule, [dark], ROI).shape == (0, 4)


def test_invisible_pixels_are_not_searched() -> None:
    hidden = two_slices()
    hidden.visible[:] = False
    assert len(find_false_positives(bright_is_nodule, [hidden], ROI)) == 0


def test_the_sampler_shows_them_once_it_knows_them() -> None:
    params = replace(SAMPLING, nodule_share=0.0, hard_share=1.0)
    sampler = PatchSampler([two_slices()], params, ROI)
    sampler.set_hard_negatives(np.array([[0, 0, 20, 33]]))
    image, mask = sampler.draw(np.random.default_rng(0), augment=False)
    vessel = np.zeros((8, 8), dtype=bool)
    vessel[3:6, 3:6] = True  # the patch runs from 16 to 23 and from 29 to 36
    assert np.array_equal(image[..., 0] > 0.5, vessel)
    assert not mask.any()


def test_what_lies_beside_a_nodule_is_no_hard_negative() -> None:
    above = two_slices()
    above.nodules[0] = 0
    above.nodules[0, 8:13, 10:14] = 2  # the slice above shows the nodule without cutting it
    assert find_false_positives(bright_is_nodule, [above], ROI).tolist() == [[0, 0, 20, 33]]
