"""Patches drawn from small hand-made slices."""

from dataclasses import replace

import numpy as np
import pytest

from nodules.models.sampling import PatchSampler, SliceSet
from nodules.models.training import EpochPatches
from small_training import SAMPLING

WINDOW_HU = (-1000.0, 400.0)
DRAWS = 2000


def slice_set(sections, rows=2, height=30, width=40, channels=1, nodule_px=1) -> SliceSet:
    """Air with nodules of 400 HU; `sections` are (row, y, x, nodule). Lungs are the right half of every slice."""
    hu = np.full((rows, height, width, channels), -1000, np.int16)
    nodules = np.zeros((rows, height, width), np.uint8)
    for row, y, x, _ in sections:
        nodules[row, y : y + nodule_px, x : x + nodule_px] = 1
    hu[nodules > 0] = 400
    lungs = np.zeros(nodules.shape, bool)
    lungs[..., width // 2 :] = True
    return SliceSet(hu, np.ones(nodules.shape, bool), nodules, lungs, np.array(sections, np.int64).reshape(-1, 4))


def coordinates(height=30, width=40) -> np.ndarray:
    """HU that say where they are: 10 y + x / 4, all different, inside the window."""
    y, x = np.mgrid[:height, :width]
    return (10 * y + x // 4).astype(np.int16)[None, ..., None]


def sampler(*sets, params=SAMPLING) -> PatchSampler:
    return PatchSampler(sets, params, WINDOW_HU)


def drawn(from_sampler, seed=0, augment=False, number=DRAWS):
    random = np.random.default_rng(seed)
    return [from_sampler.draw(random, augment) for _ in range(number)]


def windowed(hu):
    return (np.asarray(hu, np.float32) + 1000) / 1400


def test_same_generator_same_patches():
    varied = replace(
        SAMPLING, nodule_share=0.5, hard_share=0.0, jitter_px=3, warped_share=0.5, hu_shift=20.0, hu_noise=10.0
    )
    patches = sampler(slice_set([(0, 12, 20, 0)]), params=varied)
    first, again, other = (patches.batch(np.random.default_rng(seed), 6, augment=True) for seed in (1, 1, 2))
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])
    assert first[0].shape == first[1].shape == (6, 8, 8, 1)
    assert first[0].dtype == first[1].dtype == np.float32


def test_patch_is_the_windowed_square_around_the_nodule():
    places = replace(slice_set([(0, 12, 20, 0)], rows=1), hu=coordinates())
    image, mask = sampler(places).draw(np.random.default_rng(0), augment=False)
    np.testing.assert_allclose(image[..., 0], windowed(coordinates()[0, 8:16, 16:24, 0]), atol=1e-6)
    assert np.argwhere(mask[..., 0]).tolist() == [[4, 4]]


def test_hu_beyond_the_window_are_clipped():
    loud = replace(slice_set([(0, 12, 20, 0)]), hu=np.full((2, 30, 40, 1), 3000, np.int16))
    assert (sampler(loud).draw(np.random.default_rng(0), augment=False)[0] == 1).all()


def test_outside_the_image_its_edge_repeats():
    corner = replace(slice_set([(0, 1, 38, 0)], rows=1), hu=coordinates())
    image, mask = sampler(corner).draw(np.random.default_rng(0), augment=False)
    padded = np.pad(coordinates()[0, ..., 0], 8, mode="edge")
    np.testing.assert_allclose(
        image[..., 0], windowed(padded[8 + 1 - 4 : 8 + 1 + 4, 8 + 38 - 4 : 8 + 38 + 4]), atol=1e-6
    )
    assert np.argwhere(mask[..., 0]).tolist() == [[4, 4]]


def test_image_smaller_than_the_patch():
    small = slice_set([(0, 1, 2, 0)], rows=1, height=3, width=4)
    image, mask = sampler(small).draw(np.random.default_rng(0), augment=True)
    assert image.shape == mask.shape == (8, 8, 1)


