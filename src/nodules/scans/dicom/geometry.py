"""Sort the slices of a series by position, and find the evenly spaced grid that they form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodules.scans.dicom.headers import Slice
from nodules.scans.result import ReadingParams, ScanError

MAX_GAP_DEVIATION = 0.1
"""Tolerance as a fraction of the median gap between slices; a missing slice deviates by 1.

It applies to the deviation of a gap from the median gap, and of a slice from its position on the even grid.
"""

GAP_ROUNDING_MM = 0.11
"""Deviation that is always tolerated: if positions are rounded to 0.1 mm, gaps of 0.625 mm read as 0.6 and 0.7."""

MIN_GAP = 0.1
"""Smallest gap within one scan, as a fraction of the mean gap; a smaller gap means that two scans are mixed."""

MAX_SHEAR_PX = 1.0
"""Tolerance for sideways shifts in pixels.

It applies to the shift of the last slice from the slice normal through the first slice (gantry tilt), and of any slice
from the line through the first and the last slice.
"""

_COSINE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class SliceGrid:
    """An evenly spaced stack, made from the slices of a series.

    Attributes
    ----------
    places : (Z,) ndarray of float64
        Source of each slice of the stack: the index of a slice of the series, or a fraction between two indices if the
        slice is interpolated.
    origin_xyz_mm : tuple of float
        World position of the first pixel of the first slice.
    steps_xyz_mm : (3, 3) ndarray
        Columns are the world displacements to the next column, the next row and the next slice.
    tilt_degrees : float
        Angle between the displacement to the next slice and the slice normal; 0 if the three steps are perpendicular.
    repairs : tuple of str
        Messages about what was repaired.
    """

    places: NDArray[np.float64]
    origin_xyz_mm: tuple[float, float, float]
    steps_xyz_mm: NDArray[np.float64]
    tilt_degrees: float
    repairs: tuple[str, ...]


def sort_slices(series: list[Slice], label: str) -> list[Slice]:
    """Sort slices by position along the slice normal; slices at the same position are sorted by name.

    Raises
    ------
    ScanError
        If the slices differ in size, spacing, orientation or frame of reference, or the orientation is not orthonormal.
    """
    first = min(series, key=lambda item: (item.name, item.frame or 0))
    axes = _axes(first)
    if not np.allclose(axes @ axes.T, np.eye(3), atol=_COSINE_TOLERANCE):
        raise ScanError(
            f"{label}: {first.display_name} has an impossible orientation {first.orientation}; expected two "
            "perpendicular unit vectors"
        )
    for item in series:
        _check_agrees(item, first, label)
    depths = depths_mm(series, first)
    order = sorted(range(len(series)), key=lambda k: (depths[k], series[k].name, series[k].frame or 0))
    ordered = [series[k] for k in order]
    _check_one_frame_of_reference(ordered, label)
    return ordered


def depths_mm(series: list[Slice], reference: Slice) -> NDArray[np.float64]:
    """Return the position of each slice along the normal of `reference`, in mm."""
    depths: NDArray[np.float64] = np.array([item.position_xyz for item in series]) @ _exact_axes(reference)[:, 2]
    return depths


def fit_even_grid(series: list[Slice], params: ReadingParams, label: str) -> SliceGrid:
    """Find the evenly spaced stack that represents the slices.

    Parameters
    ----------
    series : list of Slice
        Sorted, at different positions.
    params : ReadingParams
        Gives the largest gap and tilt that are repaired.
    label : str
        Name of the source in messages.

    Raises
    ------
    ScanError
        If a gap or the tilt is too large, a slice is shifted sideways, two slices are too close together, or a single
        slice has no thickness.
    """
    first, last = series[0], series[-1]
    columns = _exact_axes(first)
    spacing_y_mm, spacing_x_mm = first.spacing_yx_mm
    if len(series) == 1:
        if not 0 < first.thickness_mm < math.inf:
            raise ScanError(
                f"{label}: {first.display_name} is a single slice without a SliceThickness; "
                "give the folder of the whole scan"
            )
        steps = columns * [spacing_x_mm, spacing_y_mm, first.thickness_mm]
        return SliceGrid(np.zeros(1), first.position_xyz, steps, 0.0, ())
    depths = depths_mm(series, first)
    places, repairs = _even_places(series, depths, params, label)
    steps = columns * [spacing_x_mm, spacing_y_mm, (depths[-1] - depths[0]) / (len(places) - 1)]
    tilt_degrees = _tilt_degrees(series, depths, params, label)
    if tilt_degrees:
        steps[:, 2] = np.subtract(last.position_xyz, first.position_xyz) / (len(places) - 1)
        repairs += (f"gantry tilt of {tilt_degrees:.1f} degrees straightened",)
    return SliceGrid(places, first.position_xyz, steps, tilt_degrees, repairs)


def _axes(item: Slice) -> NDArray[np.float64]:
    """Return the world directions of the x, y and slice axes as rows."""
    along_x, along_y = np.reshape(item.orientation, (2, 3))
    return np.stack([along_x, along_y, np.cross(along_x, along_y)])


def _exact_axes(item: Slice) -> NDArray[np.float64]:
    """Return the world directions as exactly perpendicular columns, without the rounding of the header's cosines."""
    stated = _axes(item).T
    exact, _ = np.linalg.qr(stated)
    columns: NDArray[np.float64] = exact * np.sign((exact * stated).sum(axis=0))
    return columns


