"""The command `nodules classify`: classifiers of cancer on any table of features."""

from __future__ import annotations

import json
from pathlib import Path

import click

from nodules.cli import defaults
from nodules.cli.messages import errors_as_messages
from nodules.cli.options import PARAMS, PATH


@click.command()
@click.argument("features", type=PATH)
@click.argument("labels", type=PATH)
@click.option("--holdout", type=PATH, help="Labels of patients that no model is fitted to or chosen by.")
@click.option(
    "--trials",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Optuna trials for XGBoost's settings, searched anew in each fold; 0 takes those of the parameter file.",
)
@click.option("-o", "--output", type=PATH, help="Folder to write; default classify-FEATURES.")
@PARAMS
@click.option("--json", "as_json", is_flag=True, help="Print the metrics as one JSON object, and nothing else.")
def classify(
    features: Path,
    labels: Path,
    holdout: Path | None,
    trials: int,
    output: Path | None,
    params_file: Path | None,
    as_json: bool,
) -> None:
    """Validate classifiers of cancer on any table, and fit the best one.

    FEATURES is .csv, .csv.gz or .parquet: a patient id, then numbers. LABELS has the columns id and cancer. All models
    are validated on the patients of LABELS (nested cross-validation). The best is fitted to all of them and evaluated
    on --holdout. Patients without a label in LABELS get a probability in submission.csv. MLflow keeps the run.
    """
    from nodules.cli import classify_table
    from nodules.tracking.stage import TrackingError

    folder = output or Path(f"classify-{features.name.split('.')[0]}")
    if not as_json:
        click.echo(f"results go to {folder}", err=True)
    with errors_as_messages():
        settings = classify_table.Settings.load(defaults.parameter_file(params_file), trials)
    try:
        answer = classify_table.classify(features, labels, holdout, settings, folder)
    except (ValueError, TrackingError) as error:  # their messages say what is wrong with the tables or the tracker
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(answer) if as_json else "\n".join(classify_table.summary(answer)))
