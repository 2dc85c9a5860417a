"""Nodule probability map of one scan, with the lungs and the HU that later steps need."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nodules.imaging.geometry.morphology import bounding_box
from nodules.imaging.geometry.volume import AIR_HU, Volume

RESPONSE_FLOOR = 0.1  # below the probability of any useful proposal; HU are kept only around voxels of at least this
CUBE_REACH_MM = 20.0  # distance up to which HU are kept; enough for a cube of 32 mm around a candidate


@dataclass(frozen=True)
class Segmentation:
    """Output of the segmentation network for one scan, on the grid of the lung region.

    Attributes
    ----------
    scan : Volume
        int16 HU, at least around the voxels where the network responds (`responding_hu`).
    lungs_zyx : (Z, Y, X) ndarray of uint8
        Lung labels: 0 background, 1 right, 2 left.
    probability_zyx : (Z, Y, X) ndarray of float32
        Nodule probabilities in [0, 1].
    """

    scan: Volume
    lungs_zyx: NDArray[np.uint8]
    probability_zyx: NDArray[np.float32]


def responding_hu(
    hu_zyx: NDArray[np.int16], probability_zyx: NDArray[np.float32], spacing_zyx_mm: tuple[float, float, float]
) -> NDArray[np.int16]:
    """Keep HU up to `CUBE_REACH_MM` along each axis from voxels of at least `RESPONSE_FLOOR`; air elsewhere.

    Candidates and the cubes around them need no other voxels, and the result compresses well.
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
