"""Charts of the tables in this folder, drawn without pyplot so that nothing is kept open between calls."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_GREY = "0.55"
_PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}  # keeps a line from running through words


def training_curves(history: pd.DataFrame) -> Figure:
    """Draw one panel per metric over the epochs, training and validation together.

    Parameters
    ----------
    history : DataFrame
        ``epoch`` and one column per metric; ``val_x`` is drawn beside ``x``. Only ``epoch`` is required.
    """
    _require_columns(history, ("epoch",))
    metrics = list(dict.fromkeys(str(name).removeprefix("val_") for name in history.columns if name != "epoch"))
    figure = _figure(width=4.5 * max(len(metrics), 1), height=3.6)
    for position, metric in enumerate(metrics, start=1):
        axes = figure.add_subplot(1, len(metrics), position)
        for column, label, style in ((metric, "training", "--"), (f"val_{metric}", "validation", "-")):
            if column in history.columns:
                axes.plot(history["epoch"], history[column], style, marker="o", markersize=3, label=label)
        _label(axes, "epoch", metric.replace("_", " "), title=metric.replace("_", " "))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if f"val_{metric}" in history.columns:
            axes.legend()
    return figure


def roc(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw ROC curves by model name; the tables are those of `classification.roc_table`, empty ones are left out."""
    figure = _figure(5.4, 5.0)
    axes = figure.add_subplot()
    for name, table in curves.items():
        _require_columns(table, ("false_positive_rate", "true_positive_rate"))
        if len(table):
            false_rate, true_rate = table["false_positive_rate"], table["true_positive_rate"]
            area = float(np.trapezoid(true_rate, false_rate))
            axes.plot(false_rate, true_rate, label=f"{name} (AUC {area:.2f})")
    axes.plot([0, 1], [0, 1], ":", color=_GREY, label="chance (AUC 0.50)")
    _label(axes, "patients without cancer called cancer", "patients with cancer found", title="ROC")
    axes.set_aspect("equal")
    axes.legend(loc="lower right")
    return figure


def calibration(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw promised against observed share of cancer by model name; tables of `classification.calibration_table`.

    The area of a point grows with the number of patients behind it.
    """
    figure = _figure(5.4, 5.0)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], ":", color=_GREY, label="perfectly calibrated")
    for name, table in tables.items():
        _require_columns(table, ("mean_probability", "share_positive", "patients"))
        share = table["patients"] / table["patients"].sum()
        (line,) = axes.plot(table["mean_probability"], table["share_positive"], label=name)
        axes.scatter(table["mean_probability"], table["share_positive"], s=15 + 250 * share, color=line.get_color())
    _label(axes, "predicted probability of cancer", "share of patients with cancer", title="Calibration")
    axes.set_aspect("equal")
    axes.legend(loc="upper left")
    return figure


def model_comparison(table: pd.DataFrame) -> Figure:
    """Draw the log-loss of every model as a bar, the prior's as a line, both on a log scale.

    Parameters
    ----------
    table : DataFrame
        One row per model, indexed by name, with ``log_loss`` and ``prior_log_loss`` of
        `classification.classification_metrics`; ``auc`` is written beside the bar where it is there.
    """
    _require_columns(table, ("log_loss", "prior_log_loss"))
    ordered = table.sort_values("log_loss", ascending=False, kind="stable")
    figure = _figure(7.2, 1.4 + 0.5 * max(len(ordered), 1))
    axes = figure.add_subplot()
    prior = ordered["prior_log_loss"].to_numpy(dtype=float)
    losses = ordered["log_loss"].to_numpy(dtype=float)
    colours = ["tab:blue" if loss < line else "tab:orange" for loss, line in zip(losses, prior, strict=True)]
    bars = axes.barh([str(name) for name in ordered.index], losses, color=colours)
    axes.bar_label(bars, labels=[_bar_text(row) for _, row in ordered.iterrows()], padding=4, bbox=_PAPER)
    for line in np.unique(prior):
        axes.axvline(line, color="0.2", linestyle="--", label=f"constant prior ({line:.3f})")
    _label(axes, "log-loss (log scale; less is better; orange: no better than the prior)", "", title="Models compared")
    if len(ordered):
        # The certain models are at 30, the others between 0.4 and 0.7; the span leaves room for the figures.
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda loss, _: f"{loss:g}")
        axes.set_xlim(losses.min() / 2, losses.max() * 8)
        axes.legend(loc="upper right")
    return figure


def froc(points: pd.DataFrame) -> Figure:
    """Draw sensitivity over false positives per scan, with its interval where there is one (`froc.froc_points`)."""
    _require_columns(points, ("false_positives_per_scan", "sensitivity"))
    rates = points[points["false_positives_per_scan"].notna()]
    figure = _figure(6.0, 4.2)
    axes = figure.add_subplot()
    axes.set_ylim(-0.02, 1.02)
    _label(axes, "false positives per scan", "share of nodules found", title="FROC")
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


def size_response(scores: pd.DataFrame) -> Figure:
    """Draw each nodule's Dice over its diameter; ``diameter_mm``, ``dice`` and ``hit`` as in `NoduleScore`."""
    _require_columns(scores, ("diameter_mm", "dice", "hit"))
    figure = _figure(6.0, 4.2)
    axes = figure.add_subplot()
    for hit, label, marker in ((True, "hit", "o"), (False, "missed", "x")):
        chosen = scores[scores["hit"].astype(bool) == hit]
        axes.scatter(chosen["diameter_mm"], chosen["dice"], marker=marker, alpha=0.7, label=f"{label} ({len(chosen)})")
    axes.set_ylim(-0.05, 1.05)
    _label(axes, "nodule diameter (mm)", "Dice", title="Dice by nodule size")
    axes.legend(loc="lower right")
    return figure


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def _label(axes: Axes, x: str, y: str, *, title: str) -> None:
    axes.set(xlabel=x, ylabel=y, title=title)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)


def _bar_text(row: pd.Series) -> str:
    text = f"{row['log_loss']:.3f}"
    return f"{text}  (AUC {row['auc']:.2f})" if "auc" in row and pd.notna(row["auc"]) else text


def _require_columns(table: pd.DataFrame, wanted: tuple[str, ...]) -> None:
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise ValueError(f"the table must have the columns {list(wanted)}, {missing} are missing")
