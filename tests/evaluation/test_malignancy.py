"""Figures of rated nodules, together and by size."""

import numpy as np
import pandas as pd
import pytest

from nodules.evaluation.cancer import classification_metrics
from nodules.evaluation.malignancy import summary

COLUMNS = ["probability", "other"]


def rated(count: int = 60) -> pd.DataFrame:
    random = np.random.default_rng(5)
    malignant = random.integers(2, size=count).astype(float)
    return pd.DataFrame(
        {
            "patient": [f"p{number // 2}" for number in range(count)],
            "diameter_mm": np.repeat([4.0, 6.0, 9.9, 10.0], count // 4),
            "malignant": malignant,
            "probability": np.clip(malignant * 0.4 + random.random(count) * 0.6, 0, 1),
            "other": 0.5,
        }
    )


def test_figures_of_all_nodules_are_the_plain_metrics():
    rows = rated()
    found = summary(rows, COLUMNS)["probability"]["all_sizes"]
    plain = classification_metrics(rows["malignant"].astype(int), rows["probability"])
    for name in ("auc", "ece", "brier", "log_loss"):
        assert found[name] == pytest.approx(plain[name])
        assert found[f"{name}_low"] < found[name] < found[f"{name}_high"] or name == "ece"
    assert (found["nodules"], found["patients"], found["malignant"]) == (60, 30, rows["malignant"].sum())


def test_sizes_are_divided_as_everywhere():
    sizes = {name: figures["nodules"] for name, figures in summary(rated(), COLUMNS)["probability"].items()}
    assert sizes == {"all_sizes": 60, "under_6mm": 15, "6_to_10mm": 30, "from_10mm": 15}


def test_each_column_has_figures_of_its_own():
    found = summary(rated(), COLUMNS)
    assert found["other"]["all_sizes"]["auc"] == 0.5
    assert found["probability"]["all_sizes"]["auc"] > 0.7


def test_diameter_alone_is_the_reference():
    rows = rated().assign(diameter_mm=lambda rows: np.where(rows["malignant"] == 1, 12.0, 8.0))
    found = summary(rows, COLUMNS)["probability"]
    assert found["all_sizes"]["diameter_auc"] == 1
    assert "diameter_auc" not in found["from_10mm"], "all of one label"
    assert "auc" not in found["from_10mm"]


def test_nodules_in_the_middle_do_not_count():
    rows = rated()
    more = pd.concat([rows, rows.assign(malignant=np.nan, probability=0.99)], ignore_index=True)
    assert summary(more, COLUMNS)["probability"] == summary(rows, COLUMNS)["probability"]


def test_nothing_that_counts_is_refused():
    with pytest.raises(ValueError, match="at least one nodule"):
        summary(rated().assign(malignant=np.nan), COLUMNS)


def test_probability_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        summary(rated().assign(probability=1.2), COLUMNS)
