"""The command `nodules ensemble`: combines several trained segmenters into one."""

from __future__ import annotations

from pathlib import Path

import click

from nodules.cli.options import PATH


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-o", "--output", type=PATH, required=True, help="Folder to create.")
@click.option("--flips", type=click.Choice(["1", "2", "4"]), help="Replaces the setting segmenter.flips of FOLDERS.")
def ensemble(folders: tuple[Path, ...], output: Path, flips: str | None) -> None:
    """Combine the segmenters in FOLDERS into one that averages their probabilities.

    They must have the same network, context, lung region and flips. To use the ensemble, put it in place of
    models/segmenter and package it.
    """
    if output.exists() and any(output.iterdir()):
        raise click.ClickException(f"{output} holds files; choose a new folder")

    from nodules.models.unet.segmenter import SETTINGS_FILE, combine

    if invalid := [folder for folder in folders if not (folder / SETTINGS_FILE).is_file()]:
        raise click.ClickException(f"{invalid[0]}: expected the folder of a segmenter, but it holds no {SETTINGS_FILE}")
    try:
        combined = combine(folders, int(flips) if flips else None)  # type: ignore[arg-type]  # one of the choices
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    combined.save(output)
    click.echo(f"{len(combined.networks)} networks: {output}")
