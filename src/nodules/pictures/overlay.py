"""Overlays on CT slices: outlines of lungs and nodules, and circled candidates, at true proportions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from numpy.typing import NDArray

from nodules.imaging.geometry.volume import Volume
from nodules.imaging.lungs.sides import LEFT, RIGHT

LUNG_WINDOW_HU = (-1350.0, 150.0)  # width 1500, level -600: the usual lung window
SIDE_COLOURS = {RIGHT: "#ff9f1c", LEFT: "#2ec4f1"}
SIDE_NAMES = {RIGHT: "right lung", LEFT: "left lung"}
REFERENCE_COLOUR, PREDICTED_COLOUR = "#3ddc61", "#ff4fd8"
PANEL_INCHES = 2.6
DPI = 110
MARGIN_MM = 20.0
CROP_MM = 60.0
RING_MM = 3.0  # gap between a nodule and the circle around it
MALIGNANCY_NOTE = (
    "malignancy: probability that radiologists rate the nodule\nabove 3 of 5, which is not a probability of cancer"
)


def lung_contours(volume: Volume, labels_zyx: NDArray[np.uint8], axial: int = 8, coronal: int = 4) -> Figure:
    """Draw the outlines of both lungs on axial and coronal slices, evenly spaced through the lungs.

    Parameters
    ----------
    volume : Volume
        The scan in HU.
    labels_zyx : (Z, Y, X) ndarray of uint8
        Lung labels: 1 right, 2 left.
    axial, coronal : int
        Largest number of slices of each kind.

    Returns
    -------
    Figure
        The patient's right is on the viewer's left, the back at the bottom (axial), the head at the top (coronal).
    """
    z_range, y_range, x_range = _shown(labels_zyx > 0, volume)
    slices = [(0, i) for i in _steps(z_range, axial)] + [(1, i) for i in _steps(y_range, coronal)]
    figure, panels = _panels(len(slices), columns=4)
    for panel, (axis, index) in zip(panels, slices, strict=True):
        across = (y_range, x_range) if axis == 0 else (z_range, x_range)
        _draw_slice(panel, volume, axis, index, across)
        for side, colour in SIDE_COLOURS.items():
            _outline(panel, np.take(labels_zyx, index, axis) == side, _in_plane_mm(volume, axis), colour)
    _legend(figure, {SIDE_NAMES[side]: colour for side, colour in SIDE_COLOURS.items()}, LUNG_WINDOW_HU)
    return figure


def nodule_overlay(
    slices_hu: NDArray[Any],
    reference: NDArray[Any],
    predicted: NDArray[Any],
    spacing_yx_mm: tuple[float, float],
    titles: Sequence[str] = (),
    window_hu: tuple[float, float] = LUNG_WINDOW_HU,
) -> Figure:
    """Draw the reference and predicted outlines of nodules, one panel per slice.

    Parameters
    ----------
    slices_hu : (N, Y, X) ndarray
        Axial slices in HU.
    reference, predicted : (N, Y, X) ndarray
        Masks; non-zero pixels belong to a nodule.
    spacing_yx_mm : tuple of float
        Pixel spacing of the slices.
    titles : sequence of str
        One title per slice, or none at all.
    window_hu : tuple of float
        HU shown as black and as white.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If the shapes differ, or the number of titles differs from the number of slices.
    """
    if not slices_hu.shape == reference.shape == predicted.shape:
        raise ValueError(
            f"slices and masks must have the same shape, got {slices_hu.shape}, {reference.shape}, {predicted.shape}"
        )
    if titles and len(titles) != len(slices_hu):
        raise ValueError(f"expected one title for each of {len(slices_hu)} slices, got {len(titles)} titles")
    figure, panels = _panels(len(slices_hu), columns=4)
    for number, panel in enumerate(panels):
        _show(panel, slices_hu[number], spacing_yx_mm, window_hu)
        _outline(panel, reference[number] != 0, spacing_yx_mm, REFERENCE_COLOUR, width=2.4)
        _outline(panel, predicted[number] != 0, spacing_yx_mm, PREDICTED_COLOUR)
        panel.set_title(titles[number] if titles else f"slice {number + 1}", fontsize=8)
    _legend(figure, {"reference": REFERENCE_COLOUR, "predicted": PREDICTED_COLOUR}, window_hu)
    return figure


def candidates_sheet(
    volume: Volume, labels_zyx: NDArray[np.uint8], candidates: pd.DataFrame, largest_count: int = 7
) -> Figure:
    """Draw the first candidates, each circled on its axial slice, and all of them on one coronal slice.

    Parameters
    ----------
    volume : Volume
        The scan in HU.
    labels_zyx : (Z, Y, X) ndarray of uint8
        Lung labels: 1 right, 2 left.
    candidates : DataFrame
        Columns `x_mm`, `y_mm`, `z_mm` (centre in world coordinates), `diameter_mm` and `probability`; the most
        important candidate comes first. If there is a column `malignancy`, a second line of each title shows it, except
        where it is NaN.
    largest_count : int
        Largest number of candidates drawn.

    Returns
    -------
    Figure
    """
    drawn = candidates.head(largest_count)
    figure, panels = _panels(1 + len(drawn), columns=4)
    centres_zyx = volume.world_to_voxel(drawn[["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=float).reshape(-1, 3))
    _coronal_overview(panels[0], volume, labels_zyx, drawn, centres_zyx)
    for number, (panel, centre) in enumerate(zip(panels[1:], centres_zyx, strict=True), start=1):
        row = drawn.iloc[number - 1]
        _axial_crop(panel, volume, centre, float(row["diameter_mm"]))
        panel.set_title(_candidate_title(number, row), fontsize=8)
    names = {SIDE_NAMES[side]: colour for side, colour in SIDE_COLOURS.items()}
    rated = "malignancy" in drawn and bool(drawn["malignancy"].notna().any())
    _legend(figure, names | {"candidate": PREDICTED_COLOUR}, LUNG_WINDOW_HU, MALIGNANCY_NOTE if rated else "")
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG. The file appears only once it is complete, and equal figures give equal bytes."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        figure.savefig(partial, format="png", dpi=DPI, metadata={"Software": None})
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _panels(count: int, columns: int) -> tuple[Figure, list[Axes]]:
    columns = max(1, min(columns, count))
    rows = max(1, -(-count // columns))
    figure = Figure(figsize=(PANEL_INCHES * columns, PANEL_INCHES * rows + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(rows, columns, number + 1) for number in range(count)]
    for panel in axes:
        panel.set_axis_off()
    return figure, axes


def _show(panel: Axes, plane: NDArray[Any], spacing_mm: tuple[float, float], window_hu: tuple[float, float]) -> None:
    """Draw a plane with axes in mm from its first edges, the first row at the top."""
    height_mm, width_mm = (n * s for n, s in zip(plane.shape, spacing_mm, strict=True))
    extent = (0.0, width_mm, height_mm, 0.0)
    panel.imshow(plane, cmap="gray", vmin=window_hu[0], vmax=window_hu[1], extent=extent, interpolation="bilinear")


def _draw_slice(panel: Axes, volume: Volume, axis: int, index: int, shown: tuple[range, range]) -> None:
    spacing_mm = _in_plane_mm(volume, axis)
    _show(panel, np.take(volume.voxels_zyx, index, axis), spacing_mm, LUNG_WINDOW_HU)
    rows_mm, columns_mm = ((r.start * s, r.stop * s) for r, s in zip(shown, spacing_mm, strict=True))
    panel.set_xlim(*columns_mm)
    panel.set_ylim(*(rows_mm[::-1] if axis == 0 else rows_mm))
    world_xyz = volume.voxel_to_world([index if a == axis else n // 2 for a, n in enumerate(volume.shape_zyx)])
    panel.set_title(
        f"axial, z = {world_xyz[2]:.1f} mm" if axis == 0 else f"coronal, y = {world_xyz[1]:.1f} mm", fontsize=8
    )
    panel.text(0.02, 0.98, "R", transform=panel.transAxes, color="white", fontsize=8, va="top")


def _outline(
    panel: Axes, mask: NDArray[np.bool_], spacing_mm: tuple[float, float], colour: str, width: float = 0.9
) -> None:
    if not mask.any():
        return
    padded = np.pad(mask, 1).astype(float)  # closes outlines at the edge of the image
    rows_mm, columns_mm = ((np.arange(n) - 0.5) * s for n, s in zip(padded.shape, spacing_mm, strict=True))
    panel.contour(columns_mm, rows_mm, padded, levels=[0.5], colors=[colour], linewidths=width)


def _coronal_overview(
    panel: Axes,
    volume: Volume,
    labels_zyx: NDArray[np.uint8],
    candidates: pd.DataFrame,
    centres_zyx: NDArray[np.float64],
) -> None:
    z_range, y_range, x_range = _shown(labels_zyx > 0, volume)
    middle_y = round(float(centres_zyx[0, 1])) if len(centres_zyx) else (y_range.start + y_range.stop) // 2
    index = int(np.clip(middle_y, 0, volume.shape_zyx[1] - 1))
    _draw_slice(panel, volume, 1, index, (z_range, x_range))
    z_mm, x_mm = _in_plane_mm(volume, 1)
    for side, colour in SIDE_COLOURS.items():
        _outline(panel, labels_zyx[:, index] == side, (z_mm, x_mm), colour)
    for number, (centre, diameter_mm) in enumerate(zip(centres_zyx, candidates["diameter_mm"], strict=True), start=1):
        place = ((centre[2] + 0.5) * x_mm, (centre[0] + 0.5) * z_mm)
        panel.add_patch(Circle(place, diameter_mm / 2 + RING_MM, fill=False, color=PREDICTED_COLOUR, linewidth=1.0))
        panel.annotate(str(number), place, xytext=(5, 5), textcoords="offset points", color="white", fontsize=7)


def _candidate_title(number: int, candidate: pd.Series) -> str:
    title = (
        f"{number}: p = {candidate['probability']:.2f}, {candidate['diameter_mm']:.1f} mm, "
        f"z = {candidate['z_mm']:.1f} mm"
    )
    malignancy = candidate.get("malignancy")
    return title if pd.isna(malignancy) else f"{title}\nmalignancy {malignancy:.2f}"


def _axial_crop(panel: Axes, volume: Volume, centre_zyx: NDArray[np.float64], diameter_mm: float) -> None:
    z = int(np.clip(round(float(centre_zyx[0])), 0, volume.shape_zyx[0] - 1))
    y_mm, x_mm = volume.spacing_zyx_mm[1:]
    _show(panel, volume.voxels_zyx[z], (y_mm, x_mm), LUNG_WINDOW_HU)
    middle_x, middle_y = (centre_zyx[2] + 0.5) * x_mm, (centre_zyx[1] + 0.5) * y_mm
    reach_mm = max(CROP_MM, 2 * diameter_mm) / 2
    panel.set_xlim(middle_x - reach_mm, middle_x + reach_mm)
    panel.set_ylim(middle_y + reach_mm, middle_y - reach_mm)
    ring = Circle((middle_x, middle_y), diameter_mm / 2 + RING_MM, fill=False, color=PREDICTED_COLOUR, linewidth=1.0)
    panel.add_patch(ring)


def _in_plane_mm(volume: Volume, axis: int) -> tuple[float, float]:
    z_mm, y_mm, x_mm = volume.spacing_zyx_mm
    return (y_mm, x_mm) if axis == 0 else (z_mm, x_mm)


def _shown(mask_zyx: NDArray[np.bool_], volume: Volume) -> tuple[range, range, range]:
    """Return the part of the grid to show: the mask with a margin, or the whole grid if the mask is empty."""
    ranges = []
    for axis, (size, spacing_mm) in enumerate(zip(volume.shape_zyx, volume.spacing_zyx_mm, strict=True)):
        inside = np.flatnonzero(mask_zyx.any(axis=tuple(other for other in range(3) if other != axis)))
        margin = round(MARGIN_MM / spacing_mm)
        start, stop = (inside[0] - margin, inside[-1] + 1 + margin) if inside.size else (0, size)
        ranges.append(range(max(int(start), 0), min(int(stop), size)))
    return ranges[0], ranges[1], ranges[2]


def _steps(indices: range, count: int) -> list[int]:
    """Return at most `count` different indices at equal steps, without the two ends."""
    places = indices.start + (np.arange(count) + 0.5) * len(indices) / max(count, 1)
    return sorted({int(place) for place in places})


def _legend(figure: Figure, colours: dict[str, str], window_hu: tuple[float, float], note: str = "") -> None:
    handles = [Line2D([], [], color=colour, label=name) for name, colour in colours.items()]
    window = f"window {window_hu[0]:.0f} to {window_hu[1]:.0f} HU, patient's right on the left"
    title = f"{window}\n{note}" if note else window
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, title=title, title_fontsize=8
    )
