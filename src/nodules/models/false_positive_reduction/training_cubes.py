"""Training cubes of one scan for false-positive reduction, labelled by whether a nodule lies at the centre."""

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
        Cubes with a margin around the network's input, so that they can be shifted and scaled.
    is_nodule : (N,) ndarray of bool
        Whether a nodule lies at the centre.
    """

    hu: NDArray[np.int16]
    is_nodule: NDArray[np.bool_]

    def save(self, folder: Path) -> None:
        """Write hu.npy and is_nodule.npy."""
        np.save(folder / "hu.npy", self.hu)
        np.save(folder / "is_nodule.npy", self.is_nodule)

    @classmethod
    def load(cls, folder: Path) -> CubeSet:
        """Memory-map hu.npy, so that many scans need little memory, and read is_nodule.npy."""
        return cls(np.load(folder / "hu.npy", mmap_mode="r"), np.load(folder / "is_nodule.npy"))


def inside(points_xyz: ArrayLike, nodules: Sequence[NoduleAnnotation]) -> NDArray[np.bool_]:
    """Return for each point (rows) and nodule (columns) whether the point hits the nodule by LUNA16's rule."""
    centres, diameters_mm = [one.centre_world_xyz for one in nodules], [one.diameter_mm for one in nodules]
    return in_spheres(points_xyz, centres, diameters_mm)


def in_excluded_finding(
    points_xyz: ArrayLike, nodules: Sequence[NoduleAnnotation], excluded: Sequence[NoduleAnnotation]
) -> NDArray[np.bool_]:
    """Return for each point whether it lies in an excluded finding and in no nodule; such points are not used."""
    in_excluded, in_nodule = (inside(points_xyz, findings).any(axis=1) for findings in (excluded, nodules))
    unused: NDArray[np.bool_] = np.logical_and(in_excluded, ~in_nodule)
    return unused


def spread_evenly(points_xyz: NDArray[np.float64], at_most: int) -> NDArray[np.float64]:
    """Choose at most `at_most` of the points (N, 3), at equal steps from the first to the last.

    LUNA16's table of candidates lists one detection system after another, so its first rows come from a single system.
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

    Positive are the proposals inside an annotated nodule, and every annotated centre, whether the U-Net found it or
    not. Negative are all other proposals and the listed false positives; listed places inside an annotated nodule are
    left out.

    Parameters
    ----------
    volume : Volume
        HU of the whole scan.
    proposed_xyz, no_nodules_xyz : (N, 3) array-like of float
        Centres of the proposals and of the listed false positives, in world mm.
    nodules : sequence of NoduleAnnotation
        Annotated nodules of this scan.
    side_mm, size_px : float, int
        Edge length of the cubes with their margin.
    """
    proposed = np.asarray(proposed_xyz, dtype=float).reshape(-1, 3)
    listed = np.asarray(no_nodules_xyz, dtype=float).reshape(-1, 3)
    listed = listed[~inside(listed, nodules).any(axis=1)]
    annotated = np.array([nodule.centre_world_xyz for nodule in nodules]).reshape(-1, 3)
    is_nodule = np.concatenate(
        [inside(proposed, nodules).any(axis=1), np.ones(len(annotated), bool), np.zeros(len(listed), bool)]
    )
    return CubeSet(cut_cubes(volume, np.concatenate([proposed, annotated, listed]), side_mm, size_px), is_nodule)
