"""Charts of U-Net training and nodule detection: training curves, FROC, and Dice by nodule size.

They are drawn without pyplot, which would keep figures open between calls.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nodules.pictures.axes import blank_figure, label_axes, require_columns


def training_curves(history: pd.DataFrame) -> Figure:
    """Draw the training and validation curves, one panel per metric.

    Parameters
    ----------
    history : DataFrame
        Column ``epoch``, and one column per metric; ``val_x`` is drawn in the panel of ``x``.
    """
    require_columns(history, ("epoch",))
    metrics = list(dict.fromkeys(str(name).removeprefix("val_") for name in history.columns if name != "epoch"))
    figure = blank_figure(width=4.5 * max(len(metrics), 1), height=3.6)
    for position, metric in enumerate(metrics, start=1):
        axes = figure.add_subplot(1, len(metrics), position)
        for column, label, style in ((metric, "training", "--"), (f"val_{metric}", "validation", "-")):
            if column in history.columns:
                axes.plot(history["epoch"], history[column], style, marker="o", markersize=3, label=label)
        label_axes(axes, "epoch", metric.replace("_", " "), title=metric.replace("_", " "))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if f"val_{metric}" in history.columns:
            axes.legend()
    return figure


def froc(points: pd.DataFrame) -> Figure:
    """Draw the FROC curve: sensitivity over false positives per scan, with its 95 % interval if there is one.

    Parameters
    ----------
    points : DataFrame
        Table of `evaluation.detection.froc_points`.
    """
    require_columns(points, ("false_positives_per_scan", "sensitivity"))
    rates = points[points["false_positives_per_scan"].notna()]
    figure = blank_figure(6.0, 4.2)
    axes = figure.add_subplot()
    axes.set_ylim(-0.02, 1.02)
    label_axes(axes, "false positives per scan", "share of nodules found", title="FROC")
    if len(rates):
        label = f"mean {rates['sensitivity'].mean():.2f}"
        axes.plot(rates["false_positives_per_scan"], rates["sensitivity"], marker="o", label=label)
        if "low" in rates:
            band = (rates["low"], rates["high"])
            axes.fill_between(rates["false_positives_per_scan"], *band, alpha=0.2, label="95 %, by scan")
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda rate, _: f"{rate:g}")
        axes.legend(loc="lower right")
    return figure
