"""Report of the ablation: tables on the terminal and in the pages, a chart, and runs in MLflow."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ablation_recipes import (
    ANSWERS,
    AS_PUBLISHED,
    BY_ITSELF,
    CUMULATIVE,
    REPAIRED,
    TABLES,
    TUTORIAL,
    Recipe,
    Settings,
)
from ablation_tables import (
    CLASSIFICATION,
    MILLIMETRE,
    SEGMENTATION,
    UNWEIGHTED,
    chart,
    markdown,
    replace_part,
    short,
    summary,
    table,
)
from nodules.pictures.overlay import save_figure
from nodules.tracking import stage as tracking

HERE = Path(__file__).parent
PAGE, MISTAKES = HERE / "ablation.md", HERE.parent / "docs/tutorial/mistakes.md"
CHART = HERE.parent / "docs/pictures/ablation.png"
CAPTION = """![Dice and hits on real slices while mistakes are repaired, one by one](../pictures/ablation.png)

*All mistakes at the top; each line downwards is without one more of them.*"""
METRICS, EXPERIMENT = Path("models/metrics"), "lung-cancer-ablation"
SHORT = {name: SEGMENTATION[name] for name in ("dice", "hit", "false_positives")}
ALL_FOLDS = "real_all_folds"
"""Key of the headline's scores on all folds of real slices; other recipes are tested on the first folds only."""

Measured = dict[str, dict[str, dict[str, float]]]
"""Scores by data set and recipe."""


def report(
    recipes: Sequence[Recipe],
    measured: Measured,
    settings: Settings,
    millimetre: Path | None,
    out: Path,
    *,
    complete: bool,
) -> None:
    """Print all tables; if all recipes were measured, also write them to the pages and draw the chart."""
    measured = {data: dict(told) for data, told in measured.items()}
    if millimetre and "real" in measured:
        _add_millimetre(measured, pd.read_csv(millimetre), settings)
    measured["phantoms"] |= _of_the_pipeline()
    (out / "numbers.json").write_text(json.dumps(measured, indent=2) + "\n")
    parts = _of_phantoms(recipes, measured["phantoms"])
    if "real" in measured:
        parts |= _of_real_slices(recipes, measured)
    for name, text in parts.items():
        print(f"\n## {name}\n\n{text}")
    if not complete:
        return
    for name, text in parts.items():
        replace_part(PAGE, name, text)
    if "real" in measured:
        save_figure(chart(_segmenting(recipes), measured["real"]), CHART)
    picture = f"\n\n{CAPTION}" if CHART.exists() else ""
    replace_part(MISTAKES, "costs", costs(recipes, measured) + picture)


def _of_phantoms(recipes: Sequence[Recipe], told: dict[str, dict[str, float]]) -> dict[str, str]:
    parts = {
        f"phantoms, {kind}": table(kind, recipes, told, SEGMENTATION | CLASSIFICATION)
        for kind in (BY_ITSELF, CUMULATIVE, REPAIRED)
    }
    parts["phantoms, headline"] = short(told, SHORT)
    if UNWEIGHTED in told:
        rows = [(name, told[name]) for name in (TUTORIAL, UNWEIGHTED, MILLIMETRE) if name in told]
        parts["phantoms, weight"] = markdown(rows, CLASSIFICATION)
    return parts


def _of_real_slices(recipes: Sequence[Recipe], measured: Measured) -> dict[str, str]:
    told, mine, everywhere = measured["real"], _segmenting(recipes), measured[ALL_FOLDS]
    ends = [name for name in (MILLIMETRE, TUTORIAL, AS_PUBLISHED) if name in everywhere]
    parts = {f"real, {kind}": table(kind, mine, told, SEGMENTATION) for kind in (BY_ITSELF, CUMULATIVE, REPAIRED)}
    parts["real, headline"] = short(told, SHORT)
    parts["real, all folds"] = markdown([(name.replace("_", " "), everywhere[name]) for name in ends], SEGMENTATION)
    return parts


def _segmenting(recipes: Sequence[Recipe]) -> list[Recipe]:
    """Recipes whose changed defect affects a mask or a prediction."""
    return [recipe for recipe in recipes if recipe.changed in ANSWERS]


def _add_millimetre(measured: Measured, scores: pd.DataFrame, settings: Settings) -> None:
    for part, folds in (("real", settings.folds), (ALL_FOLDS, settings.headline_folds)):
        measured[part][MILLIMETRE] = summary(scores[scores["fold"] < folds])


def costs(chosen: Sequence[Recipe], measured: Measured) -> str:
    """Cost of each single defect: change of Dice, hits and false positives on each data set, and of the log-loss."""
    rows = []
    for recipe in (recipe for recipe in chosen if recipe.table == BY_ITSELF):
        row = {}
        for data in ("real", "phantoms"):
            told = measured.get(data, {})
            alone, right = told.get(recipe.name, {}), told.get(TUTORIAL, {})
            for name in ("dice", "hit", "false_positives", "forest_log_loss", "xgboost_log_loss"):
                if name in alone and name in right:
                    row[f"{data}.{name}"] = alone[name] - right[name]
        rows.append((f"`{recipe.changed}`", row))
    titles = {"dice": "Dice", "hit": "hits", "false_positives": "false positives a slice"}
    columns = {f"{data}.{name}": f"{title}, {data}" for data in ("real", "phantoms") for name, title in titles.items()}
    columns |= {"phantoms.forest_log_loss": "forest log-loss", "phantoms.xgboost_log_loss": "XGBoost log-loss"}
    known = {name for _, row in rows for name in row}
    return markdown(rows, {name: title for name, title in columns.items() if name in known}, "change by")


def track(recipes: Sequence[Recipe], measured: Measured, settings: Settings) -> None:
    """Record one run per recipe, with its defects as parameters and its scores as metrics."""
    os.environ.setdefault("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    with tracking.stage_run("ablation", settings) as run:
        for recipe in recipes:
            switches = {name: name in recipe.defects for name in sorted(TABLES)}
            figures = {data: told[recipe.name] for data, told in measured.items() if recipe.name in told}
            run.log_child_run(recipe.name, {"table": recipe.table, "changed": recipe.changed} | switches, figures)


def _of_the_pipeline() -> dict[str, dict[str, float]]:
    """Scores of the default recipe on the same phantoms from `models/metrics`, per nodule in 3-D."""
    unet, classifier = METRICS / "unet.json", METRICS / "classifier.json"
    found: dict[str, float] = {}
    if unet.exists():
        told = json.loads(unet.read_text())
        found |= {"dice": told["dice_mean"], "hit": told["hit_rate"]}
    if classifier.exists():
        models = json.loads(classifier.read_text())["models"]
        for mine, name in (("forest", "random_forest"), ("xgboost", "xgboost")):
            found |= {f"{mine}_log_loss": models[name]["log_loss"], f"{mine}_auc": models[name]["auc"]}
    return {MILLIMETRE: found} if found else {}
