"""The command `nodules`: the packaged chain on one scan, from the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import click

from nodules.scans.scan import read_scan
from nodules.scans.scan_error import ScanError
from nodules.scans.volume_files import write_volume

SCAN = click.argument("scan", type=click.Path(path_type=Path))
MODEL = Path("models/diagnosis")


@click.group()
def main() -> None:
    """Lung nodules and lung cancer risk from chest CT.

    SCAN is a DICOM folder or zip, .mhd, .mha, .nii, .nii.gz or .nrrd. Not a medical device.
    """


@main.command()
@SCAN
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Label map: .nii.gz, .mha or .nrrd."
)
@click.option("--picture", type=click.Path(path_type=Path), help="PNG of the contours.")
@click.option("--params", "params_file", type=click.Path(path_type=Path), default="params.yaml", show_default=True)
def lungs(scan: Path, output: Path, picture: Path | None, params_file: Path) -> None:
    """Segment the lungs of SCAN: 1 right lung, 2 left lung, on the scan's own grid."""
    from nodules import params
    from nodules.imaging.lung_mask import LungMaskParams, lung_measures, segment_lungs
    from nodules.imaging.overlay import lung_contours, save_figure

    try:
        settings = params.load("lung_mask", LungMaskParams, params_file)
        volume = read_scan(scan)
        labels = segment_lungs(volume, settings)
        output.parent.mkdir(parents=True, exist_ok=True)
        write_volume(volume.with_voxels(labels), output)
    except (ScanError, params.ParamsError) as error:
        raise click.ClickException(str(error)) from error
    if picture:
        save_figure(lung_contours(volume, labels), picture)
    measured = lung_measures(volume, labels)
    click.echo(
        f"right {measured['volume_right_l']:.2f} l, left {measured['volume_left_l']:.2f} l, "
        f"below -950 HU {measured['emphysema_share']:.1%}: {output}"
    )


@main.command()
@SCAN
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for the results.")
@click.option("--model", type=click.Path(path_type=Path), default=MODEL, show_default=True, help="Packaged model.")
@click.option("--json", "as_json", is_flag=True, help="Print the report, and nothing else.")
def predict(scan: Path, output: Path, model: Path, as_json: bool) -> None:
    """Write report.json, nodules.csv, nodules.nii.gz, lungs.nii.gz and overlay.png for SCAN."""
    from nodules.serving.packaging import chain_folder

    if not chain_folder(model).is_dir():
        raise click.ClickException(f"{model}: no packaged model; run `make repro` or name one with --model")
    try:
        volume = read_scan(scan)
    except ScanError as error:
        raise click.ClickException(str(error)) from error

    from nodules.models.diagnosis import Diagnoser
    from nodules.serving.report import report, write_report

    diagnosis = Diagnoser.load(chain_folder(model)).diagnose(volume)
    write_report(diagnosis, volume, output)
    answer = report(diagnosis)
    if as_json:
        click.echo(json.dumps(answer))
        return
    for warning in answer["warnings"]:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"probability of cancer {answer['probability']:.3f}, {len(answer['nodules'])} nodules: {output}")
