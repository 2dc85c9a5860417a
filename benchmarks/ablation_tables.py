"""Tables and chart of the ablation."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ablation_recipes import AS_PUBLISHED, BY_ITSELF, CUMULATIVE, REPAIRED, TUTORIAL, Recipe
from nodules.pictures.axes import blank_figure, label_axes

SEGMENTATION = {
    "dice": "Dice of slices",
    "hit": "hit",
    "dice_of_hits": "Dice of hits",
    "false_positives": "false positives a slice",
    "own_dice": "the tutorial's soft Dice",
}
CLASSIFICATION = {
    "forest_log_loss": "forest log-loss",
    "forest_auc": "AUC",
    "xgboost_log_loss": "XGBoost log-loss",
    "xgboost_auc": "AUC ",
}
MILLIMETRE, UNWEIGHTED = "millimetre", "tutorial, scale_pos_weight 1"
BLUE, ORANGE = "#0072b2", "#d55e00"
"""From Okabe and Ito's palette, which colour-blind readers can tell apart."""

Numbers = Mapping[str, Mapping[str, float]]


def summary(scores: pd.DataFrame) -> dict[str, float]:
    """Mean scores over the evaluation slices.

    Parameters
    ----------
    scores : DataFrame
        One row per slice: dice, hit, nodule_dice (NaN without a nodule), false_positives, own_dice.
    """
    with_nodule = scores[scores["dice"].notna()]
    means = {
        "dice": with_nodule["dice"].mean(),
        "hit": with_nodule["hit"].mean(),
        "dice_of_hits": with_nodule["nodule_dice"][with_nodule["hit"] > 0].mean(),
        "false_positives": scores["false_positives"].mean(),
    }
    if "own_dice" in scores:  # a score of the fold, not of the slice
        means["own_dice"] = scores.groupby("fold")["own_dice"].first().mean()
    return {name: float(value) for name, value in means.items()}


def markdown(rows: Sequence[tuple[str, Mapping[str, float]]], columns: Mapping[str, str], head: str = "") -> str:
    """Format a table in Markdown; a missing number is a dash."""
    lines = [f"| {head} | " + " | ".join(title.strip() for title in columns.values()) + " |"]
    lines.append("| --- |" + " ---: |" * len(columns))
    lines += [f"| {name} | " + " | ".join(_number(told.get(key)) for key in columns) + " |" for name, told in rows]
    return "\n".join(lines)


def table(kind: str, recipes: Sequence[Recipe], numbers: Numbers, columns: Mapping[str, str]) -> str:
    """Table of one kind of recipes, with its first and last row.

    Parameters
    ----------
    kind : str
        `REPAIRED`, `CUMULATIVE` or `BY_ITSELF`.
    numbers : mapping
        Scores by recipe name; recipes without scores are left out.
    """
    ends = {
        REPAIRED: ([AS_PUBLISHED], []),
        CUMULATIVE: ([AS_PUBLISHED], [MILLIMETRE]),
        BY_ITSELF: ([TUTORIAL], []),
    }[kind]
    words = {REPAIRED: "without", CUMULATIVE: "and without", BY_ITSELF: "with"}[kind]
    first, last = ([(name, numbers[name]) for name in names if name in numbers] for names in ends)
    mine = [recipe for recipe in recipes if recipe.table == kind and recipe.name in numbers]
    middle = [(f"{words} `{recipe.changed}`", numbers[recipe.name]) for recipe in mine]
    return markdown([*first, *middle, *last], columns)


def short(numbers: Numbers, columns: Mapping[str, str], costs: int = 5) -> str:
    """Table for the README: the millimetre recipe, the tutorial, its costliest single defects, and the published code.

    The costliest defects are those with the lowest mean slice Dice.
    """
    alone = {name: told for name, told in numbers.items() if name.startswith(f"{BY_ITSELF}.") and "dice" in told}
    dearest = sorted(alone, key=lambda name: alone[name]["dice"])[:costs]
    rows = [(name, numbers[name]) for name in (MILLIMETRE, TUTORIAL) if name in numbers]
    rows += [(f"tutorial with `{name.removeprefix(f'{BY_ITSELF}.')}`", alone[name]) for name in dearest]
    rows += [("as published", numbers[AS_PUBLISHED])] if AS_PUBLISHED in numbers else []
    return markdown(rows, columns)


def chart(recipes: Sequence[Recipe], numbers: Numbers) -> Figure:
    """Draw Dice and hits along the cumulative repair, from top to bottom, with the millimetre recipe last."""
    mine = [recipe for recipe in recipes if recipe.table == CUMULATIVE and recipe.name in numbers]
    shown = [("as published", numbers[AS_PUBLISHED])] if AS_PUBLISHED in numbers else []
    shown += [(f"- {recipe.changed.replace('_', ' ')}", numbers[recipe.name]) for recipe in mine]
    shown += [(MILLIMETRE, numbers[MILLIMETRE])] if MILLIMETRE in numbers else []
    figure = blank_figure(6.7, 0.25 * len(shown) + 1.2)
    axes = figure.add_subplot()
    places = list(range(len(shown)))
    for name, label, colour, marker in (("hit", "hit", ORANGE, "s"), ("dice", "Dice of slices", BLUE, "o")):
        values = [told.get(name, math.nan) for _, told in shown]
        axes.plot(values, places, marker=marker, markersize=5, color=colour, label=label)
    axes.set_yticks(places, [name for name, _ in shown], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(-0.02, 1.02)
    label_axes(
        axes,
        "real slices; above 'split by slice' some nodules were trained on",
        "",
        title="Repaired one after another",
    )
    axes.legend(loc="best")
    return figure


def replace_part(file: Path, name: str, text: str) -> None:
    """Replace the text between ``<!-- name -->`` and ``<!-- end of name -->`` in a page.

    Raises
    ------
    ValueError
        If the page has no such part.
    """
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    page = file.read_text(encoding="utf-8")
    if start not in page or end not in page:
        raise ValueError(f"{file} must have a part between {start} and {end}")
    inside = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    file.write_text(inside.sub(lambda _: f"{start}\n\n{text}\n\n{end}", page), encoding="utf-8")


def _number(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.3f}"
