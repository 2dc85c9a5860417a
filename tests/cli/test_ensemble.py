"""`nodules ensemble` on small segmenters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nodules.imaging.network_input.lung_roi import LungRoiParams
from nodules.imaging.network_input.slice_context import ContextParams
from nodules.models.unet import network as unet
from nodules.models.unet.segmenter import Segmenter, SegmenterParams, SegmenterSettings
from support.command_line import nodules


@pytest.fixture
def folds(tmp_path) -> list[Path]:
    """Two segmenters that differ in their weights, and one that sees fewer slices."""
    saved = []
    for name, slices in (("a", 3), ("b", 3), ("c", 1)):
        settings = SegmenterSettings(
            network=unet.UNetParams(filters=1, depth=1, stem_stride=1, normalisation="none", residual=False),
            lung_roi=LungRoiParams(spacing_mm=1.0, margin_mm=4.0, masked_input=True, window_hu=(-1000.0, 400.0)),
            context=ContextParams(slices=slices, distance_mm=2.0),
            segmenter=SegmenterParams(flips=1, precision="float32"),
        )
        Segmenter([unet.build(settings.network, slices)], settings).save(tmp_path / name)
        saved.append(tmp_path / name)
    return saved


def test_ensemble_joins_folders(folds, tmp_path):
    result = nodules("ensemble", *folds[:2], "-o", tmp_path / "new" / "both", "--flips", "2")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("2 networks")
    joined = Segmenter.load(tmp_path / "new" / "both")
    assert joined.settings.segmenter.flips == 2
    for network, folder in zip(joined.networks, folds, strict=False):
        for ours, theirs in zip(network.get_weights(), Segmenter.load(folder).networks[0].get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_ensemble_refuses_what_does_not_fit(folds, tmp_path):
    (tmp_path / "empty").mkdir()
    for words, message in (
        ((folds[0], folds[2], "-o", tmp_path / "out"), "c: context is"),
        ((folds[0], tmp_path / "empty", "-o", tmp_path / "out"), "empty: expected the folder of a segmenter"),
        ((folds[0], folds[1], "-o", folds[2]), "c holds files"),
    ):
        result = nodules("ensemble", *words)
        assert result.exit_code == 1
        assert message in result.stderr
        assert not (tmp_path / "out").exists()
