"""The command `nodules`: the packaged chain on one scan, from the terminal."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from nodules import params
from nodules.cli import defaults
from nodules.imaging.lungs.segment import LungMaskParams, LungSegmentation, find_lungs
from nodules.scans.read import read_scan
from nodules.scans.result import Reading, ReadingParams, ScanError, Verdict, judge, refusal
from nodules.scans.volume_files.writer import write_volume

PATH = click.Path(path_type=Path)
SCAN = click.argument("scan", type=PATH)
SERIES = click.option("--series", "series_uid", help="UID of the DICOM series to read; else the one with most slices.")
PARAMS = click.option(
    "--params", "params_file", type=PATH, help="Parameter file; default params.yaml in this folder, else the package's."
)


@click.group()
def main() -> None:
    """Lung nodules and lung cancer risk from chest CT.

    SCAN is a DICOM folder, zip or multi-frame file, .mhd, .mha, .nii, .nii.gz or .nrrd. Not a medical device.
    """


@main.command()
@SCAN
@SERIES
@PARAMS
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON, and nothing else.")
def check(scan: Path, series_uid: str | None, params_file: Path | None, as_json: bool) -> None:
    """Say what SCAN is, what must be repaired to read it, and whether it can be used.

    The exit status is 0 for the verdicts ok and usable, 1 for unusable.
    """
    with _errors_in_words():
        try:
            verdict = _read_with_lungs(scan, series_uid, params_file)[2]
        except ScanError as error:
            verdict = refusal(error)
    click.echo(json.dumps(verdict.as_dict()) if as_json else "\n".join(_lines(verdict)))
    sys.exit(1 if verdict.status == "unusable" else 0)


@main.command()
@SCAN
@click.option("-o", "--output", type=PATH, required=True, help="Label map: .nii.gz, .mha or .nrrd.")
@click.option("--picture", type=PATH, help="PNG of the contours.")
@SERIES
@PARAMS
def lungs(scan: Path, output: Path, picture: Path | None, series_uid: str | None, params_file: Path | None) -> None:
    """Segment the lungs of SCAN: 1 right lung, 2 left lung, on the scan's own grid."""
    from nodules.imaging.lungs.segment import lung_measures
    from nodules.pictures.overlay import lung_contours, save_figure

    with _errors_in_words():
        read, found, verdict = _read_with_lungs(scan, series_uid, params_file)
        output.parent.mkdir(parents=True, exist_ok=True)
        write_volume(read.volume.with_voxels(found.labels_zyx), output)
    if picture:
        save_figure(lung_contours(read.volume, found.labels_zyx), picture)
    _say_reasons(verdict)
    measured = lung_measures(read.volume, found.labels_zyx)
    click.echo(
        f"right {measured['volume_right_l']:.2f} l, left {measured['volume_left_l']:.2f} l, "
        f"below -950 HU {measured['emphysema_share']:.1%}: {output}"
    )


@main.command()
@SCAN
@click.option("-o", "--output", type=PATH, required=True, help="Folder for the results.")
@click.option(
    "--model", type=PATH, help="Packaged model; default models/diagnosis in this folder, else the checkout's."
)
@SERIES
@click.option("--json", "as_json", is_flag=True, help="Print the report, and nothing else.")
def predict(scan: Path, output: Path, model: Path | None, series_uid: str | None, as_json: bool) -> None:
    """Write report.json, nodules.csv, nodules.nii.gz, lungs.nii.gz and overlay.png for SCAN."""
    chain = _chain(model)

    from nodules.models.diagnosis import Diagnoser
    from nodules.serving.report import refused, report, write_report

    diagnoser = Diagnoser.load(chain)
    try:
        read = read_scan(scan, diagnoser.reading, series_uid)
    except ScanError as error:
        if as_json:
            click.echo(json.dumps(refused(error)))
        raise click.ClickException(str(error)) from error
    diagnosis = diagnoser.diagnose(read)
    write_report(diagnosis, read.volume, output)
    answer = report(diagnosis)
    if as_json:
        click.echo(json.dumps(answer))
        return
    _say_reasons(diagnosis.verdict)
    click.echo(f"probability of cancer {answer['probability']:.3f}, {len(answer['nodules'])} nodules: {output}")


@main.command()
@click.argument("submission", type=PATH)
@click.option("--annotations", type=PATH, required=True, help="LUNA16's annotations.csv.")
@click.option("--excluded", type=PATH, help="LUNA16's annotations_excluded.csv.")
@click.option("--seriesuids", type=PATH, help="The scans, one UID a line; else those named.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON, and nothing else.")
def froc(submission: Path, annotations: Path, excluded: Path | None, seriesuids: Path | None, as_json: bool) -> None:
    """Judge SUBMISSION (seriesuid, coordX, coordY, coordZ, probability) by LUNA16's rule: FROC and CPM."""
    from nodules.evaluation import detection as curves
    from nodules.evaluation.detection import evaluate_submission
    from nodules.scans.tables import submission as tables
    from nodules.scans.tables.luna import read_annotations

    with _errors_in_words():
        candidates, nodules = tables.read_submission(submission), read_annotations(annotations)
        spared = tables.read_excluded(excluded) if excluded else {}
        named = sorted(set(candidates["seriesuid"]) | set(nodules))
        scans = evaluate_submission(
            candidates, nodules, spared, tables.read_series_uids(seriesuids) if seriesuids else named
        )
    counts = curves.detection_summary(scans)
    points = curves.froc_points(scans, draws=curves.DRAWS)
    if as_json:
        click.echo(json.dumps(counts | {"froc": json.loads(points.to_json(orient="records"))}))
        return
    for name, count in counts.items():
        click.echo(f"{name:>24}  {count:g}")
    for rate, sensitivity, low, high in points.itertuples(index=False):
        label = "mean (CPM)" if math.isnan(rate) else f"at {rate:g} per scan"
        click.echo(f"{label:>24}  {sensitivity:.4f}  (95 %: {low:.4f} to {high:.4f})")


