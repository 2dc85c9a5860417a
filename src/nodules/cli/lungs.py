"""The command `nodules lungs`: segments the lungs of one scan."""

from __future__ import annotations

from pathlib import Path

import click

from nodules.cli.messages import errors_as_messages, warn
from nodules.cli.options import PARAMS, PATH, SCAN, SERIES


@click.command()
@SCAN
@click.option("-o", "--output", type=PATH, required=True, help="Label map: .nii.gz, .mha or .nrrd.")
@click.option("--picture", type=PATH, help="PNG of the lung contours.")
@SERIES
@PARAMS
def lungs(scan: Path, output: Path, picture: Path | None, series_uid: str | None, params_file: Path | None) -> None:
    """Segment the lungs of SCAN: 1 right lung, 2 left lung, on the scan's own grid."""
    from nodules.cli.scan_with_lungs import read_with_lungs
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
