"""Charts of the cancer classifiers: ROC, precision-recall, calibration, confusion, permutation importance, models."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nodules.evaluation.cancer import CLASS_NAMES
from nodules.pictures.axes import blank_figure, label_axes, require_columns

_GREY = "0.55"
_PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}  # keeps lines from crossing text


def roc(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw the ROC curve of each model.

    Parameters
    ----------
    curves : mapping
        Table of `evaluation.cancer.roc_table` by model name. Empty tables are left out.
    """
    figure = blank_figure(5.4, 5.0)
    axes = figure.add_subplot()
    for name, table in curves.items():
        require_columns(table, ("false_positive_rate", "true_positive_rate"))
        if len(table):
            false_rate, true_rate = table["false_positive_rate"], table["true_positive_rate"]
            area = float(np.trapezoid(true_rate, false_rate))
            axes.plot(false_rate, true_rate, label=f"{name} (AUC {area:.2f})")
    axes.plot([0, 1], [0, 1], ":", color=_GREY, label="chance (AUC 0.50)")
    label_axes(axes, "patients without cancer called cancer", "patients with cancer found", title="ROC")
    axes.set_aspect("equal")
    axes.legend(loc="lower right")
    return figure


def precision_recall(curves: Mapping[str, pd.DataFrame], share_positive: float) -> Figure:
    """Draw the precision-recall curve of each model.

    Parameters
    ----------
    curves : mapping
        Table of `evaluation.cancer.precision_recall_table` by model name. Empty tables are left out.
    share_positive : float
        Share of patients with cancer, which is the precision of predicting cancer for everyone.
    """
    figure = blank_figure(5.4, 5.0)
    axes = figure.add_subplot()
    for name, table in curves.items():
        require_columns(table, ("recall", "precision"))
        if len(table):
            area = float(np.sum(np.diff(table["recall"], prepend=0.0) * table["precision"]))
            axes.step(table["recall"], table["precision"], where="pre", label=f"{name} (average {area:.2f})")
    axes.axhline(share_positive, linestyle=":", color=_GREY, label=f"chance ({share_positive:.2f})")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    label_axes(
        axes, "recall: patients with cancer found", "precision: of those called, who has it", title="Precision, recall"
    )
    axes.legend(loc="upper right")
    return figure


def calibration(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw the observed share of cancer over the predicted probability, one panel per model.

    The area of a point grows with its number of patients. Bars are 95 % intervals of the share.

    Parameters
    ----------
    tables : mapping
        Table of `evaluation.cancer.calibration_table` by model name.
    """
    figure = blank_figure(max(3.6 * len(tables), 3.6), 4.0)
    for position, (name, table) in enumerate(tables.items(), start=1):
        require_columns(table, ("mean_probability", "share_positive", "share_low", "share_high", "patients"))
        axes = figure.add_subplot(1, len(tables), position)
        axes.plot([0, 1], [0, 1], ":", color=_GREY)
        promised, observed = table["mean_probability"], table["share_positive"]
        reach = np.clip([observed - table["share_low"], table["share_high"] - observed], 0, None)
        bars = axes.errorbar(promised, observed, reach, capsize=2, elinewidth=0.8)
        size = 15 + 250 * table["patients"] / table["patients"].sum()
        axes.scatter(promised, observed, s=size, color=bars.lines[0].get_color())
        observed_name = "share of patients with cancer" if position == 1 else ""
        label_axes(axes, "predicted probability of cancer", observed_name, title=f"Calibration: {name}")
        axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), aspect="equal")
    return figure


def confusion(table: pd.DataFrame, title: str) -> Figure:
    """Draw the confusion matrix of a table of `evaluation.cancer.confusion_table`."""
    require_columns(table, ("actual", "predicted"))
    counts = pd.crosstab(table["actual"], table["predicted"]).reindex(
        index=list(CLASS_NAMES), columns=list(CLASS_NAMES), fill_value=0
    )
    figure = blank_figure(4.4, 3.8)
    axes = figure.add_subplot()
    axes.imshow(counts, cmap="Blues", vmin=0)
    for (row, column), patients in np.ndenumerate(counts.to_numpy()):
        dark = patients > counts.to_numpy().max() / 2
        axes.text(column, row, str(patients), ha="center", va="center", color="white" if dark else "black", fontsize=16)
    axes.set_xticks((0, 1), CLASS_NAMES)
    axes.set_yticks((0, 1), CLASS_NAMES)
    axes.set(xlabel="predicted", ylabel="actual", title=title)
    return figure


def importance(table: pd.DataFrame, shown: int = 20) -> Figure:
    """Draw the permutation importance of the most important features: the rise of the log-loss when one is shuffled.

    Parameters
    ----------
    table : DataFrame
        Columns ``feature``, ``log_loss_increase`` and ``standard_deviation``.
    shown : int
        Number of features drawn, the most important at the top.
    """
    require_columns(table, ("feature", "log_loss_increase", "standard_deviation"))
    strongest = table.nlargest(shown, "log_loss_increase").iloc[::-1]
    figure = blank_figure(7.2, 1.4 + 0.26 * max(len(strongest), 1))
    axes = figure.add_subplot()
    axes.barh(
        [str(name) for name in strongest["feature"]],
        strongest["log_loss_increase"],
        xerr=strongest["standard_deviation"],
        error_kw={"elinewidth": 0.8, "ecolor": "0.3"},
    )
    label_axes(
        axes, "rise of the log-loss when this feature is shuffled among patients", "", title="Permutation importance"
    )
    return figure


def model_comparison(table: pd.DataFrame) -> Figure:
    """Draw the log-loss of every model as a bar and that of the prior as a line, on a log scale.

    Parameters
    ----------
    table : DataFrame
        One row per model, indexed by name, with ``log_loss`` and ``prior_log_loss`` from
        `evaluation.cancer.classification_metrics`. If there is an ``auc``, it is written beside the bar.
    """
    require_columns(table, ("log_loss", "prior_log_loss"))
    ordered = table.sort_values("log_loss", ascending=False, kind="stable")
    figure = blank_figure(7.2, 1.4 + 0.5 * max(len(ordered), 1))
    axes = figure.add_subplot()
    prior = ordered["prior_log_loss"].to_numpy(dtype=float)
    losses = ordered["log_loss"].to_numpy(dtype=float)
    colours = ["tab:blue" if loss < line else "tab:orange" for loss, line in zip(losses, prior, strict=True)]
    bars = axes.barh([str(name) for name in ordered.index], losses, color=colours)
    axes.bar_label(bars, labels=[_bar_text(row) for _, row in ordered.iterrows()], padding=4, bbox=_PAPER)
    for line in np.unique(prior):
        axes.axvline(line, color="0.2", linestyle="--", label=f"constant prior ({line:.3f})")
    label_axes(
        axes, "log-loss (log scale; less is better; orange: no better than the prior)", "", title="Models compared"
    )
    if len(ordered):
        # Constant answers of 0 or 1 have a log-loss near 30, other models 0.4 to 0.7; the limits leave room for labels.
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda loss, _: f"{loss:g}")
        axes.set_xlim(losses.min() / 2, losses.max() * 8)
        axes.legend(loc="upper right")
    return figure


def _bar_text(row: pd.Series) -> str:
    text = f"{row['log_loss']:.3f}"
    return f"{text}  (AUC {row['auc']:.2f})" if "auc" in row and pd.notna(row["auc"]) else text
