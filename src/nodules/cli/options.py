"""Arguments and options shared by several commands."""

from __future__ import annotations

from pathlib import Path

import click

PATH = click.Path(path_type=Path)
SCAN = click.argument("scan", type=PATH)
MODEL_RULE = (
    "Default: models/diagnosis if there is one, else models/pretrained, which learnt from real nodules; each in the "
    "current folder, then in the checkout."
)
MODEL_METAVAR = "pretrained|diagnosis|FOLDER"
SERIES = click.option(
    "--series", "series_uid", help="UID of the DICOM series to read; default: the one with the most slices."
)
PARAMS = click.option(
    "--params", "params_file", type=PATH, help="Parameter file; default params.yaml in this folder, else the package's."
)
