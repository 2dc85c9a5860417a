"""Cubes cut out of a scan around candidates: the input of the 3-D networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from nodules.imaging.geometry.volume import AIR_HU, Volume, window


@dataclass(frozen=True)
class CubeParams:
    """Size of a cube, and how its HU become network input.

    Attributes
    ----------
    side_mm : float
        Length of an edge, measured to the outer voxel edges. A stored segmentation keeps HU only up to
        `probability_map.CUBE_REACH_MM` from a candidate, so larger cubes contain air.
    size_px : int
        Voxels along an edge.
    window_hu : tuple of float
        HU mapped to 0 and 1.
    """

    side_mm: Annotated[float, Gt(0)]
    size_px: Annotated[int, Ge(8)]
    window_hu: tuple[float, float]

    @property
    def step_mm(self) -> float:
        """Distance between the centres of neighbouring voxels."""
        return self.side_mm / self.size_px


def cut_cubes(
    volume: Volume, centres_world_xyz: ArrayLike, side_mm: float = 32.0, size_px: int = 24
) -> NDArray[np.int16]:
    """Cut isotropic cubes aligned with the world axes, for any axes and spacing of the scan.

    Values are interpolated trilinearly. Outside the scan they are air.

    Parameters
    ----------
    volume : Volume
        HU.
    centres_world_xyz : (N, 3) array-like of float
        World mm. Each point is the centre of its cube; if `size_px` is even, it lies between the two middle voxels.
    side_mm : float
        Length of an edge, measured to the outer voxel edges.
    size_px : int
        Voxels along an edge.

    Returns
    -------
    (N, size_px, size_px, size_px) ndarray of int16
        HU, rounded. Axes are z, y, x, each ascending in world coordinates.

    Raises
    ------
    ValueError
        If the centres are not N finite points, or a size is not positive.
    """
    centres = np.asarray(centres_world_xyz, dtype=float)
    centres = centres.reshape(-1, 3) if centres.size == 0 else centres
    if centres.ndim != 2 or centres.shape[1] != 3 or not np.isfinite(centres).all():
        raise ValueError(f"centres_world_xyz: expected finite points (N, 3), got shape {centres.shape}: {centres}")
    if not (side_mm > 0 and size_px > 0):
        raise ValueError(f"side_mm and size_px: expected positive numbers, got {side_mm} and {size_px}")
    steps_mm = (np.arange(size_px) - (size_px - 1) / 2) * (side_mm / size_px)
    z, y, x = np.meshgrid(steps_mm, steps_mm, steps_mm, indexing="ij")
    offsets = volume.world_to_voxel(np.stack([x, y, z], axis=-1) + volume.origin_xyz_mm)
    offsets = np.moveaxis(offsets, -1, 0)
    cubes = np.empty((len(centres), size_px, size_px, size_px), dtype=np.int16)
    for cube, centre in zip(cubes, volume.world_to_voxel(centres), strict=True):
        places = offsets + centre[:, np.newaxis, np.newaxis, np.newaxis]
        # "grid-constant" blends into air within one voxel. "constant" would return air for a point that rounding puts
        # slightly outside the outermost voxel centres.
        values = ndimage.map_coordinates(
            volume.voxels_zyx, places, np.float32, order=1, mode="grid-constant", cval=AIR_HU
        )
        cube[...] = np.rint(values)
    return cubes


def network_input(hu: NDArray[Any], cube: CubeParams) -> NDArray[np.float32]:
    """Convert cubes (N, M, M, M) with M >= `size_px` to network input: the central voxels, mapped to [0, 1].

    Returns
    -------
    (N, size_px, size_px, size_px, 1) ndarray of float32
    """
    margin = (hu.shape[1] - cube.size_px) // 2
    middle = slice(margin, margin + cube.size_px)
    return window(np.asarray(hu[:, middle, middle, middle]), *cube.window_hu)[..., np.newaxis]
