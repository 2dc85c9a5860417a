"""Each published mistake: the wrong number that its switch makes, beside the right one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from nodules.imaging.geometry.volume import Volume
from nodules.tutorial.steps.defects import TutorialDefects
from nodules.tutorial.steps.grey_values import grey_values
from nodules.tutorial.steps.lung_normalisation import renormalise, scale_of
from nodules.tutorial.steps.lung_steps import find_lung_steps
from nodules.tutorial.steps.nine_features import nine_features
from nodules.tutorial.steps.node_mask import node_mask
from nodules.tutorial.steps.nodule_slices import NoduleSlice, nodule_slices
from nodules.tutorial.steps.prepared_scan import prepare
from nodules.tutorial.steps.resizing import resize_mask
from nodules.tutorial.steps.roi_box import RoiBox, lung_square
from support.tutorial_slices import chest, chest_slice, ellipse, true_lungs, tutorial_params

RIGHT = tutorial_params()


def test_every_switch_is_off_by_default_and_has_a_test_here() -> None:
    names = {field.name for field in fields(TutorialDefects)}
    assert names == {name.removeprefix("test_") for name in globals() if name.removeprefix("test_") in names}
    assert not any(getattr(TutorialDefects(), name) for name in names)
    assert all(getattr(TutorialDefects.as_published(), name) for name in names)


def test_grey_values_wrap_at_16_bit() -> None:
    """(v + 4000) / 3500 x 65,535: tissue exceeds 16 bits from -499 HU and starts again at 0, below lung and air."""
    plane = np.array([[-2000, -1000, -850], [-499, 40, 1500]], dtype=np.int16)
    wrong = grey_values(plane, wrap_at_16_bit=True)
    assert wrong.tolist() == [[37449, 56173, 58982], [18, 10110, 37448]]
    assert grey_values(plane).tolist() == plane.tolist()
    scanned = chest_slice()
    scanned[:8, :8] = -2000  # the filling outside the scanner's circle
    scanned[100, 128] = 1500
    lungs = find_lung_steps(scanned, RIGHT).lungs_yx
    inverted = find_lung_steps(scanned, tutorial_params(grey_values_wrap_at_16_bit=True)).lungs_yx
    assert lungs[true_lungs()].mean() == 1.0
    assert inverted[true_lungs()].mean() < 0.05


def test_any_dark_half_is_lung() -> None:
    """Below the lungs the two classes are fat and muscle: 1,257 pixels of fat become more than 2,000 of lung."""
    fat = ellipse((128, 128), (20, 20))
    assert int(fat.sum()) == 1257
    plane = np.random.default_rng(0).integers(30, 50, (256, 256)).astype(np.int16)
    plane[fat] -= 140
    wrong = find_lung_steps(plane, tutorial_params(any_dark_half_is_lung=True))
    assert wrong.lungs_yx[fat].all()
    assert wrong.lungs_yx.sum() > 2000
    right = find_lung_steps(plane, RIGHT)
    assert right.threshold == wrong.threshold
    assert right.kept == ()
    assert not right.lungs_yx.any()


def test_air_outside_taken_for_lung() -> None:
    """Air on one side of the body, in the scanner's circle, reaches the slice's edge through the filling around it."""
    plane, body = chest_slice(), ellipse((128, 128), (90, 115))
    y, x = np.ogrid[:256, :256]
    beside = ~body & (np.abs(y - 128) < 60) & (x > 128) & (x < 250)
    plane[~body] = -1100  # the filling
    plane[beside] = -1000
    wrong, right = (
        find_lung_steps(plane, tutorial_params(air_outside_taken_for_lung=switch)).lungs_yx for switch in (True, False)
    )
    assert right[true_lungs()].all()
    assert wrong[true_lungs()].all()
    assert (wrong & beside).sum() > 0.9 * beside.sum()
    assert (right & beside).sum() == 0


def test_masks_shifted_by_even_footprints() -> None:
    """Erosion, dilation, dilation: up and left -1 + 5 + 5 = 9 against -2 + 4 + 4 = 6, or -1 + 5 + 4 and -2 + 4 + 5."""

    plane, lung = chest_slice(scale=0), np.zeros((256, 256), dtype=bool)
    lung[80:160, 60:120] = True
    plane[lung] -= 890

    def growth(switch: bool) -> tuple[int, ...]:
        steps = find_lung_steps(plane, tutorial_params(masks_shifted_by_even_footprints=switch))
        (top, left, bottom, right), (first, start, last, stop) = map(_extent, (lung, steps.lungs_yx))
        return top - first, left - start, last - bottom, stop - right

    assert growth(True) == (9, 9, 6, 6)
    assert growth(False) == (8, 8, 7, 7)


def test_background_from_darkest_voxel() -> None:
    """Lungs of -900 and -700 HU: mean -800, deviation 100. Outside stays at 0 HU, 8 deviations above lung."""
    grey, lungs = np.array([[-900.0, -700.0, 40.0]]), np.array([[True, True, False]])
    scale = scale_of(grey[lungs])
    np.testing.assert_allclose(renormalise(grey, lungs, scale), [[-1.0, 1.0, -1.2]])
    np.testing.assert_allclose(renormalise(grey, lungs, scale, from_darkest=True), [[-1.2, 1.0, 8.0]])


def test_each_slice_its_own_grey_scale() -> None:
    """The second slice's lungs are 100 HU denser, which the defect wipes out."""
    scan = chest(chest_slice(-850), chest_slice(-750, seed=1))

    def density(z: int, switch: bool) -> float:
        prepared = prepare(scan, tutorial_params(each_slice_its_own_grey_scale=switch))
        return float(prepared.renormalised(z)[true_lungs(0.8)].mean())

    prepared = prepare(scan, RIGHT)
    deviation = np.concatenate(
        [np.clip(plane, -1000, 400)[lungs] for plane, lungs in zip(scan.voxels_zyx, prepared.lungs_zyx, strict=True)]
    ).std()
    assert density(1, False) - density(0, False) == pytest.approx(100 / deviation, abs=0.01)
    assert 0.2 < 100 / deviation < 0.4
    assert abs(density(1, True) - density(0, True)) < 0.08
    image = prepare(scan, tutorial_params(size_px=256, each_slice_its_own_grey_scale=True)).image(0)
    assert (np.ptp(image), image.mean()) == (pytest.approx(1.0, abs=0.03), pytest.approx(0.0, abs=0.01))


