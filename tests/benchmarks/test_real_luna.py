"""The tables of hand-made excerpts against discs and against readers' outlines, and folders that cannot be used."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import real_luna
from nodules.imaging.geometry.volume import Volume
from nodules.pretraining.excerpts import Excerpt
from nodules.scans.tables.luna import NoduleAnnotation
from nodules.scans.volume_files.writer import write_volume

GRID = Volume(np.full((3, 40, 40), -850, np.int16), (2.5, 1.0, 1.0))
OUTLINE = np.s_[18:23, 19:22]  # 15 pixels, all in the disc of 8 mm around (20, 20)
MARKED, NOWHERE = np.s_[5:10, 5:10], np.s_[30:35, 30:35]  # larger than the least area of any operating point


def excerpt(uid: str, *, outlined: bool) -> Excerpt:
    """One nodule of 8 mm at the centre; at one corner, one reader outlined something."""
    counts = np.zeros(GRID.shape_zyx, np.uint8)
    counts[1][OUTLINE], counts[1][MARKED] = 3, 1
    return Excerpt(
        seriesuid=uid,
        number=0,
        scan=GRID,
        lungs=GRID.with_voxels(np.ones(GRID.shape_zyx, np.uint8)),
        middle=1,
        nodules=[NoduleAnnotation(uid, (20.0, 20.0, 2.5), 8.0)],
        readers_zyx=counts if outlined else None,
    )


def tables(out: Path, capsys, *, outlined: bool) -> tuple[pd.DataFrame, str]:
    """Rows against the discs, and what is printed, for an answer that is the outline and two false positives."""
    out.mkdir()
    jobs = [real_luna.Job(real_luna.GIVEN, fold, 0, Path("data"), out) for fold in range(real_luna.FOLDS)]
    probability = np.zeros(GRID.shape_zyx[1:], np.float32)
    for part in (OUTLINE, MARKED, NOWHERE):
        probability[part] = 0.95
    shown = [[excerpt(f"1.{fold}", outlined=outlined)] for fold in range(real_luna.FOLDS)]
    for job, (one,) in zip(jobs, shown, strict=True):
        job.write({one.name: probability})
    real_luna.report(real_luna.GIVEN, jobs, shown, 5.0, out, hits_first=False)
    return pd.read_csv(out / "given.csv"), capsys.readouterr().out


def test_with_discs_alone(tmp_path, capsys):
    rows, printed = tables(tmp_path / "out", capsys, outlined=False)
    assert (rows["false_positives"] == 2).all()
    disc = np.count_nonzero(excerpt("1", outlined=False).truth_yx())
    assert rows["nodule_dice"].to_numpy() == pytest.approx(2 * 15 / (15 + disc))
    assert "outlines" not in printed
    assert printed.count("| all | 5 |") == 1
    assert not (tmp_path / "out" / "given_readers.csv").exists()


def test_with_readers_outlines(tmp_path, capsys):
    """The discs' table stays, but what a reader marked is no false positive; then the outlines' table follows."""
    discs = tables(tmp_path / "discs", capsys, outlined=False)[0]
    rows, printed = tables(tmp_path / "readers", capsys, outlined=True)
    pd.testing.assert_series_equal(rows["nodule_dice"], discs["nodule_dice"])
    assert (rows["false_positives"] == 1).all()
    outlined = pd.read_csv(tmp_path / "readers" / "given_readers.csv")
    assert (outlined["nodule_dice"] == 1).all()
    assert (outlined["false_positives"] == 1).all()
    assert outlined["dice"].to_numpy() == pytest.approx(2 * 15 / (15 + 15 + 2 * 25))
    assert outlined["seriesuid"].tolist() == rows["seriesuid"].tolist()
    assert "given, readers' outlines" in printed
    assert "mean Dice of a nodule, 0 if missed: 1.000, 1.00-1.00" in printed
    assert printed.count("| all | 5 |") == 2


def write_data(root: Path, count: int) -> Path:
    (root / "subset9").mkdir(parents=True)
    lines = ["seriesuid,coordX,coordY,coordZ,diameter_mm"]
    for number in range(count):
        write_volume(GRID, root / "subset9" / f"1.{number}.mhd")
        lines.append(f"1.{number},20,20,2.5,8")
    (root / "annotations.csv").write_text("\n".join(lines))
    return root


@pytest.mark.parametrize(
    ("count", "readers", "message"),
    [
        (0, False, "no subset*/*.mhd is among the series"),
        (4, False, "5 folds need at least as many annotated series, found 4"),
        (5, True, "subset9/1.0.nii.gz: no such file; 5 of 5 series"),
    ],
)
def test_folder_without_enough_files_is_refused(tmp_path, monkeypatch, capsys, count, readers, message):
    data = write_data(tmp_path / "data", count)
    words = ["--data", data, "--out", tmp_path / "out", "--segmenter", tmp_path]
    words += ["--readers", tmp_path / "readers"] if readers else []
    monkeypatch.setattr(sys, "argv", ["real_luna.py", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        real_luna.main()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
