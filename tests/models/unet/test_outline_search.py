"""The settings of the segmentation that are tried lie within their ranges."""

from __future__ import annotations

from nodules.models.unet.outline_search import SegmentationSearch, suggest_segmentation
from support.bowls import study_of


def test_keeps_to_its_ranges() -> None:
    ranges = SegmentationSearch(
        trials=5, allowed_false_positives=1.0, threshold=(0.3, 0.4), dilation_mm=(0.0, 0.0), min_probability=(0.6, 0.7)
    )
    drawn = []
    study_of(lambda trial: drawn.append(suggest_segmentation(trial, ranges)) or 0.0, trials=5, first_trials=[])
    assert all(0.3 <= one["threshold"] <= 0.4 and one["dilation_mm"] == 0 for one in drawn)
    assert all(0.6 <= one["min_probability"] <= 0.7 for one in drawn)
