"""Changed settings, and the row of a table."""

import pytest

from malignancy import changed, row
from nodules.models.malignancy.cross_fitting import PROBABILITIES
from support.rated_cubes import PARAMS


def test_one_setting_is_changed_at_any_depth():
    assert changed(PARAMS, ["networks"], 5).networks == 5
    deep = changed(PARAMS, ["cube", "window_hu"], [-900.0, 200.0])
    assert deep.cube.window_hu == (-900.0, 200.0)
    assert deep.cube.size_px == PARAMS.cube.size_px
    assert deep.network == PARAMS.network


def test_unknown_setting_is_refused():
    with pytest.raises((TypeError, AttributeError)):
        changed(PARAMS, ["cube", "sise_px"], 8)


def test_row_names_what_was_changed_and_its_figures():
    whole = {"auc": 0.9, "auc_low": 0.85, "auc_high": 0.95, "ece": 0.04, "ece_low": 0.03, "ece_high": 0.07}
    figures = {name: {"all_sizes": whole} for name in PROBABILITIES}
    figures["off_centre"] = {"all_sizes": {"auc": 0.88}}
    cells = "0.900 (0.850-0.950) | 0.040 (0.030-0.070)"
    assert row("networks=1", figures, 3.4) == f"| networks=1 | {cells} | {cells} | 0.880, 0.900 | 3 |"
