"""Close-ups of nodules: the same place in the scan, in the reference and in a prediction on another grid."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from nodules.imaging.geometry.volume import Volume
from nodules.pictures.close_up import PIXEL_MM, SIDE_PX, CloseUp, close_up_overlay, largest_nodule
from nodules.scans.stores.slices import INSIDE, NODULE_RIM, ScanSlices

SPACING_ZYX_MM, ORIGIN_XYZ_MM, IDENTITY = (2.0, 0.8, 1.0), (-30.0, 10.0, 100.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)
SHAPE_ZYX = (12, 120, 100)
LARGE_ZYX, SMALL_ZYX = (5, 60, 50), (8, 30, 40)
RADIUS_MM = 6.0


def disc(centre_zyx: tuple[int, int, int]) -> NDArray[np.bool_]:
    y, x = np.indices(SHAPE_ZYX[1:])
    return np.hypot((y - centre_zyx[1]) * SPACING_ZYX_MM[1], (x - centre_zyx[2]) * SPACING_ZYX_MM[2]) <= RADIUS_MM


def scan() -> Volume:
    return Volume(np.full(SHAPE_ZYX, -900, np.int16), SPACING_ZYX_MM, ORIGIN_XYZ_MM)


def stored(targets: list[int]) -> ScanSlices:
    """Slices of a scan with a small nodule and a large one, which the slices 4, 5 and 6 cut."""
    hu = scan().voxels_zyx[targets]
    masks = np.zeros(hu.shape, np.uint8)
    numbers = []
    for row, z in enumerate(targets):
        for nodule, centre in enumerate((SMALL_ZYX, LARGE_ZYX)):
            if abs(z - centre[0]) <= nodule:
                masks[row][disc(centre)] = INSIDE
                hu[row][disc(centre)] = 40
                numbers.append((row, nodule))
    masks[0, :10] = NODULE_RIM
    return ScanSlices(
        seriesuid="1.2.345678",
        scan_slices=SHAPE_ZYX[0],
        spacing_zyx_mm=SPACING_ZYX_MM,
        origin_xyz_mm=ORIGIN_XYZ_MM,
        direction_xyz=IDENTITY,
        voxels_zyx=hu,
        slice_indices=np.array(targets),
        target_indices=np.array(targets),
        nodule_masks_zyx=masks,
        nodule_numbers=np.array(numbers).reshape(-1, 2),
        centre_world_xyz=np.array([scan().voxel_to_world(centre) for centre in (SMALL_ZYX, LARGE_ZYX)]),
        diameter_mm=np.array([4.0, 12.0]),
    )


def predicted(z: int) -> Volume:
    """The large nodule on another grid of the same slices: finer pixels, another corner, slices 3 to 8 only."""
    grid = Volume(
        np.zeros((6, 150, 150), np.int32),
        (2.0, 0.5, 0.5),
        tuple(float(v) for v in scan().voxel_to_world([3, 20, 12])),
    )
    y, x = np.indices((150, 150))
    _, centre_y, centre_x = grid.world_to_voxel(scan().voxel_to_world(LARGE_ZYX))
    grid.voxels_zyx[z - 3][np.hypot(y - centre_y, x - centre_x) * 0.5 <= RADIUS_MM] = 7
    return grid


def centre_and_area(mask: NDArray[np.bool_]) -> tuple[float, float, float]:
    y, x = np.nonzero(mask)
    return float(y.mean()), float(x.mean()), len(y) * PIXEL_MM**2


def test_largest_nodule_lies_in_the_middle_of_all_three() -> None:
    shown = largest_nodule(stored([4, 5, 6, 8]), predicted(5))
    assert isinstance(shown, CloseUp)
    for mask in (shown.reference_yx, shown.predicted_yx, shown.hu_yx > -400):
        assert mask.shape == (SIDE_PX, SIDE_PX)
        y, x, area_mm2 = centre_and_area(mask)
        assert (y, x) == pytest.approx((SIDE_PX / 2, SIDE_PX / 2), abs=1.5)
        assert area_mm2 == pytest.approx(np.pi * RADIUS_MM**2, rel=0.1)
    assert shown.title == "12 mm nodule, series ...345678"


def test_middle_slice_of_those_that_cut_it_is_shown() -> None:
    assert largest_nodule(stored([4, 5, 6, 8]), predicted(4)).predicted_yx.sum() == 0  # type: ignore[union-attr]
    assert largest_nodule(stored([4, 8]), predicted(4)).predicted_yx.any()  # type: ignore[union-attr]


def test_prediction_that_ends_before_the_slice_is_empty() -> None:
    low = predicted(5)
    above = Volume(low.voxels_zyx[:1], low.spacing_zyx_mm, (*low.origin_xyz_mm[:2], low.origin_xyz_mm[2] + 40.0))
    shown = largest_nodule(stored([4, 5, 6]), above)
    assert shown is not None
    assert not shown.predicted_yx.any()


def test_nodule_that_no_stored_slice_cuts_has_none() -> None:
    assert largest_nodule(stored([0, 8]), predicted(5)) is None


def test_overlay_has_a_panel_for_each() -> None:
    shown = largest_nodule(stored([4, 5, 6]), predicted(5))
    assert shown is not None
    figure = close_up_overlay([shown, shown])
    assert [panel.get_title() for panel in figure.axes] == [shown.title] * 2
    left, right, bottom, top = figure.axes[0].images[0].get_extent()
    assert (right - left, abs(bottom - top)) == pytest.approx((SIDE_PX * PIXEL_MM, SIDE_PX * PIXEL_MM))
    assert not close_up_overlay([]).axes
