"""Metrics against values worked out by hand and against the tutorial's published ones."""

import math

import numpy as np
import pandas as pd
import pytest

from nodules.evaluation.cancer import (
    calibration_table,
    classification_metrics,
    classification_report_text,
    confusion_table,
    expected_calibration_error,
    precision_recall_table,
    roc_table,
)

# The tutorial's 570 patients, 107 of them with cancer.
TUTORIAL = np.repeat([1, 0], [107, 463])
LABELS = np.array([1, 1, 0, 0, 0])
PROBABILITIES = np.array([0.9, 0.4, 0.6, 0.2, 0.1])


class TestMetrics:
    def test_prior_of_the_tutorials_patients(self):
        share = 107 / 570
        by_hand = -(share * math.log(share) + (1 - share) * math.log(1 - share))
        figures = classification_metrics(TUTORIAL, np.full(570, share))
        assert figures["log_loss"] == pytest.approx(by_hand) == pytest.approx(0.4829, abs=5e-5)
        assert figures["skill"] == pytest.approx(0, abs=1e-12)

    @pytest.mark.parametrize(("probability", "published"), [(0.0, 6.48), (1.0, 28.06)])
    def test_certain_models_reach_the_tutorials_published_log_loss(self, probability, published):
        figures = classification_metrics(TUTORIAL, np.full(570, probability))
        assert figures["log_loss"] == pytest.approx(published, abs=0.005)

    def test_by_hand(self):
        figures = classification_metrics(LABELS, PROBABILITIES)
        log_loss = -(math.log(0.9) + math.log(0.4) + math.log(0.4) + math.log(0.8) + math.log(0.9)) / 5
        prior = -(0.4 * math.log(0.4) + 0.6 * math.log(0.6))
        # One true positive, one false positive, one false negative; 5 of 6 pairs are ranked rightly.
        assert figures == pytest.approx(
            {
                "log_loss": log_loss,
                "prior_log_loss": prior,
                "skill": 1 - log_loss / prior,
                "auc": 5 / 6,
                "brier": (0.01 + 0.36 + 0.36 + 0.04 + 0.01) / 5,
                "ece": (0.1 + 0.6 + 0.6 + 0.2 + 0.1) / 5,  # each alone in its bin
                "f1": 0.5,
                "precision": 0.5,
                "recall": 0.5,
                "positives": 2,
                "patients": 5,
            }
        )

    def test_probability_at_the_threshold_counts_as_cancer(self):
        assert classification_metrics([1, 0], [0.5, 0.4])["recall"] == 1.0
        assert classification_metrics([1, 0], [0.6, 0.5])["precision"] == 0.5

    def test_one_class_leaves_out_what_is_undefined(self):
        figures = classification_metrics([0, 0], [0.1, 0.2])
        assert {"auc", "skill"}.isdisjoint(figures)
        assert all(math.isfinite(value) for value in figures.values())

    def test_series_are_brought_together_by_patient(self):
        labels, probabilities = pd.Series(LABELS, list("abcde")), pd.Series(PROBABILITIES, list("abcde"))
        assert classification_metrics(labels, probabilities[::-1]) == classification_metrics(LABELS, PROBABILITIES)

    def test_refuses_other_patients_labels_and_probabilities(self):
        with pytest.raises(ValueError, match=r"\['z'\] in only one"):
            classification_metrics(pd.Series([1, 0], ["a", "b"]), pd.Series([0.1, 0.2, 0.3], ["a", "b", "z"]))
        with pytest.raises(ValueError, match="once"):
            classification_metrics(pd.Series([1, 0], ["a", "a"]), pd.Series([0.1, 0.2], ["a", "b"]))
        with pytest.raises(ValueError, match="0 or 1, got"):
            classification_metrics([0, 2], [0.1, 0.2])
        for wrong in (1.1, -0.1, np.nan):
            with pytest.raises(ValueError, match="between 0 and 1"):
                classification_metrics([0, 1], [0.1, wrong])
        with pytest.raises(ValueError, match="equal length"):
            classification_metrics([], [])


def test_report_has_the_tutorials_rows():
    text = classification_report_text(TUTORIAL, np.zeros(570))
    no_cancer = next(line for line in text.splitlines() if "No Cancer" in line)
    assert no_cancer.split() == ["No", "Cancer", "0.81", "1.00", "0.90", "463"]


def test_report_of_one_class_still_has_both_rows():
    assert "No Cancer" in classification_report_text([1, 1], [0.9, 0.8])


class TestTables:
    def test_roc_by_hand(self):
        table = roc_table([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])
        assert table["false_positive_rate"].tolist() == [0, 0, 0.5, 0.5, 1]
        assert table["true_positive_rate"].tolist() == [0, 0.5, 0.5, 1, 1]
        assert np.isfinite(table["threshold"]).all()

    def test_roc_of_one_class_is_empty(self):
        assert roc_table([1, 1], [0.2, 0.3]).empty

    def test_precision_recall_by_hand(self):
        table = precision_recall_table([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])
        assert table["threshold"].tolist() == [0.9, 0.8, 0.7, 0.1]
        assert table["recall"].tolist() == [0.5, 0.5, 1, 1]
        assert table["precision"].tolist() == pytest.approx([1, 1 / 2, 2 / 3, 1 / 2])

    def test_precision_recall_without_cancer_is_empty(self):
        assert precision_recall_table([0, 0], [0.2, 0.3]).empty

    def test_calibration_interval_is_wilsons(self):
        """8 of 10: 0.490 to 0.943 by Wilson's formula; the same patients predicted twice know no more."""
        labels = [1] * 8 + [0] * 2
        once = calibration_table(labels, [0.75] * 10).iloc[0]
        twice = calibration_table(labels * 2, [0.75] * 20, rows_per_patient=2).iloc[0]
        assert (once["share_low"], once["share_high"]) == pytest.approx((0.490, 0.943), abs=5e-4)
        assert twice.to_dict() == pytest.approx(once.to_dict())

    def test_calibration_interval_stays_between_0_and_1(self):
        row = calibration_table([1, 1], [0.9, 0.9]).iloc[0]
        assert row["share_high"] == 1.0
        assert row["share_low"] > 0.3

    def test_calibration_by_hand(self):
        table = calibration_table([0, 1, 1, 1], [0.1, 0.2, 0.95, 1.0], bins=4)
        assert table["patients"].tolist() == [2, 2]
        assert table["low"].tolist() == [0.0, 0.75]
        assert table["mean_probability"].tolist() == pytest.approx([0.15, 0.975])
        assert table["share_positive"].tolist() == [0.5, 1.0]

    def test_calibration_puts_an_edge_into_the_upper_bin(self):
        assert calibration_table([1], [0.5], bins=2)["low"].tolist() == [0.5]

    def test_calibration_error_by_hand(self):
        error = expected_calibration_error([0, 1, 1, 1], [0.1, 0.2, 0.95, 1.0], bins=4)
        assert error == pytest.approx(0.5 * 0.35 + 0.5 * 0.025)

    def test_confusion_names_classes_by_patient(self):
        table = confusion_table(pd.Series([1, 0], ["p1", "p2"]), pd.Series([0.7, 0.2], ["p2", "p1"]))
        assert table.loc["p1"].tolist() == ["Cancer", "No Cancer"]
        assert table.loc["p2"].tolist() == ["No Cancer", "Cancer"]
