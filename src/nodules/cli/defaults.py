"""Default parameter file and default model of the command line.

Stages do not use them: a stage reads `params.yaml` of the project folder, and fails without it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from nodules import params
from nodules.models.chain import SEGMENTER, find_chain, has_classifier, has_rater

PACKAGED_PARAMS = Path(__file__).parents[1] / "default_params.yaml"  # `make params` writes it
CHECKOUT = Path(__file__).resolve().parents[3]  # if installed with `pip install -e`; otherwise some unrelated folder
MODELS = {"diagnosis": Path("models/diagnosis"), "pretrained": Path("models/pretrained")}
"""Models that a command takes by name, in the order in which it looks for its default model."""
NO_MODEL = (
    "no packaged model and no diagnosis chain; name one with --model, make one by `make repro` in the project's "
    "folder, or use a clone of the repository, which holds models/pretrained (an installed package alone does not)"
)


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


def model_folders(names: Iterable[str] = tuple(MODELS)) -> list[Path]:
    """Return the absolute paths at which the models of these names may lie, best first.

    For each name, the current folder comes first, then a checkout.
    """
    projects = [Path.cwd(), *([CHECKOUT] if (CHECKOUT / "dvc.yaml").is_file() else [])]
    return list(dict.fromkeys(project / MODELS[name] for name in names for project in projects))


def chain_folder(model: str | None, *, says_what_is_missing: bool = False) -> Path:
    """Return the folder of the diagnosis chain of a model.

    Parameters
    ----------
    model : str or None
        One of `MODELS`, or the folder of a packaged model or of a chain. A folder called like one of `MODELS` must be
        given with its path: ./pretrained. None stands for the first of `MODELS` that exists.
    says_what_is_missing : bool
        Whether to name on stderr what the answers lack if the model has no classifier of cancer.

    Raises
    ------
    ClickException
        If there is no such model.
    """
    named_folder = None if model is None or model in MODELS else Path(model).absolute()
    folders = [named_folder] if named_folder else model_folders(MODELS if model is None else [model])
    found = next(((folder, chain) for folder in folders if (chain := find_chain(folder))), None)
    if found is None:
        raise click.ClickException(f"{', '.join(map(str, folders))}: {NO_MODEL}")
    folder, chain = found
    remark = _what_is_missing(chain) if says_what_is_missing else ""
    if not named_folder or remark:
        click.echo(f"model: {folder}{remark}", err=True)
    return chain


def _what_is_missing(chain: Path) -> str:
    """What the answers of a chain lack, to follow the path of its model."""
    if has_classifier(chain):
        return ""
    if has_rater(chain):
        return (
            ", without a classifier of cancer: `probability` is null; `suspicion` says how suspicious radiologists "
            "would find the nodules, not how probable cancer is"
        )
    return ", which finds nodules and does not judge them: `probability` and `suspicion` are null"


def segmenter_folder(model: str | None) -> Path:
    """Return the folder of the segmenter in a model.

    Parameters
    ----------
    model : str or None
        As for `chain_folder`, or the folder of a segmenter.

    Raises
    ------
    ClickException
        If there is neither.
    """
    if model is not None and model not in MODELS and _is_segmenter(Path(model)):
        return Path(model).absolute()
    return chain_folder(model) / SEGMENTER


def _is_segmenter(folder: Path) -> bool:
    """Whether a folder holds a segmenter; loads Keras only if it may be one."""
    if not folder.is_dir() or find_chain(folder):
        return False

    from nodules.models.unet.segmenter import SETTINGS_FILE

    return (folder / SETTINGS_FILE).is_file()