@main.command()
@click.argument("features", type=PATH)
@click.argument("labels", type=PATH)
@click.option("--holdout", type=PATH, help="Labels of patients that take no part in anything.")
@click.option(
    "--trials",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Settings of XGBoost to try by Optuna, anew in each fold; 0 takes those of the parameter file.",
)
@click.option("-o", "--output", type=PATH, help="Folder to write; default classify-FEATURES.")
@PARAMS
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object, and nothing else.")
def classify(
    features: Path,
    labels: Path,
    holdout: Path | None,
    trials: int,
    output: Path | None,
    params_file: Path | None,
    as_json: bool,
) -> None:
    """Choose, fit and judge classifiers of cancer on any table.

    FEATURES is .csv, .csv.gz or .parquet: a patient id, then numbers. LABELS has the columns id and cancer. All models
    are validated on the patients of LABELS (nested cross-validation), the best is fitted to all of them, and judged on
    --holdout. Patients without a label in LABELS get a probability in submission.csv. MLflow keeps the run.
    """
    from nodules.cli import classify_table
    from nodules.tracking.stage import TrackingError

    folder = output or Path(f"classify-{features.name.split('.')[0]}")
    if not as_json:
        click.echo(f"results go to {folder}", err=True)
    with _errors_in_words():
        settings = classify_table.Settings.load(_params_file(params_file), trials)
    try:
        answer = classify_table.classify(features, labels, holdout, settings, folder)
    except (ValueError, TrackingError) as error:  # each says what was wanted of the tables
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(answer) if as_json else "\n".join(classify_table.summary(answer)))


@main.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-o", "--output", type=PATH, required=True, help="Folder to make.")
@click.option("--flips", type=click.Choice(["1", "2", "4"]), help="In place of the folders' own segmenter.flips.")
def ensemble(folders: tuple[Path, ...], output: Path, flips: str | None) -> None:
    """Join the segmenters in FOLDERS into one that averages their answers.

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


@main.command()
def summary() -> None:
    """Key numbers of the last run, the registered model, and what to open next; to be run in the project's folder."""
    if not Path("dvc.yaml").is_file():
        raise click.ClickException(f"{Path.cwd()} holds no dvc.yaml; run `nodules summary` in the project's folder")

    from nodules.cli import closing_table

    click.echo("\n".join(closing_table.lines()))


def _read_with_lungs(
    scan: Path, series_uid: str | None, params_file: Path | None
) -> tuple[Reading, LungSegmentation, Verdict]:
    file = _params_file(params_file)
    reading = params.load("reading", ReadingParams, file)
    lung_mask = params.load("lung_mask", LungMaskParams, file)
    read = read_scan(scan, reading, series_uid)
    found = find_lungs(read.volume, lung_mask)
    return read, found, judge(read, reading, found.quality.findings)


def _params_file(named: Path | None) -> Path:
    """Return the file named on the command line, else the default file, which is reported on stderr."""
    if named is None:
        file, words = defaults.parameter_file()
        click.echo(f"parameters: {words}", err=True)
        return file
    if not named.is_file():
        raise params.ParamsError(f"{named.absolute()}: no such file")
    return named


def _chain(named: Path | None) -> Path:
    """Return the chain folder of the named model, else of the default model, which is reported on stderr."""
    from nodules.serving.packaging import chain_folder

    places = [named.absolute()] if named else defaults.model_folders()
    model = next((place for place in places if chain_folder(place).is_dir()), None)
    if model is None:
        raise click.ClickException(
            f"{', '.join(map(str, places))}: no packaged model; name one with --model, "
            "or make one by `make repro` in the project's folder"
        )
    if named is None:
        click.echo(f"model: {model}", err=True)
    return chain_folder(model)


@contextmanager
def _errors_in_words() -> Iterator[None]:
    try:
        yield
    except ScanError as error:
        raise click.ClickException(str(error)) from error
    except params.ParamsError as error:
        remedy = f"Name another file with --params; the package's defaults are in {defaults.PACKAGED_PARAMS}"
        raise click.ClickException(f"{error}\n{remedy}") from error


def _say_reasons(verdict: Verdict) -> None:
    for reason in verdict.reasons:
        click.echo(f"warning: {reason}", err=True)


def _lines(verdict: Verdict) -> Iterator[str]:
    """The verdict for a person: what was read, line by line, and the reasons last."""
    for name, value in verdict.facts.items():
        if name not in ("repairs", "warnings") and value not in (None, {}):
            yield f"{name:>15}  {_words(value)}"
    yield f"{'verdict':>15}  {verdict.status}"
    yield from (f"{'':>15}  - {reason}" for reason in verdict.reasons)


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {count}" for key, count in value.items())
    if isinstance(value, list):
        return ", ".join(f"{item:g}" for item in value)
    return str(value)
