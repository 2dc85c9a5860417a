"""Runs the command `nodules` in this process."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from nodules.cli.main import main


def nodules(*words: str | Path) -> Result:
    """Run `nodules` with these arguments; an exception that reaches the user fails the test."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert "Traceback" not in result.output
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def predict(scan: Path, output: Path, model: Path) -> dict:
    """Run `nodules predict` and return its report."""
    result = nodules("predict", scan, "-o", output, "--model", model)
    assert result.exit_code == 0, result.output
    return json.loads((output / "report.json").read_text())
