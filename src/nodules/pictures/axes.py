"""Basics of all charts: an empty figure, labelled axes, and a check of the table's columns."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def blank_figure(width: float, height: float) -> Figure:
    """Return an empty figure with automatic layout; width and height in inches."""
    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def label_axes(axes: Axes, x: str, y: str, *, title: str) -> None:
    """Label the axes and draw a grid behind the data."""
    axes.set(xlabel=x, ylabel=y, title=title)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)


def require_columns(table: pd.DataFrame, wanted: tuple[str, ...]) -> None:
    """Raise a ValueError that names the missing columns, if there are any."""
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise ValueError(f"the table must have the columns {list(wanted)}, but lacks {missing}")
