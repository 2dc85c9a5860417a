"""The command `nodules ensemble`: several trained segmenters as one."""

from __future__ import annotations

from pathlib import Path

import click

from nodules.cli.options import PATH


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-o", "--output", type=PATH, required=True, help="Folder to make.")
@click.option("--flips", type=click.Choice(["1", "2", "4"]), help="In place of the folders' own segmenter.flips.")
def ensemble(folders: tuple[Path, ...], output: Path, flips: str | None) -> None:
    """Join the segmenters in FOLDERS into one that averages their probabilities.

    They must share network, context, region and flips. Packaged, it takes the place of models/segmenter.
    """
    if output.exists() and any(output.iterdir()):
        raise click.ClickException(f"{output} holds files; name a new folder")

    from nodules.models.unet.segmenter import SETTINGS_FILE, combine

    if lacking := [folder for folder in folders if not (folder / SETTINGS_FILE).is_file()]:
        raise click.ClickException(f"{lacking[0]}: no segmenter; it holds no {SETTINGS_FILE}")
    try:
        joined = combine(folders, int(flips) if flips else None)  # type: ignore[arg-type]  # one of the choices
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    joined.save(output)
    click.echo(f"{len(joined.networks)} networks: {output}")
