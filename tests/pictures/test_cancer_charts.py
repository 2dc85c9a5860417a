"""Charts of the classifiers hold the lines they promise, and can be drawn from empty tables."""

import pandas as pd
import pytest

from nodules.evaluation.cancer import calibration_table, confusion_table, precision_recall_table, roc_table
from nodules.pictures import cancer_charts as figures

LABELS, PROBABILITIES = [1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1]


def draw(figure):
    figure.draw_without_rendering()
    return figure.axes[0] if figure.axes else None


def legend_of(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_roc_names_the_area():
    axes = draw(figures.roc({"forest": roc_table(LABELS, PROBABILITIES), "one class": roc_table([1], [0.5])}))
    assert legend_of(axes) == ["forest (AUC 0.75)", "chance (AUC 0.50)"]


def test_precision_recall_names_the_average():
    """Precision 1 up to a recall of 0.5, then 2/3: on average 5/6."""
    curves = {"forest": precision_recall_table(LABELS, PROBABILITIES), "no cancer": precision_recall_table([0], [0.5])}
    assert legend_of(draw(figures.precision_recall(curves, 0.5))) == ["forest (average 0.83)", "chance (0.50)"]


def test_calibration_has_a_panel_with_bars_per_model():
    table = calibration_table(LABELS, PROBABILITIES)
    figure = figures.calibration({"forest": table, "boosted": table})
    draw(figure)
    assert [axes.get_title() for axes in figure.axes] == ["Calibration: forest", "Calibration: boosted"]
    assert all(len(axes.containers) == 1 for axes in figure.axes)


def test_confusion_counts_patients_even_of_a_class_that_nobody_was_called():
    axes = draw(figures.confusion(confusion_table(LABELS, [0.1] * 4), "nobody called"))
    assert [text.get_text() for text in axes.texts] == ["2", "0", "2", "0"]
    assert axes.get_xlabel() == "predicted"


def test_importance_shows_the_strongest_on_top():
    table = pd.DataFrame(
        {"feature": ["a", "b", "c"], "log_loss_increase": [0.01, 0.2, -0.01], "standard_deviation": [0.0, 0.1, 0.0]}
    )
    axes = draw(figures.importance(table, shown=2))
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", "b"]


def test_model_comparison_puts_the_best_on_top_with_its_figures():
    table = pd.DataFrame({"log_loss": [0.4, 28.0], "prior_log_loss": [0.48] * 2, "auc": [0.8, None]}, ["good", "bad"])
    axes = draw(figures.model_comparison(table))
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["bad", "good"]
    assert [text.get_text() for text in axes.texts] == ["28.000", "0.400  (AUC 0.80)"]


def test_empty_tables_are_drawn():
    draw(figures.roc({}))
    draw(figures.precision_recall({}, 0.2))
    draw(figures.calibration({}))
    draw(figures.model_comparison(pd.DataFrame({"log_loss": [], "prior_log_loss": []})))
    draw(figures.importance(pd.DataFrame({"feature": [], "log_loss_increase": [], "standard_deviation": []})))


def test_missing_column_is_named():
    with pytest.raises(ValueError, match="'share_low'"):
        figures.calibration({"m": calibration_table(LABELS, PROBABILITIES).drop(columns="share_low")})