def test_each_slice_its_own_square() -> None:
    """Lungs of half the size are shown as large as whole ones."""
    scan = chest(chest_slice(), chest_slice(scale=0.5))
    own, common = (prepare(scan, tutorial_params(each_slice_its_own_square=switch)) for switch in (True, False))
    sides = [box.shape_yx[0] for box in own.boxes]
    assert sides == [_side(lungs) for lungs in own.lungs_zyx]
    assert sides[0] - sides[1] == 32  # each outer edge of the lungs is 16 pixels farther in
    assert [own.pixel_mm(z) for z in (0, 1)] == pytest.approx([side * 0.75 / 64 for side in sides])
    assert common.boxes[0] == common.boxes[1] == own.boxes[0]
    assert common.pixel_mm(1) == common.pixel_mm(0) == own.pixel_mm(0)


def test_crop_down_right() -> None:
    """Rows 180 to 470, columns 60 to 460: a square of 400 would end at row 580, so 332 x 400 are stretched to it."""
    lungs = np.zeros((512, 512), dtype=bool)
    lungs[180:470, 60:460] = True
    wrong, right = lung_square(lungs, down_right=True), lung_square(lungs)
    assert wrong == RoiBox(180, 60, 512, 460)
    assert wrong.shape_yx == (332, 400)
    assert right == RoiBox(112, 60, 512, 460)
    assert right.shape_yx == (400, 400)


def test_slices_without_lungs_dropped() -> None:
    """One nodule in each of five slices, two of which have no lungs: 3 / 3 nodules a slice in place of 3 / 5."""
    planes = [chest_slice(scale=scale) for scale in (0, 1, 1, 0, 1)]
    answer = np.zeros((64, 64), dtype=np.float32)
    answer[20:25, 20:25] = 1
    for switch, kept, rate in ((True, (1, 2, 4), 1.0), (False, (0, 1, 2, 3, 4), 0.6)):
        params = tutorial_params(slices_without_lungs_dropped=switch, regions_counted_in_every_slice=True)
        prepared = prepare(chest(*planes), params)
        assert prepared.found == (False, True, True, False, True)
        assert prepared.kept == kept
        answers = np.stack([answer * prepared.found[z] for z in prepared.kept])
        features = nine_features(answers, [prepared.pixel_mm(z) for z in prepared.kept], params)
        assert features["numNodesperSlice"] == pytest.approx(rate)


def test_edge_slices_repeated() -> None:
    """A nodule in the first slice of eight: its lower neighbour is not there."""
    scan, centre = _grid(), _grid().voxel_to_world([0, 30, 30])
    assert _chosen(scan, [centre], [6.0], edge_slices_repeated=True) == [0, 0, 1]
    assert _chosen(scan, [centre], [6.0]) == [0, 1]


