"""The command `nodules predict`: runs the packaged model on one scan."""

from __future__ import annotations

import json
from pathlib import Path

import click

from nodules.cli import defaults
from nodules.cli.messages import warn
from nodules.cli.options import PATH, SCAN, SERIES


@click.command()
@SCAN
@click.option("-o", "--output", type=PATH, required=True, help="Folder for the results.")
@click.option(
    "--model", type=PATH, help="Packaged model; default models/diagnosis in this folder, else the checkout's."
)
@SERIES
@click.option("--json", "as_json", is_flag=True, help="Print the report, and nothing else.")
def predict(scan: Path, output: Path, model: Path | None, series_uid: str | None, as_json: bool) -> None:
    """Write report.json, nodules.csv, nodules.nii.gz, lungs.nii.gz and overlay.png for SCAN."""
    chain = defaults.diagnosis_folder(model)

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
    click.echo(f"probability of cancer {report['probability']:.3f}, {len(report['nodules'])} nodules: {output}")
