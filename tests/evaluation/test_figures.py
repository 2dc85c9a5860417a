"""Charts hold the lines they promise, and can be drawn from empty tables."""

import numpy as np
import pandas as pd
import pytest

from nodules.evaluation import figures
from nodules.evaluation.classification import calibration_table, roc_table
from nodules.evaluation.froc import froc_points

LABELS, CHANCES = [1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1]


def draw(figure):
    figure.draw_without_rendering()
    return figure


def legend_of(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_training_curves_has_a_panel_per_metric():
    history = pd.DataFrame({"epoch": [1, 2], "loss": [0.9, 0.5], "val_loss": [0.8, 0.6], "val_dice": [0.1, 0.4]})
    panels = draw(figures.training_curves(history)).axes
    assert [axes.get_title() for axes in panels] == ["loss", "dice"]
    assert [legend_of(axes) for axes in panels] == [["training", "validation"], ["validation"]]


def test_roc_names_the_area():
    axes = draw(figures.roc({"forest": roc_table(LABELS, CHANCES), "one class": roc_table([1], [0.5])})).axes[0]
    assert legend_of(axes) == ["forest (AUC 0.75)", "chance (AUC 0.50)"]


def test_calibration_has_a_line_per_model():
    axes = draw(figures.calibration({"forest": calibration_table(LABELS, CHANCES)})).axes[0]
    assert legend_of(axes) == ["perfectly calibrated", "forest"]


def test_model_comparison_puts_the_best_on_top_with_its_figures():
    table = pd.DataFrame({"log_loss": [0.4, 28.0], "prior_log_loss": [0.48] * 2, "auc": [0.8, None]}, ["good", "bad"])
    axes = draw(figures.model_comparison(table)).axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["bad", "good"]
    assert [text.get_text() for text in axes.texts] == ["28.000", "0.400  (AUC 0.80)"]


def test_froc_and_size_response():
    points = pd.DataFrame({"false_positives_per_scan": [0.5, 1.0, np.nan], "sensitivity": [0.4, 0.6, 0.5]})
    assert legend_of(draw(figures.froc(points)).axes[0]) == ["mean 0.50"]
    points = points.assign(low=points["sensitivity"] - 0.1, high=points["sensitivity"] + 0.1)
    assert legend_of(draw(figures.froc(points)).axes[0]) == ["mean 0.50", "95 %, by scan"]
    scores = pd.DataFrame({"diameter_mm": [5.0, 9.0], "dice": [0.0, 0.7], "hit": [False, True]})
    assert legend_of(draw(figures.size_response(scores)).axes[0]) == ["hit (1)", "missed (1)"]


def test_empty_tables_are_drawn():
    draw(figures.roc({}))
    draw(figures.calibration({}))
    draw(figures.froc(froc_points([])))
    draw(figures.model_comparison(pd.DataFrame({"log_loss": [], "prior_log_loss": []})))
    draw(figures.training_curves(pd.DataFrame({"epoch": []})))


def test_missing_column_is_named():
    with pytest.raises(ValueError, match="'sensitivity'"):
        figures.froc(pd.DataFrame({"false_positives_per_scan": [1.0]}))
