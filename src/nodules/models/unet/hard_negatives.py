"""Hard-negative mining: finds the false positives of a partly trained U-Net on the training slices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nodules.imaging.network_input.lung_roi import LungRoiParams, normalise
from nodules.models.runtime.devices import PARALLEL_OPERATIONS
from nodules.models.unet.training_slices import SliceSet

THRESHOLD = 0.5
MIN_PIXELS = 4
BATCH = 8


def find_false_positives(
    predict: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    sets: Sequence[SliceSet],
    roi: LungRoiParams,
) -> NDArray[np.int64]:
    """Run the network on all training slices and return its false positives.

    Parameters
    ----------
    predict : callable
        Takes images (N, Y, X, C) and returns probabilities (N, Y, X). It is called by several threads at once, as an
        `InferenceNetwork` allows.
    sets : sequence of SliceSet
        One per scan.
    roi : LungRoiParams
        Settings of the inputs.

    Returns
    -------
    (K, 4) ndarray of int64
        Number of the set, row, y and x of the centre of each false positive: a connected component of at least
        `MIN_PIXELS` visible pixels that touches neither a nodule nor a `NODULE_RIM`. The slice above a nodule still
        shows part of it; as a hard negative, that part would train the network against small nodules.
    """

    def in_one(number: int) -> list[tuple[int, int, int, int]]:
        slices, places = sets[number], []
        for start in range(0, len(slices.hu), BATCH):
            rows = slice(start, start + BATCH)
            visible = np.asarray(slices.visible[rows])
            found = (predict(normalise(np.asarray(slices.hu[rows]), visible, roi)) >= THRESHOLD) & visible
            for offset, (seen, marked) in enumerate(zip(found, slices.nodules[rows], strict=True)):
                places += [(number, start + offset, y, x) for y, x in _far_from(marked, seen)]
        return places

    with ThreadPoolExecutor(PARALLEL_OPERATIONS) as pool:
        found = [place for places in pool.map(in_one, range(len(sets))) for place in places]
    return np.asarray(found, dtype=np.int64).reshape(-1, 4)


def _far_from(marked: NDArray[np.uint8], found: NDArray[np.bool_]) -> list[tuple[int, int]]:
    labels, count = ndimage.label(found, structure=np.ones((3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    wrong = sizes >= MIN_PIXELS
    wrong[np.unique(labels[marked > 0])] = False
    wrong[0] = False
    chosen = np.flatnonzero(wrong)
    centres = np.reshape(ndimage.center_of_mass(found, labels, chosen), (-1, 2))
    return [(round(float(y)), round(float(x))) for y, x in centres]
