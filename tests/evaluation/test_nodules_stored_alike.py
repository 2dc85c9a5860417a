"""Dice and candidates of a scan must not depend on how it is stored: cropped, padded, shifted, mirrored, turned."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodules.evaluation.nodules import ScanResult
from nodules.imaging.candidates.outline import SegmentationSettings
from nodules.imaging.candidates.probability_map import Segmentation
from nodules.imaging.candidates.proposals import CandidateParams
from nodules.imaging.geometry.spheres import draw_nodules
from nodules.imaging.geometry.volume import Volume
from nodules.imaging.network_input.lung_roi import LungRoiParams, extract, network_input
from nodules.imaging.network_input.slice_context import ContextParams
from nodules.scans.tables.luna import NoduleAnnotation
from support.evaluated_scans import evaluate_scan

SETTINGS, PARAMS = SegmentationSettings(0.45, 3.0), CandidateParams(3.0, 0.1, 0.3, 0.3)
SHAPE, SPACING = (26, 40, 50), (2.2, 0.9, 1.1)
OBLIQUE = (0.96, -0.28, 0.0, 0.28, 0.96, 0.0, 0.0, 0.0, 1.0)
PLACED = ["x_mm", "y_mm", "z_mm", "diameter_mm", "volume_mm3", "probability", "mean_probability", "max_probability"]
PLACED += ["mean_hu", "sd_hu", "sphericity", "pleura_mm", "relative_height"]


@dataclass(frozen=True)
class Case:
    """A probability map with its lungs and nodules."""

    segmentation: Segmentation
    nodules: list[NoduleAnnotation]

    def evaluate(self) -> ScanResult:
        return evaluate_scan("1.2.3", self.segmentation, self.nodules, SETTINGS, PARAMS)

    def stored(self, change) -> Case:
        """The same world, every volume changed by a function of a Volume."""
        grid = self.segmentation.scan
        scan = change(grid)
        lungs = change(grid.with_voxels(self.segmentation.lungs_zyx)).voxels_zyx
        answer = change(grid.with_voxels(self.segmentation.probability_zyx)).voxels_zyx
        return replace(self, segmentation=Segmentation(scan, lungs, answer))


def blobs(seed: int) -> Case:
    """Soft balls of 3 to 8 mm and every sureness, many of them touching, in an ellipsoid of lungs."""
    random = np.random.default_rng(seed)
    hu = random.integers(-900, 100, SHAPE).astype(np.int16)
    scan = Volume(hu, SPACING, (-31.0, 12.5, 207.0), OBLIQUE)
    places = scan.voxel_to_world(np.indices(SHAPE).transpose(1, 2, 3, 0))
    half = np.array(SHAPE) / 2
    unit = (np.indices(SHAPE).transpose(1, 2, 3, 0) - half + 0.5) / (half - 4)
    lungs = (np.linalg.norm(unit, axis=-1) <= 1).astype(np.uint8) * (1 + (np.indices(SHAPE)[2] > 25)).astype(np.uint8)
    answer, nodules = np.zeros(SHAPE), []
    for _ in range(random.integers(1, 7)):
        centre = scan.voxel_to_world(half + random.uniform(-0.5, 0.5, 3) * (half - 5))
        radius_mm = random.uniform(3.0, 8.0)
        depth_mm = radius_mm - np.linalg.norm(places - centre, axis=-1)
        answer = np.maximum(answer, random.uniform(0.2, 0.99) / (1 + np.exp(-depth_mm / 0.6)))
        x, y, z = centre.tolist()
        nodules.append(NoduleAnnotation("1.2.3", (x, y, z), 2 * radius_mm * random.uniform(0.7, 1.2)))
    return Case(Segmentation(scan, lungs, np.where(answer < 0.02, 0, answer).astype(np.float32)), nodules)


def pad(volume: Volume, before: tuple[int, int, int], after: tuple[int, int, int]) -> Volume:
    x, y, z = volume.voxel_to_world([-count for count in before]).tolist()
    voxels = np.pad(volume.voxels_zyx, list(zip(before, after, strict=True)))
    return replace(volume, voxels_zyx=voxels, origin_xyz_mm=(x, y, z))


def mirror(volume: Volume, axes: tuple[int, ...]) -> Volume:
    last = [size - 1 if axis in axes else 0 for axis, size in enumerate(volume.shape_zyx)]
    x, y, z = volume.voxel_to_world(last).tolist()
    signs = [-1.0 if 2 - column in axes else 1.0 for column in range(3)]
    direction = tuple((np.reshape(volume.direction_xyz, (3, 3)) * signs).ravel().tolist())
    return replace(
        volume, voxels_zyx=np.flip(volume.voxels_zyx, axes), origin_xyz_mm=(x, y, z), direction_xyz=direction
    )


def turn(volume: Volume, order: tuple[int, int, int]) -> Volume:
    """Array axis k of the result is axis order[k]."""
    columns = np.reshape(volume.direction_xyz, (3, 3))[:, [2 - order[2], 2 - order[1], 2 - order[0]]]
    a, b, c = (volume.spacing_zyx_mm[axis] for axis in order)
    return replace(
        volume,
        voxels_zyx=volume.voxels_zyx.transpose(order),
        spacing_zyx_mm=(a, b, c),
        direction_xyz=tuple(columns.ravel().tolist()),
    )


def assert_alike(one: ScanResult, other: ScanResult, columns=PLACED) -> None:
    assert len(one.candidates) == len(other.candidates)
    assert one.fates == other.fates
    assert (one.predicted_voxels, one.false_positives) == (other.predicted_voxels, other.false_positives)
    np.testing.assert_allclose([score.dice for score in one.scores], [score.dice for score in other.scores], atol=1e-12)
    measured = (result.candidates[columns].to_numpy(dtype=float) for result in (one, other))
    np.testing.assert_allclose(*measured, rtol=1e-6, atol=1e-6)


counts = st.tuples(*[st.integers(0, 7)] * 3)


@settings(max_examples=15)
@given(st.integers(0, 10**6), counts, counts)
def test_padding_changes_nothing(seed, before, after):
    case = blobs(seed)
    plain, padded = case.evaluate(), case.stored(lambda volume: pad(volume, before, after)).evaluate()
    assert_alike(plain, padded, list(plain.candidates.columns))


@settings(max_examples=15)
@given(st.integers(0, 10**6))
def test_cropping_to_what_holds_anything_changes_nothing(seed):
    case = blobs(seed)
    segmentation, parts = case.segmentation, []
    centres, diameters = zip(*[(one.centre_world_xyz, one.diameter_mm) for one in case.nodules], strict=True)
    used = (segmentation.lungs_zyx > 0) | (segmentation.probability_zyx >= 0.1)
    used |= draw_nodules(segmentation.scan, centres, diameters) > 0
    for axis in range(3):
        inside = np.flatnonzero(used.any(axis=tuple({0, 1, 2} - {axis})))
        parts.append(slice(int(inside[0]), int(inside[-1]) + 1))
    plain, cropped = case.evaluate(), case.stored(lambda volume: volume.crop(tuple(parts))).evaluate()
    assert_alike(plain, cropped, list(plain.candidates.columns))


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.sampled_from([(0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)]))
def test_another_direction_of_an_axis_changes_nothing_in_the_world(seed, axes):
    case = blobs(seed)
    mirrored = case.stored(lambda volume: mirror(volume, axes))
    np.testing.assert_allclose(
        mirrored.segmentation.scan.voxel_to_world([size - 1 if k in axes else 0 for k, size in enumerate(SHAPE)]),
        case.segmentation.scan.origin_xyz_mm,
    )
    # heights count slices upwards, which the readers see to
    assert_alike(case.evaluate(), mirrored.evaluate(), [name for name in PLACED if name != "relative_height"])


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.sampled_from([(0, 2, 1), (2, 1, 0), (1, 2, 0)]))
def test_another_order_of_the_axes_changes_nothing_in_the_world(seed, order):
    case = blobs(seed)
    turned = case.stored(lambda volume: turn(volume, order))
    assert_alike(case.evaluate(), turned.evaluate(), [name for name in PLACED if name != "relative_height"])


# From HU to Dice: a network that answers by a nodule's brightness alone.

ROI, CONTEXT = LungRoiParams(1.0, 6.0, True, (-1000.0, 400.0)), ContextParams(3, 2.0)
SCAN_SHAPE, SCAN_SPACING = (34, 110, 126), (1.7, 0.72, 0.72)
BALLS = [((16.3, 45.0, 40.2), 9.0), ((18.8, 61.7, 80.9), 6.0), ((20.4, 61.0, 91.0), 8.0)]  # the last two touch


def chest() -> tuple[Volume, np.ndarray, list[NoduleAnnotation]]:
    """Lungs of noise and three balls."""
    scan = Volume(np.zeros(SCAN_SHAPE, np.int16), SCAN_SPACING, (-40.3, -61.7, -300.9))
    unit = (np.indices(SCAN_SHAPE).transpose(1, 2, 3, 0) - np.array([17, 55, 63])) / np.array([11, 34, 40])
    lungs = np.where(np.linalg.norm(unit, axis=-1) <= 1, 1 + (unit[..., 2] > 0), 0).astype(np.uint8)
    hu = np.random.default_rng(3).normal(-850, 20, SCAN_SHAPE)
    places, nodules = scan.voxel_to_world(np.indices(SCAN_SHAPE).transpose(1, 2, 3, 0)), []
    for centre_zyx, diameter_mm in BALLS:
        x, y, z = scan.voxel_to_world(centre_zyx).tolist()
        hu[np.linalg.norm(places - (x, y, z), axis=-1) <= diameter_mm / 2] = 30
        nodules.append(NoduleAnnotation("1.2.3", (x, y, z), diameter_mm))
    return scan.with_voxels(hu.astype(np.int16)), lungs, nodules


def segmented(scan: Volume, lungs: np.ndarray) -> Segmentation:
    """As `Segmenter.predict`, with a sigmoid of the middle channel for a network; it is blind outside the lungs."""
    region = extract(scan, lungs, ROI)
    image = network_input(region, range(region.scan.shape_zyx[0]), ROI, CONTEXT)[..., 1]
    answer = (region.lungs_zyx > 0) / (1 + np.exp(-30.0 * (image - 0.45)))
    quantised = np.rint(answer * 255).astype(np.float32) / np.float32(255)
    return Segmentation(region.scan, region.lungs_zyx, quantised)


@pytest.fixture(scope="module")
def plain() -> ScanResult:
    scan, lungs, nodules = chest()
    return evaluate_scan("1.2.3", segmented(scan, lungs), nodules, SETTINGS, PARAMS)


def test_a_scan_gives_its_nodules(plain):
    assert plain.fates == ["found"] * 3
    assert len(plain.candidates) == 3
    assert min(score.dice for score in plain.scores) > 0.8
    assert plain.false_positives == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda volume: pad(volume, (3, 9, 14), (5, 2, 7)),
        lambda volume: volume.crop((slice(2, 33), slice(8, 104), slice(9, 118))),
        lambda volume: pad(volume.crop((slice(2, 33), slice(8, 104), slice(0, 126))), (9, 0, 0), (0, 11, 0)),
    ],
    ids=["padded", "cropped", "shifted by whole slices"],
)
def test_a_scan_stored_otherwise_gives_the_same_nodules(plain, change):
    scan, lungs, nodules = chest()
    lungs = change(scan.with_voxels(lungs)).voxels_zyx
    found = evaluate_scan("1.2.3", segmented(change(scan), lungs), nodules, SETTINGS, PARAMS)
    assert_alike(plain, found, list(plain.candidates.columns))


def test_the_scan_moved_in_the_world_has_its_nodules_there(plain):
    """By whole pixels of the region's grid, so that the samples are the same."""
    scan, lungs, nodules = chest()
    step = np.array([7.0, -12.0, 31.0])
    moved = [replace(one, centre_world_xyz=tuple((np.array(one.centre_world_xyz) + step).tolist())) for one in nodules]
    origin = tuple((np.array(scan.origin_xyz_mm) + step).tolist())
    found = evaluate_scan("1.2.3", segmented(replace(scan, origin_xyz_mm=origin), lungs), moved, SETTINGS, PARAMS)
    assert_alike(plain, found, [name for name in PLACED if name not in ("x_mm", "y_mm", "z_mm")])
    places = ["x_mm", "y_mm", "z_mm"]
    np.testing.assert_allclose(found.candidates[places] - plain.candidates[places], np.tile(step, (3, 1)), atol=1e-6)
