"""Selection of nodule slices: z - 1, z and z + 1 through the largest nodule of a scan, or through each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nodules.imaging.geometry.volume import Volume
from nodules.tutorial.steps.settings import TutorialParams

NEIGHBOURS = (-1, 0, 1)
_UNTURNED = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class NoduleSlice:
    """A selected slice and the nodules that its mask shows.

    Attributes
    ----------
    z : int
        Index in the scan.
    nodules : tuple of int
        Rows of the annotations to draw.
    """

    z: int
    nodules: tuple[int, ...]


def nodule_slices(
    scan: Volume,
    centres_world_xyz: Sequence[Sequence[float]],
    diameters_mm: Sequence[float],
    params: TutorialParams,
) -> list[NoduleSlice]:
    """Select the nodule slices of a scan.

    Parameters
    ----------
    scan : Volume
        The scan; only its geometry is used.
    centres_world_xyz, diameters_mm
        Centre and diameter of every nodule, as in LUNA16's `annotations.csv`. Of equally large nodules, the last one
        counts as the largest.
    params : TutorialParams
        `nodules` and the defects.

    Returns
    -------
    list of NoduleSlice
        Each slice once, in ascending order; empty without nodules. With the defect `other_nodules_are_background`, one
        entry for each nodule that selects a slice, in the order of the annotations.

    Raises
    ------
    ValueError
        If there are not as many diameters as centres, or one of their numbers is not finite.
    """
    if len(centres_world_xyz) != len(diameters_mm):
        raise ValueError(f"expected a diameter for each of {len(centres_world_xyz)} centres, got {len(diameters_mm)}")
    if not (np.isfinite(np.asarray(centres_world_xyz, dtype=float)).all() and np.isfinite(diameters_mm).all()):
        raise ValueError("nodule centres and diameters must be finite, got NaN or infinity")
    chosen = list(range(len(diameters_mm)))
    if params.nodules == "largest" and chosen:
        chosen = [max(chosen, key=lambda nodule: (diameters_mm[nodule], nodule))]
    grid = as_read(scan, direction_ignored=params.defects.direction_ignored)
    around = {n: _around(grid, centres_world_xyz[n], params.defects.edge_slices_repeated) for n in chosen}
    if params.defects.other_nodules_are_background:
        return [NoduleSlice(z, (nodule,)) for nodule, shown in around.items() for z in shown]
    listed: list[int] = []
    for shown in around.values():
        listed += [z for z in shown if z not in listed]
    return [NoduleSlice(z, tuple(range(len(diameters_mm)))) for z in sorted(listed)]


def as_read(scan: Volume, *, direction_ignored: bool) -> Volume:
    """Return the scan; with the defect `direction_ignored`, as if its axes were the world axes."""
    return replace(scan, direction_xyz=_UNTURNED) if direction_ignored else scan


def _around(grid: Volume, centre_world_xyz: Sequence[float], edge_repeated: bool) -> list[int]:
    """The three slices around a nodule's centre, as far as the scan has them."""
    middle, last = round(float(grid.world_to_voxel(centre_world_xyz)[0])), grid.shape_zyx[0] - 1
    wanted = [middle + step for step in NEIGHBOURS]
    return [min(max(z, 0), last) for z in wanted] if edge_repeated else [z for z in wanted if 0 <= z <= last]
