"""Small hand-made slices with a network's answer, to be scored."""

import numpy as np

from nodules.tutorial.evaluation.slice_detection import OperatingPoint, PredictedSlice

ANY = OperatingPoint(threshold=0.5, peak=0.5, min_mm2=0.0)


def image(probability, truth=None, lungs=None, pixel_mm2=0.5, diameter_mm=7.0) -> PredictedSlice:
    shape = probability.shape
    return PredictedSlice(
        hu_yx=np.zeros(shape, np.int16),
        probability_yx=probability.astype(np.float32),
        truth_yx=np.zeros(shape, np.uint16) if truth is None else truth.astype(np.uint16),
        lungs_yx=np.ones(shape, bool) if lungs is None else lungs,
        pixel_mm2=pixel_mm2,
        diameter_mm=diameter_mm,
    )


def squares(*boxes) -> np.ndarray:
    """PredictedSlice of 12 x 15 pixels with (top, left, side, value) squares."""
    values = np.zeros((12, 15))
    for top, left, side, value in boxes:
        values[top : top + side, left : left + side] = value
    return values
