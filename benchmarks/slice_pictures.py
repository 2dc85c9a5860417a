"""Close-ups of scored slices with reference and predicted outlines, the worst first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nodules.tutorial.evaluation.slice_detection import OperatingPoint, PredictedSlice, component_labels

COLUMNS, CLOSE_UP_PX = 14, 40
WINDOW_HU = (-1000, 400)


def point_of(row: pd.Series) -> OperatingPoint:
    """Read the operating point from the columns of a scored slice."""
    return OperatingPoint(**row[[field.name for field in fields(OperatingPoint)]])


def sheet(images: Sequence[PredictedSlice], rows: pd.DataFrame) -> Figure:
    """Draw one close-up per nodule, ordered by Dice; the reference is green, the prediction red."""
    order = np.argsort(rows["dice"].to_numpy(), kind="stable")
    height = -(-len(order) // COLUMNS)
    figure = Figure(figsize=(COLUMNS * 1.1, height * 1.25), layout="constrained")
    for axes, index in zip(figure.subplots(height, COLUMNS, squeeze=False).ravel(), order, strict=False):
        row, image = rows.iloc[index], images[index]
        point = point_of(row)
        centre = np.argwhere(image.truth_yx == 1).mean(axis=0).round().astype(int)
        window = tuple(slice(max(0, middle - CLOSE_UP_PX), middle + CLOSE_UP_PX) for middle in centre)
        found = component_labels(image.probability_yx, image.pixel_mm2, point)[window] > 0
        axes.imshow(image.hu_yx[window], cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1])
        axes.contour(image.truth_yx[window] > 0, levels=[0.5], colors="lime", linewidths=0.7)
        if found.any():
            axes.contour(found, levels=[0.5], colors="red", linewidths=0.7)
        axes.set_title(f"{row['diameter_mm']:.0f} mm  {row['dice']:.2f}", fontsize=6, pad=1)
    for axes in figure.axes:
        axes.set_axis_off()
    return figure
