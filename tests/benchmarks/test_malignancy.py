"""Changed settings, and the row of a table."""

import pytest

from malignancy import changed, row
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
    centred = {"all_sizes": whole | {"log_loss": 0.4}, "under_6mm": {"auc": 0.7}, "from_10mm": {"auc": 0.8}}
    found = row("networks=1", {"centred": centred, "off_centre": {"all_sizes": {"auc": 0.88, "ece": 0.05}}}, 3.4)
    assert found == (
        "| networks=1 | 0.900 (0.850-0.950) | 0.040 (0.030-0.070) | 0.400 | 0.880, 0.050 | 0.700, 0.800 | 3 |"
    )
