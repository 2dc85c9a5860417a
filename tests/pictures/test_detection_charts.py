"""Charts hold the lines they promise, and can be drawn from empty tables."""

import numpy as np
import pandas as pd
import pytest

from nodules.evaluation.detection import froc_points
from nodules.pictures import detection_charts as figures


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


def test_froc_has_a_mean_and_an_interval():
    points = pd.DataFrame({"false_positives_per_scan": [0.5, 1.0, np.nan], "sensitivity": [0.4, 0.6, 0.5]})
    assert legend_of(draw(figures.froc(points)).axes[0]) == ["mean 0.50"]
    points = points.assign(low=points["sensitivity"] - 0.1, high=points["sensitivity"] + 0.1)
    assert legend_of(draw(figures.froc(points)).axes[0]) == ["mean 0.50", "95 %, by scan"]


def test_empty_tables_are_drawn():
    draw(figures.froc(froc_points([])))
    draw(figures.training_curves(pd.DataFrame({"epoch": []})))


def test_missing_column_is_named():
    with pytest.raises(ValueError, match="'sensitivity'"):
        figures.froc(pd.DataFrame({"false_positives_per_scan": [1.0]}))
