from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from nodules.scans.dicom.geometry import fit_even_grid, sort_slices
from nodules.scans.dicom.headers import Slice
from nodules.scans.result import ReadingParams, ScanError

PARAMS = ReadingParams(max_gap_mm=8.0, max_tilt_degrees=20.0, max_thickness_mm=3.0)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def _slices(z_mm, orientation=AXIAL, x_mm=None) -> list[Slice]:
    """Slices at heights z_mm, shifted by x_mm."""
    x_mm = np.zeros(len(z_mm)) if x_mm is None else x_mm
    return [
        Slice(f"{k}.dcm", None, "1.2", "", (5, 6), (0.7, 0.8), (float(x), 20.0, float(z)), orientation, 2.0, False)
        for k, (x, z) in enumerate(zip(x_mm, z_mm, strict=True))
    ]


class TestOrder:
    @given(
        turn=st.tuples(*[st.floats(-180, 180)] * 3),
        order=st.permutations(range(7)),
        gaps=st.lists(st.floats(0.1, 5.0), min_size=6, max_size=6),
    )
    @settings(deadline=None)
    def test_along_the_normal_whatever_the_names(self, turn, order, gaps):
        axes = Rotation.from_euler("zyx", turn, degrees=True).as_matrix()
        places = np.array([30.0, -20.0, 7.0]) + np.concatenate([[0], np.cumsum(gaps)])[:, None] * axes[:, 2]
        series = [
            replace(
                _slices([0])[0], name=f"{order[k]}", position_xyz=tuple(place), orientation=tuple(axes[:, :2].T.flat)
            )
            for k, place in enumerate(places)
        ]
        assert sort_slices([series[k] for k in order], "scan") == series

    def test_frames_of_one_file(self):
        frames = [replace(item, name="all", frame=9 - k) for k, item in enumerate(_slices([0, 2, 4]))]
        assert sort_slices(frames[::-1], "scan") == frames

    def test_missing_frame_of_reference_is_no_other(self):
        series = _slices([0, 2, 4])
        series[1] = replace(series[1], frame_of_reference_uid="1.2.3")
        assert sort_slices(series, "scan") == series


class TestEvenGrid:
    def test_even(self):
        grid = fit_even_grid(_slices([-3, -0.5, 2, 4.5]), PARAMS, "scan")
        np.testing.assert_array_equal(grid.places, [0, 1, 2, 3])
        np.testing.assert_allclose(grid.steps_xyz_mm, np.diag([0.8, 0.7, 2.5]))
        assert grid.origin_xyz_mm == (0, 20, -3)
        assert (grid.tilt_degrees, grid.repairs) == (0, ())

    def test_two_missing(self):
        grid = fit_even_grid(_slices([0, 2, 8, 10, 12]), PARAMS, "scan")
        np.testing.assert_allclose(grid.places, [0, 1, 4 / 3, 5 / 3, 2, 3, 4])
        assert grid.steps_xyz_mm[2, 2] == pytest.approx(2)
        assert grid.repairs == (
            "2 missing slices filled in by interpolation; the longest gap is 6.000 mm, between 1.dcm and 2.dcm",
        )

    def test_missing_between_rounded_positions(self):
        """Slices 0.625 mm apart, written to 0.1 mm: those that are there are not mixed with their neighbours."""
        z = [round(0.625 * k, 1) for k in (0, 1, 2, 3, 4, 6, 7, 8)]
        grid = fit_even_grid(_slices(z), PARAMS, "scan")
        np.testing.assert_array_equal(np.delete(grid.places, 5), np.arange(8))
        assert grid.places[5] == pytest.approx(4.5, abs=0.1)
        assert grid.repairs[0].startswith("1 missing slice filled")

    def test_uneven(self):
        grid = fit_even_grid(_slices([0, 2, 5, 9, 12]), PARAMS, "scan")  # the median gap is 3
        np.testing.assert_allclose(grid.places, [0, 1 + 1 / 3, 2 + 1 / 4, 3, 4])
        assert grid.repairs == (
            "slices 2.000 to 4.000 mm apart resampled to 3.000 mm; the longest gap is 4.000 mm, "
            "between 2.dcm and 3.dcm",
        )

    def test_distances_that_drift(self):
        """No gap is a tenth off the median of 2.6 mm, but the slice in the middle is 1.6 mm off its even place."""
        z = np.concatenate([[0], np.cumsum([2.5] * 16 + [2.6] + [2.7] * 16)])
        grid = fit_even_grid(_slices(z), PARAMS, "scan")
        assert "resampled" in grid.repairs[0]
        np.testing.assert_allclose(np.interp(grid.places, np.arange(len(z)), z), np.arange(34) * z[-1] / 33)

    def test_the_limit_of_a_gap(self):
        fit_even_grid(_slices([0, 2, 10, 12, 14]), PARAMS, "scan")
        with pytest.raises(ScanError, match=r"8\.100 mm between 1\.dcm at .* and 2\.dcm, over the limit of 8 mm"):
            fit_even_grid(_slices([0, 2, 10.1, 12, 14]), PARAMS, "scan")

    def test_even_slices_may_be_farther_apart_than_the_limit(self):
        assert fit_even_grid(_slices([0, 10, 20]), PARAMS, "scan").steps_xyz_mm[2, 2] == pytest.approx(10)

    def test_two_scans_that_interleave_closely(self):
        with pytest.raises(ScanError, match=r"only 0\.050 mm between 1\.dcm and 2\.dcm; two scans are mixed"):
            fit_even_grid(_slices([0, 2, 2.05, 4, 6]), PARAMS, "scan")

    def test_tilt(self):
        shift = 2 * math.tan(math.radians(12))
        grid = fit_even_grid(_slices([0, 2, 4, 6], x_mm=np.arange(4) * shift), PARAMS, "scan")
        assert grid.tilt_degrees == pytest.approx(12)
        np.testing.assert_allclose(grid.steps_xyz_mm[:, 2], [shift, 0, 2], atol=1e-12)

    def test_too_much_tilt(self):
        with pytest.raises(ScanError, match=r"tilted by 26\.6 degrees, over the limit of 20"):
            fit_even_grid(_slices([0, 2, 4, 6], x_mm=np.arange(4)), PARAMS, "scan")

    def test_a_slice_that_jumps_aside(self):
        with pytest.raises(ScanError, match=r"2\.dcm lies 3\.0 mm beside the line"):
            fit_even_grid(_slices([0, 2, 4, 6], x_mm=[0, 0, 3, 0]), PARAMS, "scan")

    def test_single_slice(self):
        grid = fit_even_grid(_slices([7]), PARAMS, "scan")
        np.testing.assert_allclose(grid.steps_xyz_mm, np.diag([0.8, 0.7, 2.0]))
        np.testing.assert_array_equal(grid.places, [0])

    def test_rounded_cosines_are_made_exact(self):
        rounded = (0.9659, 0.2588, 0, -0.2588, 0.9659, 0)
        steps = fit_even_grid(_slices([0, 2], rounded), PARAMS, "scan").steps_xyz_mm / [0.8, 0.7, 2]
        np.testing.assert_allclose(steps.T @ steps, np.eye(3), atol=1e-12)
