"""Patches drawn from small hand-made slices."""

from dataclasses import replace

import numpy as np
import pytest
from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter
from scipy import ndimage

from nodules.imaging.network_input.lung_roi import LungRoiParams
from nodules.models.runtime import devices
from nodules.models.runtime.epochs import DrawnEpoch
from nodules.models.unet.sampling import MixedSampler, PatchSampler, _warped_squares
from nodules.models.unet.training import drawn_epoch
from nodules.models.unet.training_slices import SliceSet
from support.small_training import SAMPLING

ROI = LungRoiParams(1.0, 4.0, True, (-1000.0, 400.0))
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
    centres = np.array(sections, np.int64).reshape(-1, 4)
    return SliceSet(hu, np.ones(nodules.shape, bool), nodules, lungs, centres, np.full(len(centres), 5.0))


def coordinates(height=30, width=40) -> np.ndarray:
    """HU that say where they are: 10 y + x / 4, all different, inside the window."""
    y, x = np.mgrid[:height, :width]
    return (10 * y + x // 4).astype(np.int16)[None, ..., None]


def sampler(*sets, params=SAMPLING) -> PatchSampler:
    return PatchSampler(sets, params, ROI)


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


def marked(hu: int, diameters_mm: list[float]) -> SliceSet:
    """One slice with a nodule for each diameter; all pixels have the same HU."""
    sections = [(0, 12, 20, number) for number in range(len(diameters_mm))]
    slices = slice_set(sections, rows=1)
    return replace(slices, hu=np.full_like(slices.hu, hu), diameters_mm=np.array(diameters_mm, np.float64))


@pytest.mark.parametrize(
    ("small", "shares"),
    [([3.0, 4.0, 5.9], (1 / 3, 1 / 3, 1 / 3)), ([], (0, 1 / 2, 1 / 2))],
    ids=["all_strata", "one_is_empty"],
)
def test_strata_of_diameter_are_equally_likely_when_balanced(small, shares):
    sets = [marked(-1000, small), marked(0, [6.0]), marked(400, [10.0, 30.0])]
    patches = sampler(*sets, params=replace(SAMPLING, balance_diameters=True))
    levels = np.array([image[4, 4, 0] for image, _ in drawn(patches)])
    found = [np.isclose(levels, windowed(hu)).mean() for hu in (-1000, 0, 400)]
    assert found == pytest.approx(shares, abs=0.05)


def test_balanced_sampling_needs_a_nodule_too():
    with pytest.raises(ValueError, match="no nodule"):
        sampler(slice_set([]), params=replace(SAMPLING, balance_diameters=True))


def test_a_diameter_for_each_centre():
    with pytest.raises(ValueError, match="each of the 1 centres, got 2"):
        replace(slice_set([(0, 12, 20, 0)]), diameters_mm=np.ones(2))


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


@pytest.mark.parametrize("place", [(12, 20), (1, 38), (29, 0)], ids=["inside", "corner", "other_corner"])
def test_warped_patch_is_what_scipy_interpolates(place):
    """No turn but that of the warp; beyond the edge the edge repeats."""
    image = np.random.default_rng(2).integers(-900, 300, (30, 40, 3)).astype(np.int16)
    warp = np.array([[0.9, -0.4], [0.3, 1.1]])
    size = 15
    (seen,) = _warped_squares(warp, [image], *place, size)
    offset = np.array(place) - warp @ [7.0, 7.0]
    for channel in range(3):
        layer = image[..., channel].astype(np.float64)
        wanted = ndimage.affine_transform(layer, warp, offset, (size, size), order=1, mode="nearest")
        np.testing.assert_allclose(seen[..., channel], wanted, atol=1e-2)


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


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_flattened_patches_draw_neighbours_towards_the_middle_slice(share):
    """Channels of -900, -500 and -700 HU: a flattened patch keeps the middle and the proportion of the differences."""
    levels = slice_set([(0, 12, 20, 0)], channels=3)
    levels.hu[...] = [-900, -500, -700]
    params = replace(SAMPLING, flattened_share=share)
    images = [image for image, _ in drawn(sampler(levels, params=params), augment=True, number=400)]
    centres = np.array([image[4, 4] for image in images]) * 1400 - 1000
    np.testing.assert_allclose(centres[:, 1], -500, atol=0.1)
    below, above = centres[:, 0] + 500, centres[:, 2] + 500
    np.testing.assert_allclose(below, 2 * above, atol=0.1)
    assert ((below >= -400.1) & (below <= 0.1)).all()
    assert np.mean(below > -399) == pytest.approx(share, abs=0.07)


def test_pixels_beside_a_nodule_are_no_nodule():
    square = slice_set([(0, 12, 20, 0)], rows=1)
    square.nodules[0, 9:15, 17:23] = 2
    square.nodules[0, 10:14, 18:22] = 1
    params = replace(SAMPLING, nodule_share=1.0, patch_px=16, jitter_px=0)
    assert drawn(sampler(square, params=params), number=1)[0][1].sum() == 16


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


def epoch(seed, augment=True) -> DrawnEpoch:
    varied = replace(
        SAMPLING, nodule_share=0.5, hard_share=0.0, jitter_px=3, warped_share=0.5, hu_shift=20.0, hu_noise=10.0
    )
    return drawn_epoch(sampler(slice_set([(0, 12, 20, 0)]), params=varied), 3, 5, seed, augment=augment)


def test_batch_depends_on_its_number_alone():
    forwards, backwards = epoch((7, 1)), epoch((7, 1))
    one_way = {index: forwards[index][0] for index in range(5)}
    other_way = {index: backwards[index][0] for index in reversed(range(5))}
    assert len(forwards) == 5
    for index in range(5):
        assert np.array_equal(one_way[index], other_way[index])


def test_threads_keep_the_order_of_the_batches(monkeypatch):
    """What Keras itself feeds, with one thread and with five."""
    fed = []
    for threads in (1, 5):
        monkeypatch.setattr(devices, "feeding_threads", lambda threads=threads: threads)
        patches = epoch((7, 1))
        assert patches.workers == threads
        adapter = PyDatasetAdapter(patches)
        fed.append([images.copy() for images, _ in adapter._get_iterator()])
    assert len(fed[0]) == 5
    np.testing.assert_array_equal(*fed)


def test_batches_epochs_and_seeds_differ():
    images = [epoch(seed)[index][0].tobytes() for seed in ((7, 1), (7, 2), (8, 1)) for index in (0, 1)]
    assert len(set(images)) == len(images)


def marked_with(hu: int, share: float) -> PatchSampler:
    """Patches that all have one HU."""
    one = replace(slice_set([(0, 12, 20, 0)]), hu=np.full((2, 30, 40, 1), hu, np.int16))
    return sampler(one, params=replace(SAMPLING, nodule_share=0.5, hard_share=share))


def test_mixture_draws_from_each_sampler_by_its_share():
    mixed = MixedSampler([marked_with(-1000, 0), marked_with(400, 0), marked_with(-300, 0)], [0.7, 0.3, 0.0])
    images, masks = mixed.batch(np.random.default_rng(1), DRAWS, augment=False)
    assert images.shape[:3] == masks.shape[:3] == (DRAWS, 8, 8)
    assert (images[:, 0, 0, 0] == 1).mean() == pytest.approx(0.3, abs=0.03)
    assert set(np.unique(images)) == {0.0, 1.0}
    again = mixed.batch(np.random.default_rng(1), DRAWS, augment=False)
    assert np.array_equal(again[0], images)


def test_hard_negatives_return_to_the_sampler_that_they_came_from():
    dull, bright = marked_with(-1000, 0.5), marked_with(400, 0.5)
    mixed = MixedSampler([marked_with(-300, 0), dull, bright], [0.0, 0.0, 1.0])
    assert len(mixed.mined_sets) == 2
    assert [int(slices.hu[0, 0, 0, 0]) for slices in mixed.mined_sets] == [-1000, 400]
    mixed.set_hard_negatives(np.array([[0, 0, 3, 4], [1, 1, 5, 6], [1, 0, 7, 8]]))
    assert dull._hard_negatives.tolist() == [[0, 0, 3, 4]]
    assert bright._hard_negatives.tolist() == [[0, 1, 5, 6], [0, 0, 7, 8]]


@pytest.mark.parametrize("shares", [[1.0], [0.5, 0.4], [1.5, -0.5]])
def test_mixture_without_a_fitting_share_for_each_sampler_is_refused(shares):
    with pytest.raises(ValueError, match="a share for each of 2 samplers"):
        MixedSampler([marked_with(0, 0), marked_with(1, 0)], shares)


def test_mixture_of_different_inputs_is_refused():
    other = PatchSampler([slice_set([(0, 12, 20, 0)])], SAMPLING, replace(ROI, masked_input=False))
    with pytest.raises(ValueError, match="the same lung_roi"):
        MixedSampler([marked_with(0, 0), other], [0.5, 0.5])


def test_input_that_is_not_masked_shows_what_lies_outside_the_visible_region():
    hidden = replace(slice_set([(0, 12, 20, 0)]), visible=np.zeros((2, 30, 40), bool))
    masked, shown = (
        PatchSampler([hidden], SAMPLING, replace(ROI, masked_input=value)).draw(np.random.default_rng(0), False)[0]
        for value in (True, False)
    )
    assert masked.max() == 0
    assert shown.max() == 1
