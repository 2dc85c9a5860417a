"""The network's answer for one scan, and what of the scan has to be kept with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nodules.imaging.geometry.morphology import bounding_box
from nodules.imaging.geometry.volume import AIR_HU, Volume

RESPONSE_FLOOR = 0.1  # below any useful proposal: HU are kept only around voxels that answer at least this much
CUBE_REACH_MM = 20.0  # so far around them: a cube of 32 mm about a candidate is whole


@dataclass(frozen=True)
class Segmentation:
    """What the network answered for one scan, on the region's grid.

    Attributes
    ----------
    scan : Volume
        int16 HU, at least around the voxels where the network answers (`responding_hu`).
    lungs_zyx : (Z, Y, X) ndarray of uint8
        Lung labels: 1 right, 2 left.
    probability_zyx : (Z, Y, X) ndarray of float32
        Values in [0, 1].
    """

    scan: Volume
    lungs_zyx: NDArray[np.uint8]
    probability_zyx: NDArray[np.float32]


def responding_hu(
    hu_zyx: NDArray[np.int16], probability_zyx: NDArray[np.float32], spacing_zyx_mm: tuple[float, float, float]
) -> NDArray[np.int16]:
    """HU up to `CUBE_REACH_MM` along each axis from a voxel of at least `RESPONSE_FLOOR`, air elsewhere.

    That is all that candidates and the cubes around them need, and small when compressed.
    """
    answered = probability_zyx >= RESPONSE_FLOOR
    kept = np.full_like(hu_zyx, AIR_HU)
    if not answered.any():
        return kept
    reach = [int(np.ceil(CUBE_REACH_MM / spacing)) for spacing in spacing_zyx_mm]
    box = bounding_box(answered, reach)
    near = answered[box].astype(np.uint8)
    for axis, steps in enumerate(reach):
        near = ndimage.maximum_filter1d(near, 2 * steps + 1, axis=axis, mode="constant")
    kept[box][near > 0] = hu_zyx[box][near > 0]
    return kept
