"""Default parameter file and default model of the command line.

Stages do not use them: a stage reads `params.yaml` of the project folder, and fails without it.
"""

from __future__ import annotations

from pathlib import Path

import click

from nodules import params

PACKAGED_PARAMS = Path(__file__).parents[1] / "default_params.yaml"  # `make params` writes it
CHECKOUT = Path(__file__).resolve().parents[3]  # if installed with `pip install -e`; otherwise some unrelated folder
MODEL = Path("models/diagnosis")
DIAGNOSIS = "diagnosis"  # names the default model, where a command takes other models too


def parameter_file(named: Path | None) -> Path:
    """Return the named parameter file, else `params.yaml` of the current folder, else the file of the package.

    A default is reported on stderr.

    Raises
    ------
    ParamsError
        If the named file does not exist.
    """
    if named is not None:
        if not named.is_file():
            raise params.ParamsError(f"{named.absolute()}: no such file")
        return named
    if params.PARAMS_PATH.is_file():
        click.echo("parameters: params.yaml of the current folder", err=True)
        return params.PARAMS_PATH
    click.echo("parameters: the package's defaults, as the current folder holds no params.yaml", err=True)
    return PACKAGED_PARAMS


def model_folders() -> list[Path]:
    """Return the absolute paths of the default model, best first: in the current folder, then in a checkout."""
    projects = [Path.cwd(), *([CHECKOUT] if (CHECKOUT / "dvc.yaml").is_file() else [])]
    return list(dict.fromkeys(project / MODEL for project in projects))


def diagnosis_folder(named: Path | None) -> Path:
    """Return the folder of the diagnosis chain in the named model, else in the default model.

    A default is reported on stderr.

    Raises
    ------
    ClickException
        If there is no packaged model.
    """
    from nodules.serving.packaging import chain_folder

    folders = [named.absolute()] if named else model_folders()
    model = next((folder for folder in folders if chain_folder(folder).is_dir()), None)
    if model is None:
        raise click.ClickException(
            f"{', '.join(map(str, folders))}: no packaged model; name one with --model, "
            "or make one by `make repro` in the project's folder"
        )
    if named is None:
        click.echo(f"model: {model}", err=True)
    return chain_folder(model)


def segmenter_folder(model: str) -> Path:
    """Return the folder of the segmenter in a model.

    Parameters
    ----------
    model : str
        `DIAGNOSIS`, or the folder of a packaged model or of a segmenter. A folder called like `DIAGNOSIS` must be
        given with its path: ./diagnosis.

    Raises
    ------
    ClickException
        If there is neither.
    """
    if model == DIAGNOSIS:
        return diagnosis_folder(None) / "segmenter"

    from nodules.models.unet.segmenter import SETTINGS_FILE

    folder = Path(model).absolute()
    return folder if (folder / SETTINGS_FILE).is_file() else diagnosis_folder(folder) / "segmenter"