def test_invisible_pixels_are_0_whatever_the_noise():
    half = slice_set([(0, 12, 20, 0)], rows=1, channels=3)
    visible = np.zeros((1, 30, 40), bool)
    visible[..., :20] = True
    half = replace(half, hu=np.full((1, 30, 40, 3), -300, np.int16), visible=visible)
    for image, _ in drawn(
        sampler(half, params=replace(SAMPLING, hu_shift=30.0, hu_noise=30.0)), augment=True, number=50
    ):
        zero = image == 0
        assert zero.sum() == 4 * 8 * 3
        assert (zero.all(axis=-1) == zero.any(axis=-1)).all()


def test_every_nodule_is_as_likely_however_many_slices_show_it():
    often = [(row, 12, 20, 0) for row in range(9)]
    sets = [slice_set([*often, (9, 12, 30, 1)], rows=10), slice_set([(0, 5, 5, 0)])]
    numbered = [
        replace(sets[0], hu=np.where(np.arange(10)[:, None, None, None] == 9, 0, -1000) + np.zeros_like(sets[0].hu)),
        replace(sets[1], hu=np.full_like(sets[1].hu, 400)),
    ]
    patches = sampler(*numbered)
    levels = np.array([image[4, 4, 0] for image, _ in drawn(patches)])
    for level in (windowed(-1000), windowed(0), windowed(400)):
        assert np.isclose(levels, level).mean() == pytest.approx(1 / 3, abs=0.05)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_share_of_patches_with_a_nodule(share):
    """The nodule lies left, 16 pixels from the lungs: no patch of lung shows it."""
    patches = sampler(slice_set([(0, 12, 4, 0)]), params=replace(SAMPLING, nodule_share=share))
    with_nodule = [mask.any() for _, mask in drawn(patches)]
    assert np.mean(with_nodule) == pytest.approx(share, abs=0.04 if 0 < share < 1 else 0)


def test_jitter_reaches_its_limits_and_no_further():
    patches = sampler(slice_set([(0, 12, 20, 0)]), params=replace(SAMPLING, jitter_px=2))
    places = np.array([np.argwhere(mask[..., 0])[0] for _, mask in drawn(patches, number=500)])
    assert set(places[:, 0]) == set(places[:, 1]) == {2, 3, 4, 5, 6}


def test_healthy_patches_are_centred_in_the_lungs():
    where = replace(
        slice_set([(0, 12, 4, 0)], rows=1),
        hu=10 * np.arange(40, dtype=np.int16)[:, None] + np.zeros((1, 30, 40, 1), np.int16),
    )
    patches = sampler(where, params=replace(SAMPLING, nodule_share=0.0))
    centres = [image[4, 4, 0] for image, _ in drawn(patches, number=300)]
    assert min(centres) >= windowed(200) - 1e-6
    assert max(centres) > windowed(350)


def test_slice_without_lungs_gives_its_middle():
    empty = slice_set([(0, 12, 20, 0)], rows=1)
    empty = replace(empty, lungs=np.zeros((1, 30, 40), bool), hu=coordinates())
    image, _ = sampler(empty, params=replace(SAMPLING, nodule_share=0.0)).draw(np.random.default_rng(0), augment=False)
    assert image[4, 4, 0] == pytest.approx(windowed(coordinates()[0, 15, 20, 0]))


def test_augmentation_turns_image_and_mask_together():
    """An L of four pixels has 8 different positions; HU follow the mask through all of them."""
    letter = slice_set([(0, 12, 20, 0)], rows=1)
    letter.nodules[0, 11:14, 20] = letter.nodules[0, 13, 21] = 1
    letter.hu[letter.nodules > 0] = 400
    seen = set()
    for image, mask in drawn(sampler(letter, params=replace(SAMPLING, hu_shift=30.0)), augment=True, number=200):
        assert np.array_equal(image[..., 0] > 0.5, mask[..., 0] == 1)
        seen.add(mask.tobytes())
    assert len(seen) == 8


