"""The cubes of one scan that teach the reducer: which places, and which of them hold a nodule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nodules.imaging.geometry.spheres import in_spheres
from nodules.imaging.geometry.volume import Volume
from nodules.imaging.network_input.cube import cut_cubes
from nodules.scans.tables.luna import NoduleAnnotation


@dataclass(frozen=True)
class CubeSet:
    """Cubes of one scan, in memory or mapped from disk.

    Attributes
    ----------
    hu : (N, M, M, M) ndarray of int16
        Cubes with a margin around what the network sees, so that they can be shifted and scaled.
    is_nodule : (N,) ndarray of bool
        Whether a nodule lies in the middle.
    """

    hu: NDArray[np.int16]
    is_nodule: NDArray[np.bool_]

    def save(self, folder: Path) -> None:
        """Write hu.npy and is_nodule.npy."""
        np.save(folder / "hu.npy", self.hu)
        np.save(folder / "is_nodule.npy", self.is_nodule)

    @classmethod
    def load(cls, folder: Path) -> CubeSet:
        """Map hu.npy, so that any number of scans will do, and read the rest."""
        return cls(np.load(folder / "hu.npy", mmap_mode="r"), np.load(folder / "is_nodule.npy"))


def inside(points_xyz: ArrayLike, nodules: Sequence[NoduleAnnotation]) -> NDArray[np.bool_]:
    """Tell for each point (rows) and nodule (columns) whether one hits the other by LUNA16's rule."""
    centres, diameters_mm = [one.centre_world_xyz for one in nodules], [one.diameter_mm for one in nodules]
    return in_spheres(points_xyz, centres, diameters_mm)


def spared(
    points_xyz: ArrayLike, nodules: Sequence[NoduleAnnotation], excluded: Sequence[NoduleAnnotation]
) -> NDArray[np.bool_]:
    """Tell for each point whether it lies in an excluded finding and in no nodule: then it teaches nothing."""
    excused, wanted = (inside(points_xyz, findings).any(axis=1) for findings in (excluded, nodules))
    nothing: NDArray[np.bool_] = np.logical_and(excused, ~wanted)
    return nothing


def spread_evenly(points_xyz: NDArray[np.float64], at_most: int) -> NDArray[np.float64]:
    """At most so many of the points (N, 3), at equal steps from the first to the last.

    LUNA16's table of candidates lists one detection system after another, so its first rows are those of one system.
    """
    chosen = np.unique(np.linspace(0, len(points_xyz) - 1, min(at_most, len(points_xyz))).round().astype(int))
    return points_xyz[chosen]


def training_set(
    volume: Volume,
    proposed_xyz: ArrayLike,
    nodules: Sequence[NoduleAnnotation],
    no_nodules_xyz: ArrayLike,
    side_mm: float,
    size_px: int,
) -> CubeSet:
    """Cut the cubes of a training scan.

    Nodules are the proposals inside an annotated one, and every annotated centre itself, found by the U-Net or not.
    All other proposals are none, and neither are the places that a table says to be none; those of the table that lie
    in an annotated nodule are left out.

    Parameters
    ----------
    volume : Volume
        HU, whole: proposals are not the only places.
    proposed_xyz, no_nodules_xyz : (N, 3) array-like of float
        World mm.
    nodules : sequence of NoduleAnnotation
        Of this scan.
    side_mm, size_px : float, int
        Of the cubes with their margin.
    """
    proposed = np.asarray(proposed_xyz, dtype=float).reshape(-1, 3)
    listed = np.asarray(no_nodules_xyz, dtype=float).reshape(-1, 3)
    listed = listed[~inside(listed, nodules).any(axis=1)]
    annotated = np.array([nodule.centre_world_xyz for nodule in nodules]).reshape(-1, 3)
    is_nodule = np.concatenate(
        [inside(proposed, nodules).any(axis=1), np.ones(len(annotated), bool), np.zeros(len(listed), bool)]
    )
    return CubeSet(cut_cubes(volume, np.concatenate([proposed, annotated, listed]), side_mm, size_px), is_nodule)
