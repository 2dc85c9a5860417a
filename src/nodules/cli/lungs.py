"""The command `nodules lungs`: segments the lungs of one scan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nodules import params
from nodules.cli import defaults
from nodules.cli.messages import errors_as_messages, warn
from nodules.cli.options import PARAMS, PATH, SCAN, SERIES

if TYPE_CHECKING:
    from nodules.imaging.lungs.segment import LungSegmentation
    from nodules.scans.result import Reading, Verdict


@click.command()
@SCAN
@click.option("-o", "--output", type=PATH, required=True, help="Label map: .nii.gz, .mha or .nrrd.")
@click.option("--picture", type=PATH, help="PNG of the lung contours.")
@SERIES
@PARAMS
def lungs(scan: Path, output: Path, picture: Path | None, series_uid: str | None, params_file: Path | None) -> None:
    """Segment the lungs of SCAN: 1 right lung, 2 left lung, on the scan's own grid."""
    from nodules.imaging.lungs.segment import lung_measures
    from nodules.pictures.overlay import lung_contours, save_figure
    from nodules.scans.volume_files.writer import write_volume

    with errors_as_messages():
        read, found, verdict = read_with_lungs(scan, series_uid, params_file)
        output.parent.mkdir(parents=True, exist_ok=True)
        write_volume(read.volume.with_voxels(found.labels_zyx), output)
    if picture:
        save_figure(lung_contours(read.volume, found.labels_zyx), picture)
    warn(verdict)
    measured = lung_measures(read.volume, found.labels_zyx)
    click.echo(
        f"right {measured['volume_right_l']:.2f} l, left {measured['volume_left_l']:.2f} l, "
        f"below -950 HU {measured['emphysema_share']:.1%}: {output}"
    )


def read_with_lungs(
    scan: Path, series_uid: str | None, params_file: Path | None
) -> tuple[Reading, LungSegmentation, Verdict]:
    """Read a scan and segment its lungs, with a verdict on both, for this command and `nodules check`.

    Raises
    ------
    ScanError
        If the scan cannot be read.
    ParamsError
        If the parameter file is missing or wrong.
    """
    from nodules.imaging.lungs.segment import LungMaskParams, find_lungs
    from nodules.scans.read import read_scan
    from nodules.scans.result import ReadingParams, verdict_of

    file = defaults.parameter_file(params_file)
    reading = params.load("reading", ReadingParams, file)
    lung_mask = params.load("lung_mask", LungMaskParams, file)
    read = read_scan(scan, reading, series_uid)
    found = find_lungs(read.volume, lung_mask)
    return read, found, verdict_of(read, reading, found.quality.findings)
