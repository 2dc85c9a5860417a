"""The command `nodules froc`: evaluates any table of candidates by LUNA16's FROC curve and CPM."""

from __future__ import annotations

import json
import math
from pathlib import Path

import click

from nodules.cli.messages import errors_as_messages
from nodules.cli.options import PATH


@click.command()
@click.argument("submission", type=PATH)
@click.option("--annotations", type=PATH, required=True, help="LUNA16's annotations.csv.")
@click.option("--excluded", type=PATH, help="LUNA16's annotations_excluded.csv.")
@click.option("--seriesuids", type=PATH, help="The scans, one UID per line; default: all scans in the tables.")
@click.option("--json", "as_json", is_flag=True, help="Print the metrics as JSON, and nothing else.")
def froc(submission: Path, annotations: Path, excluded: Path | None, seriesuids: Path | None, as_json: bool) -> None:
    """Evaluate SUBMISSION (seriesuid, coordX, coordY, coordZ, probability) by LUNA16's rule: FROC and CPM."""
    from nodules.evaluation import detection
    from nodules.scans.tables import submission as tables
    from nodules.scans.tables.luna import read_annotations

    with errors_as_messages():
        candidates, nodules = tables.read_submission(submission), read_annotations(annotations)
        ignored = tables.read_excluded(excluded) if excluded else {}
        named = sorted(set(candidates["seriesuid"]) | set(nodules))
        scans = detection.evaluate_submission(
            candidates, nodules, ignored, tables.read_series_uids(seriesuids) if seriesuids else named
        )
    counts = detection.detection_summary(scans)
    points = detection.froc_points(scans, draws=detection.DRAWS)
    if as_json:
        click.echo(json.dumps(counts | {"froc": json.loads(points.to_json(orient="records"))}))
        return
    for name, count in counts.items():
        click.echo(f"{name:>24}  {count:g}")
    for rate, sensitivity, low, high in points.itertuples(index=False):
        label = "mean (CPM)" if math.isnan(rate) else f"at {rate:g} per scan"
        click.echo(f"{label:>24}  {sensitivity:.4f}  (95 %: {low:.4f} to {high:.4f})")
