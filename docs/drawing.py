"""What all pictures of these pages share: panels, slices in mm, outlines, small files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from nodules.pictures.overlay import LUNG_WINDOW_HU

FOLDER = Path(__file__).parent / "pictures"
DPI = 100
COLOURS = 256  # of a picture's palette, which keeps the file small


def panels(count: int, size_inches: tuple[float, float], columns: int | None = None) -> tuple[Figure, list[Axes]]:
    """Empty panels side by side, in rows of `columns`."""
    columns = columns or count
    figure = Figure(figsize=size_inches, layout="constrained")
    made = [figure.add_subplot(-(-count // columns), columns, number + 1) for number in range(count)]
    for panel in made:
        panel.set_axis_off()
    return figure, made


def show(panel: Axes, plane_hu: NDArray[np.int16], pixel_mm: float) -> None:
    """Draw a slice in the lung window, in mm from its upper left corner."""
    height_mm, width_mm = (size * pixel_mm for size in plane_hu.shape)
    low, high = LUNG_WINDOW_HU
    panel.imshow(plane_hu, cmap="gray", vmin=low, vmax=high, extent=(0, width_mm, height_mm, 0))


def outline(panel: Axes, mask: NDArray[np.bool_], pixel_mm: float, colour: str) -> None:
    """Draw the edge of a mask on the slice that it belongs to."""
    if mask.any():
        y_mm, x_mm = ((np.arange(size) + 0.5) * pixel_mm for size in mask.shape)
        panel.contour(x_mm, y_mm, mask.astype(float), levels=[0.5], colors=[colour], linewidths=1.2)


def save(figure: Figure, name: str) -> None:
    """Write a small PNG; the same bytes for the same figure."""
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(DPI)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    small = picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    small.save(FOLDER / f"{name}.png", optimize=True)
