"""What all charts of this folder share: an empty figure, named axes, a check of the table."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def blank_figure(width: float, height: float) -> Figure:
    """An empty figure that lays itself out."""
    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def label_axes(axes: Axes, x: str, y: str, *, title: str) -> None:
    """Name the axes and draw a grid behind what is plotted."""
    axes.set(xlabel=x, ylabel=y, title=title)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)


def require_columns(table: pd.DataFrame, wanted: tuple[str, ...]) -> None:
    """Raise ValueError that names the columns a table lacks."""
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise ValueError(f"the table must have the columns {list(wanted)}, {missing} are missing")
