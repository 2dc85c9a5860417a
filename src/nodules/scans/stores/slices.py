"""Store the training slices of one scan and their nodule masks in one `.npz` file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nodules.scans.stores import array_file

INSIDE, NODULE_RIM = 1, 2
"""Values of the nodule masks: inside a nodule; and its rim, which counts as neither nodule nor healthy: less than one
slice distance outside a nodule, or drawn by a single one of LIDC's readers."""


@dataclass(frozen=True)
class ScanSlices:
    """Slices of a scan on its own in-plane grid, and the positions of its nodules.

    Attributes
    ----------
    seriesuid : str
        Series UID of the scan.
    scan_slices : int
        Number of slices of the whole scan.
    spacing_zyx_mm, origin_xyz_mm, direction_xyz : tuple of float
        Grid of the whole scan, as in `Volume`; the z indices below refer to it.
    voxels_zyx : (S, Y, X) ndarray
        int16 HU of the stored slices: the targets and their context neighbours.
    slice_indices : (S,) ndarray
        z index of each stored slice in the scan, ascending.
    target_indices : (M,) ndarray
        z indices of the slices to train on, ascending; each is among `slice_indices`.
    nodule_masks_zyx : (M, Y, X) ndarray
        uint8 mask of each target: `INSIDE` a nodule, `NODULE_RIM` a nodule (see there), otherwise 0.
    nodule_numbers : (K, 2) ndarray
        Pairs (row of `target_indices`, row of `centre_world_xyz`) in which the target slice crosses the nodule.
    centre_world_xyz : (N, 3) ndarray
        Nodule centres in mm.
    diameter_mm : (N,) ndarray
        Nodule diameters.
    """

    seriesuid: str
    scan_slices: int
    spacing_zyx_mm: tuple[float, float, float]
    origin_xyz_mm: tuple[float, float, float]
    direction_xyz: tuple[float, ...]
    voxels_zyx: NDArray[np.int16]
    slice_indices: NDArray[np.int64]
    target_indices: NDArray[np.int64]
    nodule_masks_zyx: NDArray[np.uint8]
    nodule_numbers: NDArray[np.int64]
    centre_world_xyz: NDArray[np.float64]
    diameter_mm: NDArray[np.float64]

    def __post_init__(self) -> None:
        _, y, x = self.voxels_zyx.shape
        stored, targets, nodules = len(self.slice_indices), len(self.target_indices), len(self.diameter_mm)
        for name, wanted in (
            ("voxels_zyx", (stored, y, x)),
            ("nodule_masks_zyx", (targets, y, x)),
            ("nodule_numbers", (len(self.nodule_numbers), 2)),
            ("centre_world_xyz", (nodules, 3)),
        ):
            if getattr(self, name).shape != wanted:
                raise ValueError(f"{self.seriesuid}: {name} must have shape {wanted}, got {getattr(self, name).shape}")
        if (np.diff(self.slice_indices) <= 0).any() or (np.diff(self.target_indices) <= 0).any():
            raise ValueError(f"{self.seriesuid}: slice_indices and target_indices must ascend")
        if missing := sorted(set(self.target_indices.tolist()) - set(self.slice_indices.tolist())):
            raise ValueError(f"{self.seriesuid}: targets {missing} are not among the stored slices")


def save(slices: ScanSlices, path: Path) -> None:
    """Write to a compressed `.npz` file that appears complete or not at all."""
    array_file.save(slices, path)


def load(path: Path) -> ScanSlices:
    """Read what `save` wrote.

    Raises
    ------
    ScanError
        If the file is missing, damaged or of another kind.
    """
    values = array_file.load(ScanSlices, path, "slices of a scan", "extract the slices again")
    for name in ("spacing_zyx_mm", "origin_xyz_mm", "direction_xyz"):
        values[name] = tuple(values[name].tolist())
    return ScanSlices(**values | {"seriesuid": str(values["seriesuid"]), "scan_slices": int(values["scan_slices"])})