def test_other_nodules_are_background() -> None:
    """Two nodules of 81 pixels in the same slices: the wrong masks say of each that it is none."""
    scan = _grid()
    centres = [scan.voxel_to_world([4, 20, 20]), scan.voxel_to_world([4, 20, 44])]
    wrong, right = (
        nodule_slices(scan, centres, [7.0, 7.0], tutorial_params(nodules="all", other_nodules_are_background=switch))
        for switch in (True, False)
    )
    assert [(chosen.z, chosen.nodules) for chosen in wrong] == [(z, (n,)) for n in (0, 1) for z in (3, 4, 5)]
    assert [(chosen.z, chosen.nodules) for chosen in right] == [(z, (0, 1)) for z in (3, 4, 5)]
    areas = [
        int(node_mask(scan, chosen, centres, [7.0, 7.0], TutorialDefects()).sum()) for chosen in (wrong[1], right[1])
    ]
    assert areas == [81, 162]


def test_diameter_taken_for_radius() -> None:
    """10 mm at 0.7 mm a pixel: 78.5 mm2 are 160 pixels, not 641."""
    scan = _grid()
    centre = scan.voxel_to_world([4, 30, 30])
    wrong, right = (_mask(scan, centre, 10.0, diameter_taken_for_radius=switch) for switch in (True, False))
    assert int(right.sum()) == sum(np.hypot(y, x) * 0.7 <= 5 for y in range(-30, 31) for x in range(-30, 31))
    assert int(wrong.sum()) == sum(np.hypot(y, x) * 0.7 <= 10 for y in range(-30, 31) for x in range(-30, 31))
    assert int(right.sum()) == pytest.approx(np.pi * 25 / 0.49, rel=0.02)
    assert wrong.sum() / right.sum() == pytest.approx(4.0, rel=0.03)


def test_pixel_indices_truncated() -> None:
    """The published way back from mm to an index, followed pixel by pixel."""
    spacing, origin = 0.7, -195.3
    scan = Volume(np.zeros((1, 64, 64), np.int16), (2.5, spacing, spacing), (origin, origin, 0.0))
    centre = scan.voxel_to_world([0, 32, 32])
    expected = np.zeros((64, 64), dtype=bool)
    for row in range(64):
        for column in range(64):
            if np.hypot(row - 32, column - 32) * spacing <= 6.0 + 1e-6:
                y_mm, x_mm = spacing * row + origin, spacing * column + origin
                expected[int((y_mm - origin) / spacing), int((x_mm - origin) / spacing)] = True
    wrong, right = (_mask(scan, centre, 12.0, pixel_indices_truncated=switch) for switch in (True, False))
    np.testing.assert_array_equal(wrong, expected)
    assert int(right.sum()) == sum(np.hypot(y, x) * spacing <= 6.0 for y in range(-30, 31) for x in range(-30, 31))
    assert int(right.sum() - wrong.sum()) > 0.04 * right.sum()


def test_direction_ignored() -> None:
    """Rows and columns of the grid run against the world's axes: the nodule is looked for outside the slice."""
    turned = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
    scan = replace(_grid(), origin_xyz_mm=(100.0, 100.0, 0.0), direction_xyz=turned)
    centre = (100.0 - 0.7 * 20, 100.0 - 0.7 * 40, 4 * 2.5)
    wrong, right = (_mask(scan, centre, 7.0, direction_ignored=switch) for switch in (True, False))
    assert int(wrong.sum()) == 0
    assert np.argwhere(right).mean(axis=0) == pytest.approx((40, 20))
    upside_down = replace(_grid(), origin_xyz_mm=(0.0, 0.0, 17.5), direction_xyz=(1.0, 0, 0, 0, -1.0, 0, 0, 0, -1.0))
    assert _chosen(upside_down, [(14.0, -14.0, 15.0)], [7.0]) == [0, 1, 2]
    assert _chosen(upside_down, [(14.0, -14.0, 15.0)], [7.0], direction_ignored=True) == [0]


def test_node_mask_divided_by_255() -> None:
    """With its Dice an empty answer to a nodule of 600 pixels scores 0.298 and the perfect one 0.0095."""
    mask = np.zeros((512, 512), dtype=bool)
    mask[100:120, 200:230] = True
    wrong, right = resize_mask(mask, 512, divided_by_255=True), resize_mask(mask, 512)
    assert (wrong.max(), right.max()) == (pytest.approx(0.00392, abs=1e-5), 1.0)
    assert set(np.unique(right)) == {0.0, 1.0}

    def dice(truth: NDArray[np.float32], answer: NDArray[np.bool_]) -> float:
        return float((2 * (truth * answer).sum() + 1) / (truth.sum() + answer.sum() + 1))

    empty = np.zeros_like(mask)
    assert (dice(wrong, empty), dice(wrong, mask)) == (pytest.approx(0.298, abs=1e-3), pytest.approx(0.0095, abs=1e-4))
    assert (dice(right, empty), dice(right, mask)) == (pytest.approx(1 / 601), 1.0)


