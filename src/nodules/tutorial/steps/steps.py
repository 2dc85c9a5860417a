"""Everything that happens to one slice, for pictures and for checking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodules.tutorial.steps.lung_steps import LungSteps, find_lung_steps
from nodules.tutorial.steps.prepared_scan import PreparedScan
from nodules.tutorial.steps.roi_box import RoiBox, square_about

MIN_CLOSE_UP_PX = 32
CLOSE_UP_SIDES = 3


@dataclass(frozen=True)
class TutorialSteps:
    """A slice on its way to the network.

    Attributes
    ----------
    lungs : LungSteps
        From the slice to its lungs.
    renormalised_yx : (Y, X) ndarray of float64
        Masked, on the grey scale of the lungs.
    box : RoiBox
        What is cut out of it.
    image_yx : (S, S) ndarray of float32
        What the network sees.
    node_mask_yx : (Y, X) ndarray of bool
        Nodules on the slice's own pixels.
    target_yx : (S, S) ndarray of float32
        The same as the network is to answer it.
    close_up : RoiBox or None
        A square three times as wide as the nodules, at least 32 pixels, about their centre; None without any.
    close_up_yx : ndarray of float64 or None
        Grey values of the slice in that square.
    close_up_mask_yx : ndarray of bool or None
        Nodules in that square.
    """

    lungs: LungSteps
    renormalised_yx: NDArray[np.float64]
    box: RoiBox
    image_yx: NDArray[np.float32]
    node_mask_yx: NDArray[np.bool_]
    target_yx: NDArray[np.float32]
    close_up: RoiBox | None
    close_up_yx: NDArray[np.float64] | None
    close_up_mask_yx: NDArray[np.bool_] | None


def slice_steps(prepared: PreparedScan, z: int, node_mask_yx: NDArray[np.bool_]) -> TutorialSteps:
    """Follow a slice of a prepared scan and its node mask from the first step to the last."""
    lungs = find_lung_steps(prepared.scan.voxels_zyx[z], prepared.params)
    close_up = _close_up(node_mask_yx)
    darkest = float(lungs.grey_yx.min())
    return TutorialSteps(
        lungs=lungs,
        renormalised_yx=prepared.renormalised(z),
        box=prepared.boxes[z],
        image_yx=prepared.image(z),
        node_mask_yx=node_mask_yx,
        target_yx=prepared.node_mask(z, node_mask_yx),
        close_up=close_up,
        close_up_yx=close_up.crop(lungs.grey_yx, outside=darkest) if close_up else None,
        close_up_mask_yx=close_up.crop(node_mask_yx, outside=False) if close_up else None,
    )


def _close_up(node_mask_yx: NDArray[np.bool_]) -> RoiBox | None:
    rows, columns = np.nonzero(node_mask_yx)
    if not rows.size:
        return None
    widest = max(np.ptp(rows), np.ptp(columns)) + 1
    return square_about((rows.mean(), columns.mean()), max(MIN_CLOSE_UP_PX, CLOSE_UP_SIDES * int(widest)))
