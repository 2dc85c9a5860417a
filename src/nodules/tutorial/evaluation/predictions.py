"""Predictions of the tutorial's U-Net on the evaluation slices: predict, score, average and draw."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nodules.imaging.geometry.volume import AIR_HU
from nodules.pictures.overlay import nodule_overlay
from nodules.tutorial.evaluation.evaluation_slices import EvaluationSlices
from nodules.tutorial.evaluation.slice_detection import (
    OperatingPoint,
    PredictedSlice,
    component_labels,
    score_slice,
)
from nodules.tutorial.steps.resizing import resize_image, resize_mask
from nodules.tutorial.steps.roi_box import square_at

PICTURES = 12
FIELD_MM, FIELD_PX = 320.0, 320
COLUMNS = [
    "seriesuid",
    "z",
    "has_nodule",
    "dice",
    "hit",
    "nodule_dice",
    "false_positives",
    "diameter_mm",
    "largest_probability",
]

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class LocatedSlice:
    """A predicted slice and where it comes from: the series and the slice index."""

    seriesuid: str
    z: int
    image: PredictedSlice

    @property
    def nodule_pixels(self) -> int:
        """Number of pixels that belong to a nodule."""
        return int(np.count_nonzero(self.image.truth_yx))


def predict_slices(folder: Path, predict: Predict, trained_on: Mapping[str, Collection[int]]) -> Iterator[LocatedSlice]:
    """Predict all evaluation slices of a folder, except those that the network was trained or selected on.

    Parameters
    ----------
    folder : Path
        One `EvaluationSlices` file per scan, named by series UID.
    predict : callable
        From images (N, S, S) to nodule probabilities (N, S, S).
    trained_on : mapping of str to collection of int
        By series UID, indices of the slices that were used for training or validation.
    """
    for file in sorted(folder.glob("*.npz")):
        slices = EvaluationSlices.load(file)
        predictions = predict(slices.images) if len(slices.z) else slices.images
        pixel_mm2 = float(np.prod(slices.pixel_yx_mm))
        for row, z in enumerate(slices.z.tolist()):
            if z in trained_on.get(file.stem, ()):
                continue
            truth_yx, diameter_mm = slices.truth(row)
            probability_yx = slices.restore(row, predictions[row])
            own = PredictedSlice(slices.hu[row], probability_yx, truth_yx, slices.lungs[row], pixel_mm2, diameter_mm)
            yield LocatedSlice(file.stem, z, own)


def score_predictions(slices: Iterable[LocatedSlice], point: OperatingPoint) -> tuple[pd.DataFrame, list[LocatedSlice]]:
    """Score each slice, and select some slices for the picture.

    Returns
    -------
    rows : DataFrame
        One row per slice with the columns `COLUMNS`: its series and index, the scores of `score_slice` and the largest
        predicted probability.
    shown : list of LocatedSlice
        One slice for each of the first `PICTURES` scans with a nodule: the slice with the most nodule pixels.
    """
    rows, shown = [], dict[str, LocatedSlice]()
    for one in slices:
        figures = score_slice(one.image, point)
        largest = {"largest_probability": float(one.image.probability_yx.max())}
        rows.append({"seriesuid": one.seriesuid, "z": one.z, "has_nodule": one.nodule_pixels > 0, **figures, **largest})
        before = shown.get(one.seriesuid)
        if one.nodule_pixels and (one.nodule_pixels > before.nodule_pixels if before else len(shown) < PICTURES):
            shown[one.seriesuid] = one
    return pd.DataFrame(rows, columns=COLUMNS), list(shown.values())


def mean_scores(rows: pd.DataFrame, min_probability: float) -> dict[str, float]:
    """Average the scores over slices with a nodule and over slices without one.

    Parameters
    ----------
    rows : DataFrame
        As `score_predictions` returns it.
    min_probability : float
        A prediction counts as blank if no pixel reaches this probability.

    Returns
    -------
    dict of str to float
        - ``nodule_slices``, ``nodule_free_slices``: numbers of slices.
        - ``dice``, ``hit``, ``dice_of_hits``, ``false_positives``: means over slices with a nodule.
        - ``false_positives_nodule_free``: mean over slices without a nodule.
        - ``blank``: share of slices with a nodule whose prediction is blank.

        A mean over no slices is left out.
    """
    shows = rows["has_nodule"].astype(bool)
    with_nodule, without = rows[shows], rows[~shows]
    figures = {"nodule_slices": float(len(with_nodule)), "nodule_free_slices": float(len(without))}
    means = {
        "dice": with_nodule["dice"].mean(),
        "hit": with_nodule["hit"].mean(),
        "dice_of_hits": with_nodule["nodule_dice"][with_nodule["hit"] > 0].mean(),
        "false_positives": with_nodule["false_positives"].mean(),
        "false_positives_nodule_free": without["false_positives"].mean(),
        "blank": (with_nodule["largest_probability"] < min_probability).mean(),
    }
    return figures | {name: float(mean) for name, mean in means.items() if np.isfinite(mean)}


def draw_predictions(shown: Sequence[LocatedSlice], point: OperatingPoint) -> Figure:
    """Draw the outlines of true and predicted nodules on slices, each cropped to a square around the lungs."""
    squares = np.asarray([_square(one, point) for one in shown]).reshape(-1, 3, FIELD_PX, FIELD_PX)
    hu, true, found = np.moveaxis(squares, 1, 0)
    titles = [f"{one.image.diameter_mm:.0f} mm nodule, series ...{one.seriesuid[-6:]}" for one in shown]
    return nodule_overlay(hu, true, found, (FIELD_MM / FIELD_PX, FIELD_MM / FIELD_PX), titles)


def _square(one: LocatedSlice, point: OperatingPoint) -> NDArray[np.float32]:
    """HU, true mask and predicted mask (3, FIELD_PX, FIELD_PX) of a square of `FIELD_MM`, as wide as a chest."""
    image = one.image
    about = image.lungs_yx if image.lungs_yx.any() else image.truth_yx > 0
    middle_y, middle_x = np.argwhere(about).mean(axis=0)
    box = square_at((middle_y, middle_x), round(FIELD_MM / image.pixel_mm2**0.5))
    found = component_labels(image.probability_yx, image.pixel_mm2, point) > 0
    hu = resize_image(box.crop(image.hu_yx.astype(float), outside=AIR_HU), FIELD_PX)
    masks = (image.truth_yx > 0, found)
    true, predicted = (resize_mask(box.crop(mask, outside=False), FIELD_PX) > 0 for mask in masks)
    return np.stack([hu, true, predicted])
