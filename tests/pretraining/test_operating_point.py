"""The operating point of hand-made candidates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nodules.models.false_positive_reduction.score_fusion import IDENTITY
from nodules.pretraining.operating_point import (
    Limits,
    OperatingPointParams,
    best_threshold,
    cross_fitted,
    froc,
    kept_by_probability,
    nodule_table,
    probability_limits,
    scan_figures,
)

PARAMS = OperatingPointParams(
    thresholds=(0.3, 0.5),
    dilation_mm=0.0,
    nodules_per_scan=2.0,
    others_per_scan=8.0,
    allowed_others_per_scan=1.0,
    allowed_others_per_cube=0.5,
)


def candidates(*rows) -> pd.DataFrame:
    """Rows of series, kind, nodule and probability; a series is named after its source."""
    table = pd.DataFrame(rows, columns=["series", "kind", "nodule", "probability"])
    return table.assign(source=table["series"].str.split("-").str[0], image="i")


def nodules(*rows) -> pd.DataFrame:
    """Rows of series, nodule, readers and probability."""
    table = pd.DataFrame(rows, columns=["series", "nodule", "readers", "probability"])
    return table.assign(
        source=table["series"].str.split("-").str[0],
        image="i",
        proposed=table["probability"].notna(),
        is_luna16=True,
        diameter_mm=6.0,
    )


FOUND = candidates(
    ("scans-1", "nodule", 1, 0.9),
    ("scans-1", "other", 0, 0.5),
    ("scans-1", "other", 0, 0.2),
    ("scans-1", "unclear", 0, 0.8),
    ("scans-2", "other", 0, 0.3),
    ("cubes-1", "nodule", 1, 0.7),
    ("cubes-1", "other", 0, 0.6),
    ("cubes-2", "nodule", 1, 0.95),
    ("cubes-2", "other", 0, 0.1),
)
DRAWN = nodules(("scans-1", 1, 4, 0.9), ("scans-1", 2, 3, np.nan), ("cubes-1", 1, 2, 0.7), ("cubes-2", 1, 2, 0.95))


def test_lowest_probabilities_with_few_enough_others():
    limits = probability_limits(FOUND, 2, PARAMS)
    # a scan may have one other finding, so its second, 0.2, is out; of two cubes one may, so 0.1 is out
    assert (limits.scans, limits.cubes) == pytest.approx((0.2, 0.1))
    assert limits.scans > 0.2
    assert limits.cubes > 0.1
    assert limits.min_probability == limits.scans
    stricter = probability_limits(FOUND, 2, replace(PARAMS, allowed_others_per_cube=0.0))
    assert stricter.min_probability == stricter.cubes > 0.6


def test_limits_without_others():
    assert probability_limits(FOUND.iloc[:0], 2, PARAMS) == Limits(0.0, 0.0)
    assert probability_limits(FOUND, 100, PARAMS).cubes == 0.0


def test_what_each_probability_keeps():
    kept = kept_by_probability(FOUND, DRAWN)
    assert kept["0.5"] == {
        "cube_nodules": 1.0,
        "luna16_nodules": 1.0,
        "scan_nodules": 0.5,
        "others_per_cube": 0.5,
        "others_in_scans": 1,
    }
    assert kept["0"]["scan_nodules"] == 0.5, "one of the two was never proposed"
    assert "scan_nodules" not in kept_by_probability(FOUND, DRAWN[DRAWN["source"] == "cubes"])["0"]


def test_nodules_have_the_probability_of_their_best_candidate():
    twice = candidates(
        ("a", "nodule", 1, 0.4), ("a", "nodule", 1, 0.6), ("b", "nodule", 1, 0.7), ("a", "other", 0, 0.9)
    )
    table = nodules(("a", 1, 4, 0), ("a", 2, 4, 0), ("b", 1, 4, 0)).drop(columns="probability")
    found = nodule_table(table, twice)["probability"].tolist()
    assert found == pytest.approx([0.6, np.nan, 0.7], nan_ok=True)


def test_ranks_and_other_findings_of_scans():
    found = scan_figures(["scans-1", "scans-2", "scans-3"], FOUND, DRAWN, 0.4)
    assert {name: (one["candidates"], one["others"], one["unclear"]) for name, one in found.items()} == {
        "scans-1": (4, 1, 1),
        "scans-2": (1, 0, 0),
        "scans-3": (0, 0, 0),
    }
    first, second = found["scans-1"]["nodules"].values()
    assert (first["rank"], first["others_before"], first["kept"]) == (1, 0, True)
    assert (second["rank"], second["probability"], second["kept"]) == (None, None, False)
    assert scan_figures(["scans-1"], FOUND, DRAWN, 0.95)["scans-1"]["nodules"]["1"]["kept"] is False
    below = FOUND.replace({"probability": {0.9: 0.3}})
    lower = scan_figures(["scans-1"], below, DRAWN.replace({"probability": {0.9: 0.3}}), 0.4)["scans-1"]["nodules"]["1"]
    assert (lower["rank"], lower["others_before"]) == (3, 1)


def test_froc_counts_scans_without_nodules():
    found = froc(["scans-1", "scans-2"], FOUND, DRAWN)
    assert found["0.125"] == pytest.approx(0.5)  # one of two nodules, before any other finding
    assert found["mean"] == pytest.approx(0.5)
    assert froc(["scans-2"], FOUND, DRAWN.iloc[:0]) == {}


def scored(count: int = 200) -> pd.DataFrame:
    """Candidates of two folds with log-odds that tell nodules apart, more of them from cubes."""
    random = np.random.default_rng(4)
    is_nodule = random.random(count) < 0.5
    return pd.DataFrame(
        {
            "fold": np.where(np.arange(count) % 2, "0", "1"),
            "source": np.where(random.random(count) < 0.2, "scans", "cubes"),
            "kind": np.where(is_nodule, "nodule", "other"),
            "log_odds": random.normal(np.where(is_nodule, 2.0, -2.0), 1.5),
            "mean_probability": 0.5,
            "max_probability": 0.8,
            "diameter_mm": 6.0,
        }
    )


def test_probabilities_are_those_of_a_whole_scan():
    table = scored()
    fusion, probability = cross_fitted(table, PARAMS)
    assert fusion.weights[0] > 0
    others = table["kind"] == "other"
    by_group = [
        probability[others & (table["source"] == "scans")].mean(),
        probability[others & (table["source"] == "cubes")].mean(),
        probability[~others].mean(),
    ]
    expected = 0.2 * by_group[2] + 0.8 * np.mean(by_group[:2])
    assert expected == pytest.approx(0.2, abs=0.03), "two nodules among ten candidates"


def test_probability_of_a_fold_does_not_depend_on_its_labels():
    table = scored()
    turned = table.assign(kind=np.where(table["fold"] == "0", "other", table["kind"]))
    held_out = (table["fold"] == "0").to_numpy()
    np.testing.assert_allclose(cross_fitted(table, PARAMS)[1][held_out], cross_fitted(turned, PARAMS)[1][held_out])


def test_unclear_candidates_have_a_probability_and_teach_nothing():
    table = scored()
    more = pd.concat([table, table.assign(kind="unclear", log_odds=-table["log_odds"])], ignore_index=True)
    fusion, probability = cross_fitted(more, PARAMS)
    assert fusion == cross_fitted(table, PARAMS)[0]
    assert len(probability) == len(more)


def test_one_fold_has_nothing_to_be_fitted_to():
    table = scored().assign(fold="0", log_odds=0.0)
    assert (cross_fitted(table, PARAMS)[1] == 0.5).all()
    assert cross_fitted(table.assign(kind="other"), PARAMS)[0] == IDENTITY


def test_best_threshold_by_mean_dice():
    scores = {0.3: pd.DataFrame({"dice": [0.9, 0.5]}), 0.5: pd.DataFrame({"dice": [0.7, 0.8]})}
    assert best_threshold(scores) == 0.5


def test_params_without_thresholds():
    with pytest.raises(ValueError, match="at least one"):
        replace(PARAMS, thresholds=())