@pytest.mark.parametrize("channels", [1, 3])
def test_warping_keeps_image_and_mask_together(channels):
    """Two HU values only: between pixels both change sides at one half."""
    letter = slice_set([(0, 12, 20, 0)], rows=1, channels=channels)
    letter.nodules[0, 8:18, 20:24] = letter.nodules[0, 8:12, 20:28] = 1
    letter.hu[letter.nodules > 0] = 400
    params = replace(SAMPLING, patch_px=24, jitter_px=3, warped_share=1.0, scale=(0.8, 1.25))
    seen = set()
    for image, mask in drawn(sampler(letter, params=params), augment=True, number=50):
        sure = np.abs(image - 0.5) > 1e-4
        assert ((image > 0.5) == (mask == 1))[sure].all()
        assert sure.mean() > 0.99
        seen.add(mask.tobytes())
    assert len(seen) == 50


def test_warp_magnifies_by_its_scale():
    square = slice_set([(0, 12, 20, 0)], rows=1)
    square.nodules[0, 10:15, 18:23] = 1  # 25 pixels around the centre
    params = replace(SAMPLING, patch_px=24, warped_share=1.0, scale=(2.0, 2.0))
    areas = [mask.sum() for _, mask in drawn(sampler(square, params=params), augment=True, number=50)]
    assert np.mean(areas) == pytest.approx(25 * 2**2, rel=0.05)
    assert np.ptp(areas) < 20


def test_share_of_warped_patches():
    """Quarter turns leave a square of 4 x 4 pixels what it is; other angles do not."""
    square = slice_set([(0, 12, 20, 0)], rows=1)
    square.nodules[0, 10:14, 18:22] = 1
    params = replace(SAMPLING, patch_px=16, warped_share=0.3, scale=(1.3, 1.3))
    warped = [mask.sum() != 16 for _, mask in drawn(sampler(square, params=params), augment=True, number=500)]
    assert np.mean(warped) == pytest.approx(0.3, abs=0.07)


def test_validation_patches_are_not_varied():
    noisy = replace(SAMPLING, hu_shift=50.0, hu_noise=50.0, warped_share=1.0, scale=(0.5, 2.0))
    images = {image.tobytes() for image, _ in drawn(sampler(slice_set([(0, 12, 20, 0)]), params=noisy), number=20)}
    assert len(images) == 1


def test_no_slices_are_refused():
    with pytest.raises(ValueError, match="no training slices"):
        sampler(slice_set([], rows=0))


def test_nodule_patches_without_a_nodule_are_refused():
    with pytest.raises(ValueError, match="no nodule"):
        sampler(slice_set([]))
    sampler(slice_set([]), params=replace(SAMPLING, nodule_share=0.0))


def test_slice_set_is_mapped_from_its_files(tmp_path):
    written = slice_set([(0, 12, 20, 0), (1, 3, 4, 1)], channels=3)
    written.save(tmp_path)
    read = SliceSet.load(tmp_path)
    for name, array in vars(written).items():
        assert np.array_equal(getattr(read, name), array)
        assert getattr(read, name).dtype == array.dtype
    assert isinstance(read.hu, np.memmap)


def epoch(seed, augment=True) -> EpochPatches:
    varied = replace(
        SAMPLING, nodule_share=0.5, hard_share=0.0, jitter_px=3, warped_share=0.5, hu_shift=20.0, hu_noise=10.0
    )
    return EpochPatches(sampler(slice_set([(0, 12, 20, 0)]), params=varied), 3, 5, seed, augment)


def test_batch_depends_on_its_number_alone():
    forwards, backwards = epoch((7, 1)), epoch((7, 1))
    one_way = {index: forwards[index][0] for index in range(5)}
    other_way = {index: backwards[index][0] for index in reversed(range(5))}
    assert len(forwards) == 5
    for index in range(5):
        assert np.array_equal(one_way[index], other_way[index])


def test_batches_epochs_and_seeds_differ():
    images = [epoch(seed)[index][0].tobytes() for seed in ((7, 1), (7, 2), (8, 1)) for index in (0, 1)]
    assert len(set(images)) == len(images)
