"""Trials are kept as long as what they were judged by stays what it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodules.stages.shared.split_part import SplitPart
from support.tiny_project import TinyProject


def test_trials_are_judged_anew_once_findings_are_excluded(
    tiny_copy: TinyProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged, evaluate = [], SplitPart.evaluate

    def counted(part, *arguments):
        judged.append(part)
        return evaluate(part, *arguments)

    monkeypatch.setattr(SplitPart, "evaluate", counted)

    def trials() -> int:
        judged.clear()
        tiny_copy.run("tune_segmentation")
        return len(judged)

    trials()
    assert trials() == 0
    root = tiny_copy.path("data/phantoms/luna16")
    first = Path(root / "annotations.csv").read_text().splitlines()[:2]
    (root / "annotations_excluded.csv").write_text("\n".join(first) + "\n")
    assert trials() == 2
    assert trials() == 0
