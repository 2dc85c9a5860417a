"""The tutorial's slices and network as in the last state of its repository, to compare with this project's recipe.

One defect is repaired: masks are 0 and 1, where resizing left 0 and 1/255. All others remain: discs of twice the
diameter, each slice with its own lungs, grey scale and magnification, test slices that are not standardised, a Dice
flattened over the batch, and no slice without a nodule. The network is smaller (256 px, 16 filters, a few epochs at ten
times the learning rate), because the original takes hours on two cores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kmeans_lungs import kmeans_lungs
from nodules.pretraining.excerpts import Excerpt
from nodules.tutorial.learning.network import build
from nodules.tutorial.learning.training import negative_dice_of_batch
from nodules.tutorial.steps.defects import TutorialDefects
from nodules.tutorial.steps.grey_values import grey_values
from nodules.tutorial.steps.lung_normalisation import renormalise, scale_of, stretch_range
from nodules.tutorial.steps.node_mask import node_mask
from nodules.tutorial.steps.nodule_slices import NoduleSlice
from nodules.tutorial.steps.resizing import resize_image, resize_mask
from nodules.tutorial.steps.roi_box import RoiBox, lung_square

SIZE_PX = 256
FILTERS = 16
DEPTH = 4
LEARNING_RATE = 1.0e-4
BATCH = 2
DISCS = TutorialDefects(diameter_taken_for_radius=True)


@dataclass(frozen=True)
class Roi:
    """A slice as the tutorial's network sees it.

    Attributes
    ----------
    image_yx : (SIZE_PX, SIZE_PX) ndarray of float32
        Grey values of the square around the lungs, each slice on its own scale.
    box : RoiBox
        The square in the slice. It is cut at the slice's edge, and the crop is then stretched.
    """

    image_yx: NDArray[np.float32]
    box: RoiBox


def region(plane_hu: NDArray[np.int16]) -> Roi | None:
    """Mask, renormalise, crop and resize one slice; None if no lungs are found."""
    lungs = kmeans_lungs(plane_hu, starts=1)  # one start, as scikit-learn has it today, may miss the best clusters
    box = lung_square(lungs, down_right=True)
    if box is None:
        return None
    grey = grey_values(plane_hu)
    image = renormalise(grey, lungs, scale_of(grey[lungs]), from_darkest=True)
    return Roi(resize_image(stretch_range(box.crop(image, outside=0.0)), SIZE_PX), box)


def training_set(excerpts: Sequence[Excerpt]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Images and masks (N, SIZE_PX, SIZE_PX, 1) of all three slices of each excerpt."""
    images, masks = [], []
    for excerpt in excerpts:
        nodule = excerpt.nodules[0]
        for z, plane in enumerate(excerpt.scan.voxels_zyx):
            if (roi := region(plane)) is not None:
                own = NoduleSlice(z, (0,))
                disc = node_mask(excerpt.scan, own, [nodule.centre_world_xyz], [nodule.diameter_mm], DISCS)
                images.append(roi.image_yx)
                masks.append(resize_mask(roi.box.crop(disc, outside=False), SIZE_PX))
    return np.stack(images)[..., None], np.stack(masks)[..., None]


def train(images: NDArray[np.float32], masks: NDArray[np.float32], epochs: int, seed: int) -> keras.Model:
    """Train a network of the tutorial's architecture."""
    keras.utils.set_random_seed(seed)
    network = build(SIZE_PX, FILTERS, DEPTH)
    network.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE), loss=negative_dice_of_batch)
    standardised = (images - images.mean()) / images.std()
    network.fit(standardised, masks, batch_size=BATCH, epochs=epochs, shuffle=True, verbose=2)
    return network


def predict(network: keras.Model, plane_hu: NDArray[np.int16]) -> NDArray[np.float32]:
    """Predict the probability on the slice's own pixels; 0 outside the square around the lungs."""
    rows, columns = plane_hu.shape
    roi = region(plane_hu)
    if roi is None:
        return np.zeros((rows, columns), dtype=np.float32)
    answer = ops.convert_to_numpy(network.predict_on_batch(roi.image_yx[None, ..., None]))[0, ..., 0]
    return roi.box.restore(answer, (rows, columns))
