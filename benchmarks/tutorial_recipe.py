"""The tutorial's slices and network as its repository last had them, to be trained beside this project's own recipe.

One thing is mended: masks are 0 and 1, where resizing left 0 and 1/255. All else stands as it was: discs of twice the
radius, each slice with its own lungs, grey scale and magnification, test slices that are not standardised, a Dice
flattened over the batch, no slice without a nodule. The size is smaller (256 px, 16 filters, a few epochs at ten times
the learning rate), for the original takes hours on two cores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray
from skimage.transform import resize

from excerpts import Excerpt
from kmeans_lungs import kmeans_lungs
from nodules.imaging.nodule_mask import draw_nodules

SIZE_PX = 256
FILTERS = 16
DEPTH = 4
LEARNING_RATE = 1.0e-4
BATCH = 2
BACKGROUND_SD = 1.2
MIN_SIDE_PX = 5


@dataclass(frozen=True)
class Roi:
    """A slice as the tutorial's network sees it.

    Attributes
    ----------
    image_yx : (SIZE_PX, SIZE_PX) ndarray of float32
        Grey values of the square around the lungs, each slice on its own scale.
    box_yx : tuple of 2 slice
        Where the square lies in the slice, cut at the slice's edge, which stretches it.
    """

    image_yx: NDArray[np.float32]
    box_yx: tuple[slice, slice]


def region(plane_hu: NDArray[np.int16]) -> Roi | None:
    """Mask, renormalise, crop and resize one slice; None where no lungs are found."""
    lungs = kmeans_lungs(plane_hu, starts=1)
    if not lungs.any():
        return None
    image = plane_hu * lungs.astype(np.float64)
    mean, deviation = image[lungs].mean(), image[lungs].std()
    image[image == image.min()] = mean - BACKGROUND_SD * deviation
    image = (image - mean) / deviation
    rows, columns = np.flatnonzero(lungs.any(axis=1)), np.flatnonzero(lungs.any(axis=0))
    side = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    if side < MIN_SIDE_PX:
        return None
    box = (slice(int(rows[0]), int(rows[0] + side)), slice(int(columns[0]), int(columns[0] + side)))
    cut = image[box]
    cut = (cut - cut.mean()) / np.ptp(cut)
    return Roi(resize(cut, (SIZE_PX, SIZE_PX)).astype(np.float32), box)


def training_set(excerpts: Sequence[Excerpt]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Images and masks (N, SIZE_PX, SIZE_PX, 1) of all three slices of each excerpt."""
    images, masks = [], []
    for excerpt in excerpts:
        nodule = excerpt.nodules[0]
        discs = draw_nodules(excerpt.scan, [nodule.centre_world_xyz], [2 * nodule.diameter_mm])
        for plane, disc in zip(excerpt.scan.voxels_zyx, discs, strict=True):
            if (roi := region(plane)) is not None:
                images.append(roi.image_yx)
                masks.append(resize(disc[roi.box_yx] > 0, (SIZE_PX, SIZE_PX), order=0))
    return np.stack(images)[..., None], np.stack(masks)[..., None].astype(np.float32)


def train(images: NDArray[np.float32], masks: NDArray[np.float32], epochs: int, seed: int) -> keras.Model:
    """Fit the network of the tutorial's shape."""
    keras.utils.set_random_seed(seed)
    network = _network()
    network.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE), loss=_batch_dice_loss)
    standardised = (images - images.mean()) / images.std()
    network.fit(standardised, masks, batch_size=BATCH, epochs=epochs, shuffle=True, verbose=2)
    return network


def predict(network: keras.Model, plane_hu: NDArray[np.int16]) -> NDArray[np.float32]:
    """Probability on the slice's own pixels, 0 outside the square around the lungs."""
    probability = np.zeros(plane_hu.shape, dtype=np.float32)
    roi = region(plane_hu)
    if roi is not None:
        answer = ops.convert_to_numpy(network.predict_on_batch(roi.image_yx[None, ..., None]))[0, ..., 0]
        probability[roi.box_yx] = resize(answer, probability[roi.box_yx].shape)
    return probability


def _network() -> keras.Model:
    image = keras.Input((SIZE_PX, SIZE_PX, 1))
    x, skips = image, []
    for level in range(DEPTH):
        x = _two_convolutions(x, FILTERS * 2**level)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = _two_convolutions(x, FILTERS * 2**DEPTH)
    for level in reversed(range(DEPTH)):
        x = layers.Concatenate()([layers.UpSampling2D()(x), skips[level]])
        x = _two_convolutions(x, FILTERS * 2**level)
    return keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid")(x))


def _two_convolutions(x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
    for _ in range(2):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
    return x


def _batch_dice_loss(y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
    overlap = ops.sum(y_true * y_pred)
    return -(2.0 * overlap + 1.0) / (ops.sum(y_true) + ops.sum(y_pred) + 1.0)
