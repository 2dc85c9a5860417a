"""Each step of the tutorial against a slow implementation of its own, on phantoms and on real slices."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.cluster import KMeans

from nodules.imaging.geometry.spheres import draw_nodules
from nodules.imaging.geometry.volume import Volume
from nodules.scans.read import read_scan
from nodules.scans.tables.luna import read_annotations
from nodules.tutorial.steps.lung_steps import dilate, erode, find_lung_steps, middle, two_means
from nodules.tutorial.steps.nine_features import nine_features
from nodules.tutorial.steps.prepared_scan import PreparedScan, prepare
from support import tutorial_by_definition
from support.default_params import READING
from support.tutorial_slices import chest, chest_slice, tutorial_params

REAL_DATA = os.environ.get("NODULES_REAL_DATA", "")
needs_real_slices = pytest.mark.skipif(not REAL_DATA, reason="NODULES_REAL_DATA does not name a folder of real CT")
REAL_SLICES = 20
PARAMS = tutorial_params(size_px=512)


def phantom() -> tuple[Volume, NDArray[np.bool_]]:
    """Three noisy slices of a chest, their lungs of three sizes, with a nodule of 12 mm in the middle one."""
    scan = chest(*(chest_slice(scale=scale, seed=seed) for seed, scale in enumerate((0.9, 1.0, 0.8))))
    node = draw_nodules(scan, [tuple(scan.voxel_to_world([1, 120, 80]))], [12.0]) > 0
    voxels = np.where(node, scan.voxels_zyx + 860, scan.voxels_zyx).astype(np.int16)
    return scan.with_voxels(voxels), node[1]


@cache
def real_slices() -> list[tuple[Volume, NDArray[np.bool_]]]:
    """The middle slice of the first nodule of 20 series, as a scan of one slice, with its node mask."""
    root = Path(REAL_DATA) / "luna16_slices"
    cases = []
    for seriesuid, nodules in sorted(read_annotations(root / "annotations.csv").items())[:REAL_SLICES]:
        volume = read_scan(root / "subset0" / f"{seriesuid}.mhd", READING).volume
        z = round(float(volume.world_to_voxel(nodules[0].centre_world_xyz)[0]))
        _, rows, columns = volume.shape_zyx
        plane = volume.crop((slice(z, z + 1), slice(0, rows), slice(0, columns)))
        cases.append((plane, draw_nodules(plane, [nodules[0].centre_world_xyz], [nodules[0].diameter_mm])[0] > 0))
    return cases


def check_slice(scan: Volume, z: int, node_yx: NDArray[np.bool_], prepared: PreparedScan, slow_zyx: list) -> None:
    """Compare all steps of a slice, given the slow lungs of all slices."""
    steps, slow = find_lung_steps(scan.voxels_zyx[z], PARAMS), slow_zyx[z]
    np.testing.assert_allclose(steps.levelled_yx, slow.levelled, atol=1e-9)
    assert steps.threshold == pytest.approx(slow.threshold, abs=1e-9)
    np.testing.assert_array_equal(middle(steps.levelled_yx) < steps.threshold, middle(slow.levelled) < slow.threshold)
    np.testing.assert_array_equal(steps.lungs_yx, slow.lungs)
    assert slow.lungs.any()
    voxels = np.clip(scan.voxels_zyx, -1000, 400).astype(float)
    inside = [value for plane, other in zip(voxels, slow_zyx, strict=True) for value in plane[other.lungs].tolist()]
    expected = tutorial_by_definition.renormalised(scan.voxels_zyx[z], slow.lungs, inside)
    np.testing.assert_allclose(prepared.renormalised(z), expected, atol=1e-9)
    union = np.logical_or.reduce([other.lungs for other in slow_zyx])
    top, left, side = tutorial_by_definition.centred_square(union)
    box = prepared.boxes[z]
    assert (box.top, box.left, box.shape_yx) == (top, left, (side, side))
    cut = (slice(top, top + side), slice(left, left + side))
    np.testing.assert_allclose(prepared.image(z), tutorial_by_definition.enlarge(expected[cut], 512), atol=1e-5)
    np.testing.assert_array_equal(prepared.node_mask(z, node_yx), tutorial_by_definition.nearest(node_yx[cut], 512))


def test_all_steps_on_a_phantom() -> None:
    scan, node = phantom()
    slow = [tutorial_by_definition.lungs(plane) for plane in scan.voxels_zyx]
    check_slice(scan, 1, node, prepare(scan, PARAMS), slow)


@needs_real_slices
@pytest.mark.parametrize("number", range(REAL_SLICES))
def test_all_steps_on_real_slices(number: int) -> None:
    scan, node = real_slices()[number]
    assert scan.shape_zyx == (1, 512, 512)
    assert node.any()
    check_slice(scan, 0, node, prepare(scan, PARAMS), [tutorial_by_definition.lungs(scan.voxels_zyx[0])])


class TestTwoMeans:
    def test_by_hand(self) -> None:
        assert two_means(np.array([0.0, 1.0, 2.0, 10.0, 11.0])) == pytest.approx((1.0, 10.5))

    def test_all_cuts_tried_on_random_values(self) -> None:
        random = np.random.default_rng(3)
        for spread in (0.1, 1.0, 3.0):
            values = np.concatenate([random.normal(0, 1, 300), random.normal(5, spread, 60)])
            assert two_means(values) == pytest.approx(tutorial_by_definition.two_means_by_all_cuts(values))

    def test_many_starts_of_the_usual_clustering_find_no_better_one(self) -> None:
        scan, _ = phantom()
        values = middle(find_lung_steps(scan.voxels_zyx[1], PARAMS).levelled_yx)
        centres = KMeans(2, n_init=5, random_state=0, tol=0).fit(values.reshape(-1, 1)).cluster_centers_
        assert two_means(values) == pytest.approx(tuple(sorted(centres.ravel())), abs=1e-6)

    def test_a_large_offset_costs_no_digits(self) -> None:
        low, high = two_means(np.array([0.0, 1.0, 5.0, 6.0]) + 1e9)
        assert (low - 1e9, high - 1e9) == (0.5, 5.5)

    @pytest.mark.parametrize("values", [[3.0, 3.0], [], [1.0, np.nan], [1.0, np.inf]])
    def test_what_cannot_be_clustered_is_refused(self, values: list[float]) -> None:
        with pytest.raises(ValueError, match="got"):
            two_means(np.array(values))


class TestFootprints:
    @pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
    def test_against_loops_up_to_the_edges(self, share: float) -> None:
        mask = np.random.default_rng(1).random((37, 45)) < share
        np.testing.assert_array_equal(erode(mask), tutorial_by_definition.erode_by_loops(mask))
        np.testing.assert_array_equal(dilate(mask), tutorial_by_definition.dilate_by_loops(mask))
        np.testing.assert_array_equal(
            dilate(mask, mirrored=True), tutorial_by_definition.dilate_by_loops(mask, mirrored=True)
        )

    def test_how_far_they_reach(self) -> None:
        point, square = np.zeros((40, 40), bool), np.zeros((40, 40), bool)
        point[20, 20], square[10:30, 10:30] = True, True
        for mask, first, last in (
            (dilate(point), 15, 24),
            (dilate(point, mirrored=True), 16, 25),
            (erode(square), 11, 27),
        ):
            rows, columns = np.nonzero(mask)
            assert (rows.min(), rows.max(), columns.min(), columns.max()) == (first, last, first, last)


class TestNineFeatures:
    def test_random_blobs_in_a_stack(self) -> None:
        random = np.random.default_rng(8)
        blurred = ndimage.gaussian_filter(random.normal(size=(6, 48, 48)), 1.6)
        masks = blurred > np.quantile(blurred, 0.94)
        assert len(tutorial_by_definition.flood(masks)) > 8
        found = nine_features(masks * 0.8, 0.7, PARAMS)
        np.testing.assert_allclose(found, tutorial_by_definition.nine_features(masks, 0.7), atol=1e-6)

    @needs_real_slices
    def test_real_slices(self) -> None:
        """The bright parts of the images of 20 slices stand for predictions."""
        images = np.stack([prepare(scan, PARAMS).image(0)[::4, ::4] for scan, _ in real_slices()])
        masks = images > 1.0
        found = nine_features(masks.astype(np.float32), 2.1, PARAMS)
        assert found["numNodes"] > 100
        np.testing.assert_allclose(found, tutorial_by_definition.nine_features(masks, 2.1), rtol=1e-6, atol=1e-6)


def test_footprints_lean_as_published_with_the_defect() -> None:
    scan, _ = phantom()
    params = tutorial_params(masks_shifted_by_even_footprints=True)
    expected = tutorial_by_definition.lungs(scan.voxels_zyx[0], mirrored=False).lungs
    assert expected.any()
    np.testing.assert_array_equal(find_lung_steps(scan.voxels_zyx[0], params).lungs_yx, expected)
