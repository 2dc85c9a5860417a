"""Stored slices give the network in training exactly what the whole scan gives it later."""

from dataclasses import replace

import numpy as np
import pytest

from nodules.imaging.geometry.volume import Volume
from nodules.imaging.network_input.lung_roi import LungRoi, LungRoiParams, extract, network_input
from nodules.imaging.network_input.slice_context import ContextParams
from nodules.models.unet.sampling import PatchSampler
from nodules.models.unet.training_slices import SliceSet, slice_set
from nodules.scans.stores.extraction import ExtractParams, extract_slices
from nodules.scans.stores.slices import INSIDE
from nodules.scans.tables.luna import NoduleAnnotation
from support.small_training import SAMPLING

ROI = LungRoiParams(spacing_mm=1.5, margin_mm=4.0, masked_input=True, window_hu=(-1000.0, 400.0))
ROUNDING = 0.5 / 1400 + 1e-6  # training keeps whole HU
SHAPE, SPACING, ORIGIN = (22, 50, 64), (2.5, 1.3, 1.1), (-31.7, 12.3, -205.0)
TURNED = (0.9986295, -0.0523360, 0.0, 0.0523360, 0.9986295, 0.0, 0.0, 0.0, 1.0)  # 3 degrees about z


def scan(direction=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)) -> tuple[Volume, Volume]:
    """Noise with two ellipsoids as lungs that fill neither the scan nor its slices."""
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    lungs = np.zeros(SHAPE, np.uint8)
    for label, centre_x in ((1, 18), (2, 45)):
        lungs[((z - 11) / 7) ** 2 + ((y - 24) / 15) ** 2 + ((x - centre_x) / 10) ** 2 <= 1] = label
    hu = np.random.default_rng(4).integers(-1000, 400, SHAPE, dtype=np.int16)
    volume = Volume(hu, SPACING, ORIGIN, direction)
    return volume, volume.with_voxels(lungs)


def nodules(volume: Volume) -> list[NoduleAnnotation]:
    """One in each lung, and one in the neck, above the region."""
    places = {(10.0, 22.0, 18.0): 9.0, (13.0, 28.0, 45.0): 14.0, (21.0, 24.0, 30.0): 4.0}
    return [
        NoduleAnnotation("1.2.3", tuple(float(v) for v in volume.voxel_to_world(place)), diameter_mm)
        for place, diameter_mm in places.items()
    ]


def prepared(context: ContextParams, free=8, **changes) -> tuple[SliceSet, LungRoi, list[int]]:
    volume, lungs = scan(**changes)
    stored = extract_slices("1.2.3", volume, nodules(volume), ExtractParams(4, free), context, seed=1)
    region = extract(volume, lungs.voxels_zyx, ROI)
    first = round(float(volume.world_to_voxel(region.scan.origin_xyz_mm)[0]))
    inside = [int(z) - first for z in stored.target_indices if 0 <= z - first < region.scan.shape_zyx[0]]
    assert 0 < len(inside) < len(stored.target_indices)
    return slice_set(stored, lungs, ROI, context), region, inside


@pytest.mark.parametrize("direction", [scan()[0].direction_xyz, TURNED], ids=["straight", "turned"])
@pytest.mark.parametrize("context", [ContextParams(1, 2.5), ContextParams(3, 2.5), ContextParams(5, 4.0)])
def test_patches_show_what_segmentation_sees(context, direction):
    training, region, indices = prepared(context, direction=direction)
    wanted = network_input(region, indices, ROI, context)
    assert training.hu.shape == wanted.shape
    assert np.array_equal(training.visible, region.visible_zyx[indices])
    assert np.array_equal(training.lungs, region.lungs_zyx[indices] > 0)
    side = 2 * max(wanted.shape[1:3])
    look = replace(SAMPLING, patch_px=side)
    for row, image in enumerate(wanted):
        middle = np.array([[0, side // 2, side // 2, 0]])
        one = SliceSet(
            *(getattr(training, n)[[row]] for n in ("hu", "visible", "nodules", "lungs")), middle, np.ones(1)
        )
        seen, _ = PatchSampler([one], look, ROI).draw(np.random.default_rng(0), augment=False)
        np.testing.assert_allclose(seen[: image.shape[0], : image.shape[1]], image, atol=ROUNDING)
        assert (image == 0).any()
    assert (wanted.max(axis=(1, 2, 3)) > 0.9).sum() > 5


def test_masks_and_centres_lie_on_the_nodules():
    training, region, indices = prepared(ContextParams(3, 2.5))
    volume, _ = scan()
    shown = nodules(volume)
    assert set(training.centres[:, 3]) == {0, 1}, "the third nodule is above the lungs"
    assert training.diameters_mm.tolist() == [shown[number].diameter_mm for number in training.centres[:, 3]]
    for _, y, x, number in training.centres:
        _, true_y, true_x = region.scan.world_to_voxel(shown[number].centre_world_xyz)
        assert abs(y - true_y) <= 0.5
        assert abs(x - true_x) <= 0.5
    grid = region.scan.voxel_to_world(np.indices(region.scan.shape_zyx).transpose(1, 2, 3, 0))
    distances = np.min([np.linalg.norm(grid - n.centre_world_xyz, axis=-1) - n.diameter_mm / 2 for n in shown], axis=0)
    for mask, distance_mm in zip(training.nodules, distances[indices], strict=True):
        assert (mask[distance_mm < -2 * ROI.spacing_mm] == INSIDE).all()
        assert (mask[distance_mm > 2 * ROI.spacing_mm] != INSIDE).all()
        assert not mask[distance_mm > 2 * ROI.spacing_mm + volume.spacing_zyx_mm[0]].any()
    assert training.nodules.any()


def test_scan_without_nodules_has_slices_but_no_centres():
    volume, lungs = scan()
    context = ContextParams(3, 2.5)
    stored = extract_slices("1.2.3", volume, [], ExtractParams(4, 3), context, seed=1)
    training = slice_set(stored, lungs, ROI, context)
    assert training.centres.shape == (0, 4)
    assert training.diameters_mm.shape == (0,)
    assert len(training.hu) > 0
    assert not training.nodules.any()


def test_nothing_to_show_gives_empty_arrays():
    volume, lungs = scan()
    context = ContextParams(3, 2.5)
    stored = extract_slices("1.2.3", volume, [], ExtractParams(4, 0), context, seed=1)
    training = slice_set(stored, lungs, ROI, context)
    assert training.hu.shape[0] == 0
    assert training.hu.shape[3] == 3


def test_without_lungs_nothing_is_visible():
    volume, lungs = scan()
    context = ContextParams(3, 2.5)
    stored = extract_slices("1.2.3", volume, nodules(volume), ExtractParams(4, 3), context, seed=1)
    none = replace(lungs, voxels_zyx=np.zeros(SHAPE, np.uint8))
    training = slice_set(stored, none, ROI, context)
    assert len(training.hu) == len(stored.target_indices)
    assert not training.visible.any()
    assert (training.hu == -1000).all()
