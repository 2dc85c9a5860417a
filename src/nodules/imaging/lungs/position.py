"""Position relative to the lungs: height, left-right, front-back, and distance to the lung surface."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

ROUNDING = 1e-6  # so that a voxel exactly at the distance counts


@dataclass(frozen=True)
class LungFrame:
    """The lungs as a frame of reference; without lungs the relative height is 0.5.

    Attributes
    ----------
    lungs_zyx : (Z, Y, X) ndarray
        Lung labels, 0 elsewhere.
    spacing_zyx_mm : tuple of float
        Spacing of the grid.
    """

    lungs_zyx: NDArray[np.uint8]
    spacing_zyx_mm: tuple[float, float, float]

    def relative_height(self, z: float) -> float:
        """Height of a slice between the lowest (0) and the highest (1) slice of the lungs; 0.5 without lungs."""
        lowest, highest = self._slices
        return float(np.clip((z - lowest) / (highest - lowest), 0, 1)) if highest > lowest else 0.5

    def relative_y(self, y: float) -> float:
        """Position of a row in the lungs' bounding box, from 0 (front) to 1 (back); in the grid without lungs."""
        first, count = self._rectangle[0]
        return (y + 0.5 - first) / count

    def relative_x(self, x: float) -> float:
        """Position of a column in the same box, from 0 (patient's right) to 1 (left)."""
        first, count = self._rectangle[1]
        return (x + 0.5 - first) / count

    def within(self, voxels: NDArray[np.int64], distance_mm: float) -> NDArray[np.bool_]:
        """Tell which voxels (N, 3), z first, lie within a distance of a lung voxel, measured between centres."""
        near: NDArray[np.bool_] = self.lungs_zyx[tuple(voxels.T)] > 0
        outside = np.flatnonzero(~near)
        if self._surface is not None and distance_mm > 0 and outside.size:
            # The lung voxel nearest to a voxel outside is always on the surface.
            distances_mm, _ = self._surface.query(voxels[outside] * self.spacing_zyx_mm)
            near[outside] = distances_mm <= distance_mm * (1 + ROUNDING)
        return near

    def pleura_mm(self, voxels: NDArray[np.int64]) -> float:
        """Smallest distance of voxels (N, 3) to the lung surface; 0 if any lies on the surface or outside the lungs.

        Surface voxels are lung voxels with a face next to a non-lung voxel or the end of the grid.
        """
        if self._surface is None or not (self.lungs_zyx[tuple(voxels.T)] > 0).all():
            return 0.0
        places = voxels * np.asarray(self.spacing_zyx_mm)
        middle = places[np.argmin(np.linalg.norm(places - places.mean(axis=0), axis=1))]
        distance_mm, nearest = self._surface.query(middle)
        # The surface point nearest to the middle gives an upper bound. Only voxels far from the middle can be closer.
        bound_mm = np.linalg.norm(places - self._surface.data[nearest], axis=1).min()
        outer = places[distance_mm - np.linalg.norm(places - middle, axis=1) < bound_mm]
        distances_mm, _ = self._surface.query(outer)
        return float(np.min(distances_mm, initial=bound_mm))

    @cached_property
    def _slices(self) -> tuple[int, int]:
        slices = np.flatnonzero(self.lungs_zyx.any(axis=(1, 2)))
        return (int(slices[0]), int(slices[-1])) if slices.size else (0, 0)

    @cached_property
    def _rectangle(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """First index and number of rows, then of columns."""
        flat = np.asarray(self.lungs_zyx.any(axis=0))
        if not flat.any():
            flat = np.ones_like(flat)
        rows, columns = np.flatnonzero(flat.any(axis=1)), np.flatnonzero(flat.any(axis=0))
        return (float(rows[0]), float(np.ptp(rows) + 1)), (float(columns[0]), float(np.ptp(columns) + 1))

    @cached_property
    def _surface(self) -> KDTree | None:
        lungs = np.pad(self.lungs_zyx > 0, 1)
        inner = lungs.copy()
        for axis in range(3):
            for step in (1, -1):
                inner &= np.roll(lungs, step, axis)  # only padding wraps around
        places = np.argwhere(lungs & ~inner) - 1
        # Voxels lie on a lattice, so an unbalanced tree answers as fast and is built faster.
        return KDTree(places * self.spacing_zyx_mm, balanced_tree=False) if len(places) else None
