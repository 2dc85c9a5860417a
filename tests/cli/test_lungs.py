"""`nodules lungs`: the label map, its measures and its picture."""

from __future__ import annotations

import numpy as np

from nodules.scans.volume_files.reader import read_mask
from support.command_line import nodules


def test_lungs(tiny_pipeline, scans, volume, tmp_path):
    result = nodules(
        *("lungs", scans[".zip"], "-o", tmp_path / "new" / "lungs.nii.gz", "--picture", tmp_path / "lungs.png"),
        *("--params", tiny_pipeline.path("params.yaml")),
    )
    assert result.exit_code == 0, result.output
    labels = read_mask(tmp_path / "new" / "lungs.nii.gz")
    litres = [np.count_nonzero(labels.voxels_zyx == label) * labels.voxel_mm3 / 1e6 for label in (1, 2)]
    assert f"right {litres[0]:.2f} l, left {litres[1]:.2f} l" in result.stdout
    assert labels.shape_zyx == volume.shape_zyx
    assert (tmp_path / "lungs.png").read_bytes().startswith(b"\x89PNG")


def test_lungs_need_their_parameters(scans, tmp_path):
    result = nodules("lungs", scans[".mha"], "-o", tmp_path / "lungs.mha", "--params", tmp_path / "params.yaml")
    assert result.exit_code == 1
    assert "params.yaml: no such file" in result.stderr
