"""The command `nodules classify`: validates and fits cancer classifiers on any table of features."""

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
@click.option("--holdout", type=PATH, help="Labels of patients that are used only for the final evaluation.")
@click.option(
    "--trials",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Optuna trials for XGBoost's settings, repeated in each fold; 0 uses the settings of the parameter file.",
)
@click.option("-o", "--output", type=PATH, help="Output folder; default classify-FEATURES.")
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
    """Validate cancer classifiers on any table of features, and fit one to all patients.

    FEATURES is .csv, .csv.gz or .parquet: a patient id, then numbers. LABELS has the columns id and cancer. All models
    are validated on the patients of LABELS by nested cross-validation. The average of three models (logistic
    regression, extra trees, XGBoost) is chosen, unless another model beats it by more than one standard error of the
    difference in log-loss. The chosen model is fitted to all patients of LABELS and evaluated on --holdout. Patients
    without a label get a probability in submission.csv. The run is logged to MLflow.
    """
    from nodules.cli import classify_table
    from nodules.tracking.stage import TrackingError

    folder = output or Path(f"classify-{features.name.split('.')[0]}")
    if not as_json:
        click.echo(f"results go to {folder}", err=True)
    with errors_as_messages():
        settings = classify_table.Settings.load(defaults.parameter_file(params_file), trials)
    try:
        result = classify_table.classify(features, labels, holdout, settings, folder)
    except (ValueError, TrackingError) as error:  # the message says what is wrong with the tables or with MLflow
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(result) if as_json else "\n".join(classify_table.summary(result)))
