"""Answers of the tutorial's network to the judged slices, on the slices' own pixels, and what they are worth."""

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
from nodules.tutorial.judging import judged_slices as judged_store
from nodules.tutorial.judging import slice_finding
from nodules.tutorial.judging.slice_finding import OperatingPoint, Slice
from nodules.tutorial.steps.resizing import resize_image, resize_mask
from nodules.tutorial.steps.roi_box import square_about

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
class JudgedSlice:
    """One slice with the answer to it and the truth; `image.diameter_mm` is NaN without nodules."""

    seriesuid: str
    z: int
    image: Slice

    @property
    def nodule_pixels(self) -> int:
        """How many pixels of it are nodule."""
        return int(np.count_nonzero(self.image.truth_yx))


def answered(folder: Path, predict: Predict, trained_on: Mapping[str, Collection[int]]) -> Iterator[JudgedSlice]:
    """Let the network answer all judged slices of a folder but those that it was trained on.

    Parameters
    ----------
    folder : Path
        One `judged_store` file a scan.
    predict : callable
        Images (N, S, S) to answers (N, S, S).
    trained_on : mapping of str to collection of int
        Series UID to the z indices of the slices that trained or chose the network.
    """
    for file in sorted(folder.glob("*.npz")):
        judged = judged_store.load(file)
        answers = predict(judged.images) if len(judged.z) else judged.images
        pixel_mm2 = float(np.prod(judged.pixel_yx_mm))
        for row, z in enumerate(judged.z.tolist()):
            if z in trained_on.get(file.stem, ()):
                continue
            truth_yx, diameter_mm = judged.truth(row)
            own = Slice(
                judged.hu[row], judged.restored(row, answers[row]), truth_yx, judged.lungs[row], pixel_mm2, diameter_mm
            )
            yield JudgedSlice(file.stem, z, own)


def judge(slices: Iterable[JudgedSlice], point: OperatingPoint) -> tuple[pd.DataFrame, list[JudgedSlice]]:
    """Score each slice, and keep some to be drawn.

    Returns
    -------
    rows : DataFrame
        One row a slice: seriesuid, z, has_nodule, the figures of `slice_finding.score` (Dice, hit and the nodule's own
        Dice are NaN where no nodule is cut) and the answer's `largest_probability`.
    shown : list of JudgedSlice
        Of each of the first scans with a nodule the slice that cuts most of it.
    """
    rows, shown = [], dict[str, JudgedSlice]()
    for one in slices:
        figures = slice_finding.score(one.image, point)
        largest = {"largest_probability": float(one.image.probability_yx.max())}
        rows.append({"seriesuid": one.seriesuid, "z": one.z, "has_nodule": one.nodule_pixels > 0, **figures, **largest})
        before = shown.get(one.seriesuid)
        if one.nodule_pixels and (one.nodule_pixels > before.nodule_pixels if before else len(shown) < PICTURES):
            shown[one.seriesuid] = one
    return pd.DataFrame(rows, columns=COLUMNS), list(shown.values())


def summary(rows: pd.DataFrame, min_probability: float) -> dict[str, float]:
    """Means over the slices.

    Parameters
    ----------
    rows : DataFrame
        Of `judge`.
    min_probability : float
        An answer that nowhere reaches it is blank.

    Returns
    -------
    dict of str to float
        `dice`, `hit`, `dice_of_hits` and `false_positives` of the `nodule_slices`, the false positives of the
        `nodule_free_slices`, and the share of `blank` answers to slices with a nodule. A mean over nothing is left out.
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


def overlay(shown: Sequence[JudgedSlice], point: OperatingPoint) -> Figure:
    """Truth and answer on some slices, each cut to a square about its lungs."""
    squares = np.asarray([_square(one, point) for one in shown]).reshape(-1, 3, FIELD_PX, FIELD_PX)
    hu, true, found = np.moveaxis(squares, 1, 0)
    titles = [f"{one.image.diameter_mm:.0f} mm nodule, series ...{one.seriesuid[-6:]}" for one in shown]
    return nodule_overlay(hu, true, found, (FIELD_MM / FIELD_PX, FIELD_MM / FIELD_PX), titles)


def _square(one: JudgedSlice, point: OperatingPoint) -> NDArray[np.float32]:
    """HU, true and found mask (3, FIELD_PX, FIELD_PX) of a square as wide as a chest."""
    image = one.image
    about = image.lungs_yx if image.lungs_yx.any() else image.truth_yx > 0
    middle_y, middle_x = np.argwhere(about).mean(axis=0)
    box = square_about((middle_y, middle_x), round(FIELD_MM / image.pixel_mm2**0.5))
    found = slice_finding.mask(image.probability_yx, image.pixel_mm2, point) > 0
    hu = resize_image(box.crop(image.hu_yx.astype(float), outside=AIR_HU), FIELD_PX)
    true, answer = (resize_mask(box.crop(mask, outside=False), FIELD_PX) > 0 for mask in (image.truth_yx > 0, found))
    return np.stack([hu, true, answer])
