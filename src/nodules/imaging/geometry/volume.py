"""A CT volume with spacing, origin and direction; conversion between voxel indices and world coordinates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

AIR_HU = -1000
MAX_HU = 3071  # largest value of a 12-bit scanner with the usual intercept of -1024


@dataclass(frozen=True)
class Volume:
    """Voxels on a regular grid.

    Attributes
    ----------
    voxels_zyx : (Z, Y, X) ndarray
        int16 HU for a scan; masks and probability maps use the same class with their own dtype.
    spacing_zyx_mm : tuple of float
        Distance between neighbouring voxel centres along each array axis.
    origin_xyz_mm : tuple of float
        World position of the centre of voxel (0, 0, 0). World axes are those of DICOM and ITK:
        x to the patient's left, y to the back, z to the head.
    direction_xyz : tuple of 9 float
        Row-major 3 x 3 matrix whose columns are the world directions of the x, y and z index axes. The readers flip
        and swap axes to make it as close as possible to the identity.
    """

    voxels_zyx: NDArray[Any]
    spacing_zyx_mm: tuple[float, float, float]
    origin_xyz_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction_xyz: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        if self.voxels_zyx.ndim != 3:
            raise ValueError(f"voxels_zyx: expected 3 axes (z, y, x), got shape {self.voxels_zyx.shape}")
        if len(self.spacing_zyx_mm) != 3 or not all(np.isfinite(s) and s > 0 for s in self.spacing_zyx_mm):
            raise ValueError(f"spacing_zyx_mm: expected 3 positive numbers, got {self.spacing_zyx_mm}")
        matrix = self._direction
        if not np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-3):
            raise ValueError(f"direction_xyz: expected a 3 x 3 rotation in row-major order, got {self.direction_xyz}")

    @property
    def shape_zyx(self) -> tuple[int, int, int]:
        """Number of voxels along each axis."""
        z, y, x = self.voxels_zyx.shape
        return z, y, x

    @property
    def extent_zyx_mm(self) -> tuple[float, float, float]:
        """Length of the grid along each axis, measured to the outer voxel edges."""
        z, y, x = (n * s for n, s in zip(self.shape_zyx, self.spacing_zyx_mm, strict=True))
        return z, y, x

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel."""
        return float(np.prod(self.spacing_zyx_mm))

    @property
    def _direction(self) -> NDArray[np.float64]:
        return np.asarray(self.direction_xyz, dtype=float).reshape(3, 3)

    def world_to_voxel(self, points_xyz: ArrayLike) -> NDArray[np.float64]:
        """Convert world points (..., 3) in mm, x first, to continuous voxel indices (..., 3), z first."""
        offset = np.asarray(points_xyz, dtype=float) - np.asarray(self.origin_xyz_mm)
        return (offset @ self._direction)[..., ::-1] / np.asarray(self.spacing_zyx_mm)

    def voxel_to_world(self, indices_zyx: ArrayLike) -> NDArray[np.float64]:
        """Convert continuous voxel indices (..., 3), z first, to world points (..., 3) in mm, x first."""
        steps_xyz = (np.asarray(indices_zyx, dtype=float) * np.asarray(self.spacing_zyx_mm))[..., ::-1]
        return steps_xyz @ self._direction.T + np.asarray(self.origin_xyz_mm)

    def with_voxels(self, voxels_zyx: NDArray[Any]) -> Volume:
        """Return a volume with other voxels of the same shape on the same grid.

        Raises
        ------
        ValueError
            If the shapes differ.
        """
        if voxels_zyx.shape != self.voxels_zyx.shape:
            raise ValueError(
                f"voxels_zyx: expected the shape of the grid {self.voxels_zyx.shape}, got {voxels_zyx.shape}"
            )
        return replace(self, voxels_zyx=voxels_zyx)

    def crop(self, box_zyx: tuple[slice, slice, slice]) -> Volume:
        """Keep the voxels inside a box; their world positions do not change.

        Raises
        ------
        ValueError
            If the box is empty or extends beyond the grid.
        """
        for axis, bounds, size in zip("zyx", box_zyx, self.shape_zyx, strict=True):
            if not 0 <= bounds.start < bounds.stop <= size:
                raise ValueError(
                    f"box along {axis}: expected a range within 0..{size}, got {bounds.start}..{bounds.stop}"
                )
        corner_xyz = self.voxel_to_world([bounds.start for bounds in box_zyx])
        x, y, z = (float(v) for v in corner_xyz)
        return replace(self, voxels_zyx=self.voxels_zyx[box_zyx], origin_xyz_mm=(x, y, z))


def window(hu: NDArray[Any], low_hu: float, high_hu: float) -> NDArray[np.float32]:
    """Map HU linearly to [0, 1]: `low_hu` and below to 0, `high_hu` and above to 1.

    Raises
    ------
    ValueError
        If `low_hu` is not below `high_hu`.
    """
    if not low_hu < high_hu:
        raise ValueError(f"window: expected low_hu below high_hu, got {low_hu} and {high_hu}")
    scaled = (hu.astype(np.float32) - np.float32(low_hu)) / np.float32(high_hu - low_hu)
    return np.clip(scaled, 0.0, 1.0)
