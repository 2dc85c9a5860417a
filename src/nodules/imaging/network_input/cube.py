"""Cubes of a scan around points of the world: what a 3-D network sees of a candidate."""

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
    """A cube and how its HU become the input of a network.

    Attributes
    ----------
    side_mm : float
        Length of an edge, voxel edges included. Beyond 2 x `probability_map.CUBE_REACH_MM` the HU of a stored
        segmentation end.
    size_px : int
        Voxels along an edge.
    window_hu : tuple of float
        HU that become 0 and 1.
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
    """Isotropic cubes along the axes of the world, whatever the axes and the spacing of the scan.

    Trilinear interpolation between the voxels; outside of the scan lies air.

    Parameters
    ----------
    volume : Volume
        HU.
    centres_world_xyz : (N, 3) array-like of float
        World mm; the point lies in the middle of its cube, between the two middle voxels if `size_px` is even.
    side_mm : float
        Length of an edge, voxel edges included.
    size_px : int
        Voxels along an edge.

    Returns
    -------
    (N, size_px, size_px, size_px) ndarray of int16
        HU, rounded; axes z, y, x, each ascending in the world.

    Raises
    ------
    ValueError
        If the centres are not N finite points, or a size is not positive.
    """
    centres = np.asarray(centres_world_xyz, dtype=float)
    centres = centres.reshape(-1, 3) if centres.size == 0 else centres
    if centres.ndim != 2 or centres.shape[1] != 3 or not np.isfinite(centres).all():
        raise ValueError(f"centres_world_xyz must be finite points (N, 3), got shape {centres.shape}: {centres}")
    if not (side_mm > 0 and size_px > 0):
        raise ValueError(f"side_mm and size_px must be positive, got {side_mm} and {size_px}")
    steps_mm = (np.arange(size_px) - (size_px - 1) / 2) * (side_mm / size_px)
    z, y, x = np.meshgrid(steps_mm, steps_mm, steps_mm, indexing="ij")
    offsets = volume.world_to_voxel(np.stack([x, y, z], axis=-1) + volume.origin_xyz_mm)
    offsets = np.moveaxis(offsets, -1, 0)
    cubes = np.empty((len(centres), size_px, size_px, size_px), dtype=np.int16)
    for cube, centre in zip(cubes, volume.world_to_voxel(centres), strict=True):
        places = offsets + centre[:, np.newaxis, np.newaxis, np.newaxis]
        # "grid-constant" goes over into air within a voxel, where "constant" would drop a point that rounding put
        # a hair outside of the outermost voxel centres
        values = ndimage.map_coordinates(
            volume.voxels_zyx, places, np.float32, order=1, mode="grid-constant", cval=AIR_HU
        )
        cube[...] = np.rint(values)
    return cubes


def network_input(hu: NDArray[Any], cube: CubeParams) -> NDArray[np.float32]:
    """Cubes (N, M, M, M) of at least `size_px` voxels to what the network sees of them: their middle, in [0, 1].

    Returns
    -------
    (N, size_px, size_px, size_px, 1) ndarray of float32
    """
    margin = (hu.shape[1] - cube.size_px) // 2
    middle = slice(margin, margin + cube.size_px)
    return window(np.asarray(hu[:, middle, middle, middle]), *cube.window_hu)[..., np.newaxis]