def _check_agrees(item: Slice, first: Slice, label: str) -> None:
    for what, here, there, tolerance in (
        ("size", item.shape_yx, first.shape_yx, 0.0),
        ("pixel spacing", item.spacing_yx_mm, first.spacing_yx_mm, 1e-3),
        ("orientation", item.orientation, first.orientation, _COSINE_TOLERANCE),
    ):
        if max(abs(a - b) for a, b in zip(here, there, strict=True)) > tolerance:
            raise ScanError(
                f"{label}: series {first.series_uid} mixes {what} {there} ({first.display_name}) "
                f"and {here} ({item.display_name}); give one reconstruction only"
            )


def _check_one_frame_of_reference(series: list[Slice], label: str) -> None:
    known = [item for item in series if item.frame_of_reference_uid]
    for item in known[1:]:
        if item.frame_of_reference_uid != known[0].frame_of_reference_uid:
            raise ScanError(
                f"{label}: series {item.series_uid} mixes the frames of reference {known[0].frame_of_reference_uid} "
                f"({known[0].display_name}) and {item.frame_of_reference_uid} ({item.display_name}): their positions "
                "cannot be compared; give one acquisition only"
            )


def _even_places(
    series: list[Slice], depths: NDArray[np.float64], params: ReadingParams, label: str
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    gaps = np.diff(depths)
    usual = float(np.median(gaps))
    tolerance = min(max(MAX_GAP_DEVIATION * usual, GAP_ROUNDING_MM), 0.45 * usual)
    even = np.linspace(depths[0], depths[-1], len(depths))
    if _all_near(gaps, usual, tolerance) and _all_near(depths, even, tolerance):
        return np.arange(len(depths), dtype=float), ()
    _check_gaps(series, gaps, params, label)
    grid = np.linspace(depths[0], depths[-1], round((depths[-1] - depths[0]) / usual) + 1)
    spacing_mm = grid[1] - grid[0]
    places = np.interp(grid, depths, np.arange(len(depths)))
    found = np.rint((depths - depths[0]) / spacing_mm).astype(int)
    some_missing = len(grid) > len(depths) == len(set(found))
    if some_missing and _all_near(depths, grid[found], tolerance):
        places[found] = np.arange(len(depths))
        missing = len(grid) - len(depths)
        done = f"{missing} missing slice{'s' if missing > 1 else ''} filled in by interpolation"
    else:
        done = f"slices {gaps.min():.3f} to {gaps.max():.3f} mm apart resampled to {spacing_mm:.3f} mm"
    k = int(np.argmax(gaps))
    named = f"{series[k].display_name} and {series[k + 1].display_name}"
    return places, (f"{done}; the longest gap is {gaps[k]:.3f} mm, between {named}",)


def _all_near(values: NDArray[np.float64], wanted: NDArray[np.float64] | float, tolerance: float) -> bool:
    return bool((np.abs(values - wanted) <= tolerance).all())


def _check_gaps(series: list[Slice], gaps: NDArray[np.float64], params: ReadingParams, label: str) -> None:
    longest, shortest = int(np.argmax(gaps)), int(np.argmin(gaps))
    if gaps[longest] > params.max_gap_mm:
        raise ScanError(
            f"{label}: slices are {np.median(gaps):.3f} mm apart, but {gaps[longest]:.3f} mm between "
            f"{series[longest].display_name} at {series[longest].position_xyz} and "
            f"{series[longest + 1].display_name}, over the limit of {params.max_gap_mm:g} mm "
            "(max_gap_mm); slices are missing or two scans are mixed"
        )
    if gaps[shortest] < MIN_GAP * gaps.mean():
        raise ScanError(
            f"{label}: slices are {np.median(gaps):.3f} mm apart, but only {gaps[shortest]:.3f} mm between "
            f"{series[shortest].display_name} and {series[shortest + 1].display_name}; two scans are mixed"
        )


def _tilt_degrees(series: list[Slice], depths: NDArray[np.float64], params: ReadingParams, label: str) -> float:
    """Return the angle between the table and the slice normal; 0 if it shifts no slice by more than `MAX_SHEAR_PX`."""
    positions = np.array([item.position_xyz for item in series])
    sideways_xy = (positions - positions[0]) @ _exact_axes(series[0])[:, :2]
    fraction = (depths - depths[0]) / (depths[-1] - depths[0])
    limit_xy = MAX_SHEAR_PX * np.array(series[0].spacing_yx_mm[::-1])
    off_line = np.abs(sideways_xy - fraction[:, None] * sideways_xy[-1])
    if (off_line > limit_xy).any():
        worst = series[int(np.argmax((off_line / limit_xy).max(axis=1)))]
        raise ScanError(
            f"{label}: {worst.display_name} lies {off_line.max():.1f} mm beside the line through the first and "
            "the last slice; two scans are mixed"
        )
    if (np.abs(sideways_xy[-1]) <= limit_xy).all():
        return 0.0
    sideways_mm = float(np.linalg.norm(sideways_xy[-1]))
    degrees = math.degrees(math.atan2(sideways_mm, depths[-1] - depths[0]))
    if degrees > params.max_tilt_degrees:
        raise ScanError(
            f"{label}: slices are shifted sideways by {sideways_mm:.1f} mm over the scan: the gantry was tilted by "
            f"{degrees:.1f} degrees, over the limit of {params.max_tilt_degrees:g} (max_tilt_degrees)"
        )
    return degrees
