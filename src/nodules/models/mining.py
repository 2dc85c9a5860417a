"""What a half-trained network does wrong: where it sees nodules that are none, and which ones it does not see."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nodules.imaging.lung_roi import normalise
from nodules.models import unet
from nodules.models.sampling import SliceSet
from nodules.models.training_errors import TrainingErrors
from nodules.scans.slice_store import INSIDE

THRESHOLD = 0.5
MIN_PIXELS = 4
BATCH = 8


def find_errors(
    network: keras.Model, depth: int, sets: Sequence[SliceSet], window_hu: tuple[float, float]
) -> TrainingErrors:
    """Run the network over all training slices and hold its answers, cut at `THRESHOLD`, against the nodules.

    A false positive is a connected part of at least `MIN_PIXELS` pixels that touches no nodule nor what lies `BESIDE`
    one: a slice above a nodule still shows it, and as a hard negative it would teach that small nodules are none. A
    nodule is missed if no pixel of it is found in any slice.

    Parameters
    ----------
    depth : int
        Of the network.
    sets : sequence of SliceSet
        One a scan.
    """
    false_positives, misses = [], []
    for number, slices in enumerate(sets):
        seen = np.zeros(len(slices.centres), dtype=bool)
        for start in range(0, len(slices.hu), BATCH):
            rows = slice(start, start + BATCH)
            image = normalise(np.asarray(slices.hu[rows]), np.asarray(slices.visible[rows]), window_hu)
            answer = keras.ops.convert_to_numpy(network.predict_on_batch(unet.pad(image, depth)))[..., 0]
            found = answer[:, : image.shape[1], : image.shape[2]] >= THRESHOLD
            for row, (parts, marked) in enumerate(zip(found, slices.nodules[rows], strict=True), start):
                false_positives += [(number, row, y, x) for y, x in _far_from(marked, parts)]
                mine = slices.centres[:, 0] == row
                seen[mine] = _is_found(marked, parts, slices.centres[mine, 1:3])
        unseen = ~np.isin(slices.centres[:, 3], slices.centres[seen, 3])
        misses += [(number, *place) for place in slices.centres[unseen, :3].tolist()]
    return TrainingErrors.of(false_positives, misses)


def _is_found(marked: NDArray[np.uint8], found: NDArray[np.bool_], centres_yx: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether any pixel is found of the marked part around each centre."""
    labels, count = ndimage.label(marked == INSIDE, structure=np.ones((3, 3)))
    reached = np.bincount(labels[found], minlength=count + 1) > 0
    reached[0] = False  # a centre in no marked part cannot be found in this slice
    return reached[labels[tuple(centres_yx.T)]]


def _far_from(marked: NDArray[np.uint8], found: NDArray[np.bool_]) -> list[tuple[int, int]]:
    labels, count = ndimage.label(found, structure=np.ones((3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    wrong = sizes >= MIN_PIXELS
    wrong[np.unique(labels[marked > 0])] = False
    wrong[0] = False
    chosen = np.flatnonzero(wrong)
    centres = np.reshape(ndimage.center_of_mass(found, labels, chosen), (-1, 2))
    return [(round(float(y)), round(float(x))) for y, x in centres]
