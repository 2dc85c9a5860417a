"""The command `nodules evaluate-cubes`: how well a U-Net segments nodules that readers outlined."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nodules.cli import defaults
from nodules.cli.messages import errors_as_messages
from nodules.cli.options import MODEL_METAVAR, MODEL_RULE, PATH
from nodules.models.chain import is_part_of_chain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nodules.imaging.geometry.volume import Volume
    from nodules.scans.tables.nodule_cubes import NoduleCube

OUTLINED = 0.5
"""Between the 0 and 1 of an outline."""


@click.command()
@click.argument("folder", type=PATH)
@click.option(
    "--model",
    metavar=MODEL_METAVAR,
    help=f"FOLDER holds a packaged model, a diagnosis chain or a segmenter. {MODEL_RULE}",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="Lowest probability of a voxel of a nodule.",
)
@click.option(
    "--findings",
    is_flag=True,
    help="Judge what the whole model reports at its operating point, not the U-Net alone; --threshold has no effect.",
)
@click.option(
    "--min-mm3",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Volume below which connected voxels are dropped.",
)
@click.option("--patients", type=PATH, help="The patients to evaluate, one per line; default: all.")
@click.option("--table", type=PATH, help="CSV file to write, with one row per nodule.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON, and nothing else.")
def evaluate_cubes(
    folder: Path,
    model: str | None,
    threshold: float,
    findings: bool,
    min_mm3: float,
    patients: Path | None,
    table: Path | None,
    as_json: bool,
) -> None:
    """Segment the nodules in FOLDER (cubes.csv and one PNG per nodule), and compare them with the readers' masks.

    Figures are means over nodules with 95 % intervals over patients: nodules that are hit, Dice in 3-D and in the
    middle slice (0 for a missed nodule), and predicted parts per cube that touch no nodule in FOLDER.
    """
    segmenter = defaults.segmenter_folder(model)
    if findings and not is_part_of_chain(segmenter):
        raise click.ClickException(f"{segmenter}: --findings needs a whole model, got a segmenter")

    import pandas as pd

    from nodules.evaluation.cubes import summary
    from nodules.scans.tables.nodule_cubes import read_cube_table

    with errors_as_messages():
        cubes = read_cube_table(folder)
        chosen = _of_patients(cubes, patients) if patients else cubes
        rows = [row for row in _scores(chosen, cubes, segmenter, None if findings else threshold, min_mm3) if row]
    if not rows:
        raise click.ClickException(f"{folder}: the masks of all {len(chosen)} cubes are empty")
    scores = pd.DataFrame(rows)
    if table:
        scores.to_csv(table, index=False)
    figures = summary(scores)
    empty = len(chosen) - len(rows)
    if as_json:
        judged = {"segmenter": str(segmenter), "findings": findings, "threshold": None if findings else threshold}
        settings = judged | {"min_mm3": min_mm3, "empty_masks": empty}
        click.echo(json.dumps(settings | figures))
        return
    if empty:
        click.echo(f"warning: {empty} of {len(chosen)} cubes have an empty mask and are left out", err=True)
    click.echo("\n".join(_lines(figures)))


def _of_patients(cubes: list[NoduleCube], file: Path) -> list[NoduleCube]:
    from nodules.scans.result import ScanError
    from nodules.scans.tables.nodule_cubes import TABLE

    if not file.is_file():
        raise ScanError(f"{file}: no such file; expected one patient per line")
    lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    wanted = {line.strip() for line in lines if line.strip()} - {"patient"}
    if unknown := sorted(wanted - {cube.patient for cube in cubes}):
        raise ScanError(f"{file}: {len(unknown)} patients are not in {TABLE}, such as {unknown[0]}")
    if not wanted:
        raise ScanError(f"{file}: no patient found; expected one per line")
    return [cube for cube in cubes if cube.patient in wanted]


def _scores(
    chosen: list[NoduleCube], cubes: list[NoduleCube], segmenter: Path, threshold: float | None, min_mm3: float
) -> Iterator[dict[str, Any] | None]:
    """The score of each cube, in order; rounding depends on the number of threads, so every process has one."""
    import joblib

    from nodules.parallel import job_count
    from nodules.progress import bar
    from nodules.scans.tables.nodule_cubes import by_series

    of_series = by_series(cubes)
    calls = (joblib.delayed(_score)(cube, of_series[cube.seriesuid], segmenter, threshold, min_mm3) for cube in chosen)
    jobs = min(job_count(), len(chosen))
    with bar("evaluate-cubes", len(chosen), "cube") as shown:
        for row in joblib.Parallel(n_jobs=jobs, return_as="generator", max_nbytes=None)(calls):
            shown.update()
            yield row


def _score(
    cube: NoduleCube, of_series: list[NoduleCube], segmenter: Path, threshold: float | None, min_mm3: float
) -> dict[str, Any] | None:
    """One row for `evaluation.cubes.summary`; None if the mask is empty. Without a threshold, the model's findings."""
    from nodules.parallel import ONE_TENSORFLOW_THREAD

    os.environ.update(ONE_TENSORFLOW_THREAD)

    import numpy as np
    from threadpoolctl import threadpool_limits

    from nodules.evaluation.cubes import score_cube
    from nodules.scans.tables.nodule_cubes import other_nodules, read_cube

    scan, mask = read_cube(cube)
    if not mask.any():
        return None
    with threadpool_limits(limits=1):
        outlined = _outlined(scan, segmenter, threshold).astype(np.float32)
    score = score_cube(mask, outlined, OUTLINED, min_mm3 / scan.voxel_mm3, other_nodules(cube, of_series, scan))
    row = {"file": cube.file.name, "patient": cube.patient, "diameter_mm": cube.diameter_mm}
    return {**row, "is_luna16": bool(cube.annotation), **vars(score)}


def _outlined(scan: Volume, segmenter: Path, threshold: float | None) -> NDArray[np.bool_]:
    """What the whole model outlines, or with a threshold the U-Net alone; each loads only what it needs."""
    from nodules.parallel import load_once

    if threshold is None:
        from nodules.models.diagnosis import Diagnoser

        return load_once(Diagnoser.load, segmenter.parent).outline_excerpt(scan) > 0

    from nodules.models.unet.segmenter import Segmenter, probability_of_excerpt

    return probability_of_excerpt(scan, load_once(Segmenter.load, segmenter)) >= threshold


def _lines(figures: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Iterator[str]:
    """The figures as a table with a line for each group of nodules."""
    from nodules.evaluation.cubes import FIGURES

    titles = [name.replace("_", " ") for name in FIGURES]
    yield f"{'':<28}{'nodules':>8}{'patients':>9}" + "".join(f"{title:>20}" for title in titles)
    for group, strata in figures.items():
        for stratum, found in strata.items():
            values = (f"{found[name]:.3f} ({found[f'{name}_low']:.2f}-{found[f'{name}_high']:.2f})" for name in FIGURES)
            yield (
                f"{f'{group}, {stratum}'.replace('_', ' '):<28}{found['nodules']:>8}{found['patients']:>9}"
                + "".join(f"{value:>20}" for value in values)
            )
