"""The command `nodules check`: describes a scan and says whether it can be used."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nodules.cli.lungs import read_with_lungs
from nodules.cli.messages import errors_as_messages
from nodules.cli.options import PARAMS, SCAN, SERIES

if TYPE_CHECKING:
    from nodules.scans.result import Verdict


@click.command()
@SCAN
@SERIES
@PARAMS
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON, and nothing else.")
def check(scan: Path, series_uid: str | None, params_file: Path | None, as_json: bool) -> None:
    """Describe SCAN, list the repairs that reading it needs, and say whether it can be used.

    The exit status is 0 for the verdicts ok and usable, 1 for unusable.
    """
    from nodules.scans.result import ScanError, verdict_of_error

    with errors_as_messages():
        try:
            verdict = read_with_lungs(scan, series_uid, params_file)[2]
        except ScanError as error:
            verdict = verdict_of_error(error)
    click.echo(json.dumps(verdict.as_dict()) if as_json else "\n".join(_lines(verdict)))
    sys.exit(1 if verdict.status == "unusable" else 0)


def _lines(verdict: Verdict) -> Iterator[str]:
    """The verdict as text: one line per fact about the scan, then the verdict and its reasons."""
    for name, value in verdict.facts.items():
        if name not in ("repairs", "warnings") and value not in (None, {}):
            yield f"{name:>15}  {_as_text(value)}"
    yield f"{'verdict':>15}  {verdict.status}"
    yield from (f"{'':>15}  - {reason}" for reason in verdict.reasons)


def _as_text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {count}" for key, count in value.items())
    if isinstance(value, list):
        return ", ".join(f"{item:g}" for item in value)
    return str(value)