def test_regions_inverted() -> None:
    """All but the two nodules is one region, too large to count; the nodules themselves are none."""
    answer = _two_nodules()
    wrong, right = _features(answer, regions_inverted=True), _features(answer)
    assert (wrong["numNodes"], wrong["avgArea"]) == (0, 0)
    assert (right["numNodes"], right["avgArea"], right["maxArea"]) == (2, (100 + 400) / 2, 400)
    holed = answer.copy()
    holed[0, 105, 205] = 0.0  # a hole in a nodule is what the inverted map finds
    assert _features(holed, regions_inverted=True)["maxArea"] == 1


def test_regions_counted_in_every_slice() -> None:
    """A nodule over three slices and one in a single slice: four regions, two nodules."""
    answer = np.zeros((5, 64, 64), dtype=np.float32)
    for z, side in ((1, 4), (2, 6), (3, 4)):
        answer[z, 20 : 20 + side, 20 : 20 + side] = 1
    answer[3, 50:52, 50:52] = 1
    wrong, right = _features(answer, regions_counted_in_every_slice=True), _features(answer)
    assert (wrong["numNodes"], wrong["avgArea"], wrong["numNodesperSlice"]) == (4, (16 + 36 + 16 + 4) / 4, 4 / 5)
    assert (right["numNodes"], right["avgArea"], right["numNodesperSlice"]) == (2, (36 + 4) / 2, 2 / 5)


def test_features_in_resized_pixels() -> None:
    """A pixel of 0.5 mm: 100 and 400 pixels are 25 and 100 mm2."""
    wrong, right = (_features(_two_nodules(), 0.5, features_in_resized_pixels=switch) for switch in (True, False))
    assert (wrong["avgArea"], wrong["maxArea"]) == (250, 400)
    assert (right["avgArea"], right["maxArea"]) == (62.5, 100)
    for name in ("avgEquivlentDiameter", "stdEquivlentDiameter", "weightedX", "weightedY"):
        assert right[name] == pytest.approx(0.5 * wrong[name])
    assert right["avgEcc"] == wrong["avgEcc"]


def test_x_and_y_swapped() -> None:
    """Areas 100 and 400 at rows 104.5 and 309.5, columns 204.5 and 409.5."""
    row, column = (104.5 + 4 * 309.5) / 5, (204.5 + 4 * 409.5) / 5
    wrong, right = (_features(_two_nodules(), x_and_y_swapped=switch) for switch in (True, False))
    assert (wrong["weightedX"], wrong["weightedY"]) == (pytest.approx(row), pytest.approx(column))
    assert (right["weightedX"], right["weightedY"]) == (pytest.approx(column), pytest.approx(row))


def _two_nodules() -> NDArray[np.float32]:
    answer = np.zeros((1, 512, 512), dtype=np.float32)
    answer[0, 100:110, 200:210], answer[0, 300:320, 400:420] = 1, 1
    return answer


def _features(answer: NDArray[np.float32], pixel_mm: float = 1.0, **defects: bool) -> pd.Series:
    return nine_features(answer, pixel_mm, tutorial_params(**defects))


def _grid() -> Volume:
    return Volume(np.zeros((8, 64, 64), np.int16), (2.5, 0.7, 0.7))


def _chosen(scan: Volume, centres: Sequence, diameters: Sequence[float], **defects: bool) -> list[int]:
    return [chosen.z for chosen in nodule_slices(scan, centres, diameters, tutorial_params(**defects))]


def _mask(scan: Volume, centre: Sequence[float], diameter_mm: float, **defects: bool) -> NDArray[np.bool_]:
    z = round(scan.shape_zyx[0] / 2) if scan.shape_zyx[0] > 1 else 0
    return node_mask(scan, NoduleSlice(z, (0,)), [tuple(centre)], [diameter_mm], TutorialDefects(**defects))


def _extent(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(mask)
    return int(rows.min()), int(columns.min()), int(rows.max()), int(columns.max())


def _side(mask: NDArray[np.bool_]) -> int:
    top, left, bottom, right = _extent(mask)
    return max(bottom - top, right - left) + 1
