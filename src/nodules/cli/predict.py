"""The command `nodules predict`: diagnoses one scan."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from nodules.cli import defaults
from nodules.cli.messages import warn
from nodules.cli.options import MODEL_METAVAR, MODEL_RULE, PATH, SCAN, SERIES
from nodules.models.chain import ChainError, check_chain


@click.command()
@SCAN
@click.option("-o", "--output", type=PATH, required=True, help="Folder for the results.")
@click.option(
    "--model", metavar=MODEL_METAVAR, help=f"FOLDER holds a packaged model or a diagnosis chain. {MODEL_RULE}"
)
@SERIES
@click.option("--json", "as_json", is_flag=True, help="Print the report, and nothing else.")
def predict(scan: Path, output: Path, model: str | None, series_uid: str | None, as_json: bool) -> None:
    """Write report.json, nodules.csv, nodules.nii.gz, lungs.nii.gz and overlay.png for SCAN.

    The report holds the probability of cancer if the model has a classifier, and the suspicion and each nodule's
    malignancy if it has a network for them. These two are what radiologists would think, not what pathology would find.
    """
    chain = defaults.chain_folder(model, says_what_is_missing=True)
    try:
        check_chain(chain)
    except ChainError as error:
        raise click.ClickException(str(error)) from error

    from nodules.models.diagnosis import Diagnoser
    from nodules.scans.read import read_scan
    from nodules.scans.result import ScanError
    from nodules.serving.report import diagnosis_report, refusal_report, write_report

    diagnoser = Diagnoser.load(chain)
    try:
        read = read_scan(scan, diagnoser.reading, series_uid)
    except ScanError as error:
        if as_json:
            click.echo(json.dumps(refusal_report(error)))
        raise click.ClickException(str(error)) from error
    diagnosis = diagnoser.diagnose(read)
    write_report(diagnosis, read.volume, output)
    report = diagnosis_report(diagnosis)
    if as_json:
        click.echo(json.dumps(report))
        return
    warn(diagnosis.verdict)
    click.echo(f"{_summary(report)}: {output}")


def _summary(report: Mapping[str, Any]) -> str:
    parts = [
        "" if report["probability"] is None else f"probability of cancer {report['probability']:.3f}",
        "" if report["suspicion"] is None else f"suspicion {report['suspicion']:.2f}",
        f"{len(report['nodules'])} nodule{'' if len(report['nodules']) == 1 else 's'}",
    ]
    return ", ".join(filter(None, parts))
