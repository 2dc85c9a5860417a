"""Default parameter file and model folders of the command line.

Stages do not use them: a stage reads `params.yaml` of the project folder, and fails without it.
"""

from __future__ import annotations

from pathlib import Path

from nodules import params

PACKAGED_PARAMS = Path(__file__).parents[1] / "default_params.yaml"  # `make params` writes it
CHECKOUT = Path(__file__).resolve().parents[3]  # if installed with `pip install -e`; otherwise some unrelated folder
MODEL = Path("models/diagnosis")


def parameter_file() -> tuple[Path, str]:
    """Return `params.yaml` of the current folder, else the file of the package, and words that say which."""
    if params.PARAMS_PATH.is_file():
        return params.PARAMS_PATH, "params.yaml of the current folder"
    return PACKAGED_PARAMS, "the package's defaults, as the current folder holds no params.yaml"


def model_folders() -> list[Path]:
    """Return the absolute places of the model, best first: the current folder, then the checkout if there is one."""
    projects = [Path.cwd(), *([CHECKOUT] if (CHECKOUT / "dvc.yaml").is_file() else [])]
    return list(dict.fromkeys(project / MODEL for project in projects))
