"""Check that a data set lies where params.yaml points, and report what is unusual about it."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

from nodules import params
from nodules.scans.result import ScanError
from nodules.scans.tables.surveys import DatasetSurvey, survey_dsb, survey_luna
from nodules.stages.shared import command
from nodules.stages.shared.settings import DatasetParams, Layout

logger = logging.getLogger(__name__)


def main(*, layout: Layout, output: Path) -> None:
    """Survey a data set and write the findings as JSON; if it cannot be used, stop and say why."""
    dataset = params.load("dataset", DatasetParams)
    output.parent.mkdir(parents=True, exist_ok=True)
    if layout in dataset.phantoms:
        _write({"layout": layout, "made_by": "the stage phantoms"}, output)
        return
    key = "luna_root" if layout == "luna16" else "dsb_root"
    root = Path(getattr(dataset, key))
    try:
        findings = survey_luna(root, dataset.subsets) if layout == "luna16" else survey_dsb(root)
    except ScanError as error:
        sys.exit(f"{error}\nThe folder is set as dataset.{key} in params.yaml (and conf/dataset/).")
    _say(findings, root)
    counts = {"notes": list(findings.notes), "warnings": list(findings.warnings), **findings.counts}
    _write({"layout": layout, **counts}, output)


def _say(findings: DatasetSurvey, root: Path) -> None:
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in findings.counts.items())
    sys.stdout.write("".join(f"{root}: {text}\n" for text in (counts, *findings.notes)))
    for warning in findings.warnings:
        logger.warning("%s: %s", root, warning)


def _write(found: dict[str, object], output: Path) -> None:
    output.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    command.run(main)
