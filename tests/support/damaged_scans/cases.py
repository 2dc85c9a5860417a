"""Unusual and damaged scans: how a test case is described, and the phantom that all of them store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nodules.imaging.geometry.volume import Volume
from nodules.scans.result import ReadingParams

PARAMS = ReadingParams(max_gap_mm=6.0, max_tilt_degrees=30.0, max_thickness_mm=5.0)
SPACING_ZYX_MM = (2.5, 0.6, 0.8)
ORIGIN_XYZ_MM = (-120.5, 33.25, -301.0)
TISSUES_HU = (-1000, -860, -720, -95, 42, 61, 380, 1210)
HU_ZYX = np.random.default_rng(7).choice(TISSUES_HU, (6, 5, 7)).astype(np.int16)
SCAN = Volume(HU_ZYX, SPACING_ZYX_MM, ORIGIN_XYZ_MM)


@dataclass(frozen=True)
class Read:
    """The very voxels on the very grid.

    Attributes
    ----------
    volume : Volume
        What must come out.
    says : tuple of str
        Patterns, each of which a reason of the verdict must match; nothing may be said where there is none.
    left_out : mapping of str to int
        `Reading.left_out`.
    other_series : int
        How many.
    tolerance_hu : int
        0, or what rounding takes.
    """

    volume: Volume = SCAN
    says: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    other_series: int = 0
    tolerance_hu: int = 0


@dataclass(frozen=True)
class ReadField:
    """A field of HU that is linear in the world, found again wherever the scan was: the grid is the reader's choice.

    Attributes
    ----------
    corner_xyz_mm : tuple of float
        Centre of the first voxel that was scanned.
    edges_xyz_mm : (3, 3) ndarray
        Rows run from there to the last slice, the last row and the last column.
    says : tuple of str
        As in `Read`.
    """

    corner_xyz_mm: tuple[float, float, float]
    edges_xyz_mm: NDArray[np.float64]
    says: tuple[str, ...]


@dataclass(frozen=True)
class Refused:
    """ScanError whose message matches a pattern."""

    message: str


@dataclass(frozen=True)
class Case:
    """How to write the input into a folder, and the outcome that it must have.

    Attributes
    ----------
    write : callable
        Writes into the given empty folder; returns what a person would give to the program.
    is_sent : bool
        Given as bytes, as to the server.
    """

    name: str
    write: Callable[[Path], Path]
    outcome: Read | ReadField | Refused
    is_sent: bool = False
    series_uid: str | None = None


def linear_hu(points_xyz_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """HU at world points (..., 3), between -900 and 900 everywhere near the phantom, different along each axis."""
    return (points_xyz_mm - np.asarray(ORIGIN_XYZ_MM)) @ np.array([31.0, -47.0, 17.0]) - 90.0


def linear_volume() -> Volume:
    """The linear field on the grid of the phantom."""
    return with_hu(np.rint(linear_hu(SCAN.voxel_to_world(np.moveaxis(np.indices(SCAN.shape_zyx), 0, -1)))))


def with_hu(hu_zyx: NDArray[Any]) -> Volume:
    """Other voxels, from the same first voxel on."""
    return Volume(hu_zyx.astype(np.int16), SPACING_ZYX_MM, ORIGIN_XYZ_MM)
