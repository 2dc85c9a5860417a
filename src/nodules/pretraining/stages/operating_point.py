"""Choose the operating point of the shipped networks from out-of-fold answers, and report the figures there."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nodules import parallel, params
from nodules.checkpoint import work_folder
from nodules.evaluation.cubes import score_cube, summary
from nodules.imaging.candidates.outline import SegmentationSettings, outline
from nodules.imaging.candidates.proposals import CandidateParams, propose
from nodules.imaging.geometry.resample import to_scan_grid
from nodules.imaging.lungs.segment import LungMaskParams
from nodules.models.diagnosis import DiagnosisSettings, save_settings
from nodules.models.false_positive_reduction.reducer import FalsePositiveReducer
from nodules.models.false_positive_reduction.score_fusion import Fusion
from nodules.pretraining.folds import ALL, FOLDS
from nodules.pretraining.operating_point import (
    Limits,
    OperatingPointParams,
    best_threshold,
    cross_fitted,
    froc,
    kept_by_probability,
    nodule_table,
    probability_limits,
    scan_figures,
)
from nodules.pretraining.real_data import RealData
from nodules.pretraining.stages.candidates import AnnotatedSeries, annotated_series, marked_cubes
from nodules.pretraining.stages.false_positive_reduction import SCORES, CandidateSeries, read_scores, series_of_fold
from nodules.scans.result import ReadingParams
from nodules.scans.stores import segmentations
from nodules.scans.tables.nodule_cubes import NoduleCube
from nodules.stages.shared import command
from nodules.stages.shared.metrics_file import write_metrics
from nodules.stages.shared.settings import RunParams
from nodules.tracking.stage import stage_run

CUBE_COLUMNS = ["setting", "cube", "patient", "diameter_mm", "is_luna16", "hit", "dice", "middle_dice", "other_parts"]

Item = tuple[AnnotatedSeries, Path, dict[str, list[float]]]
"""A series of cubes, its folder of the stage candidates, and the probabilities of the candidates of each cube."""


@dataclass(frozen=True)
class Answers:
    """Out-of-fold answers to all patients.

    Attributes
    ----------
    candidates : DataFrame
        One row per candidate: those of `CandidateSeries.candidates`, and fold, log_odds and probability.
    nodules : DataFrame
        One row per nodule: `NODULE_COLUMNS`, and series, source, patient, probability and is_luna16.
    """

    candidates: pd.DataFrame
    nodules: pd.DataFrame


def main(*, real_data: Path, candidates: Path, reducers: Path, output: Path, figures: Path) -> None:
    """Write diagnosis.json and false_positive_reduction/ with its fusion to OUTPUT, and the figures as JSON.

    CANDIDATES and REDUCERS hold the outputs of the stages candidates and false_positive_reduction for each fold.
    """
    run, settings = params.load("run", RunParams), params.load("operating_point", OperatingPointParams)
    proposing = params.load("candidates", CandidateParams)
    reading, lung_mask = params.load("reading", ReadingParams), params.load("lung_mask", LungMaskParams)
    data = RealData(real_data)
    series = {str(fold): series_of_fold(candidates / str(fold)) for fold in range(FOLDS)}
    scans = [one.name for found in series.values() for one in found if one.source == "scans"]
    work = work_folder("pretrain_operating_point", (settings, proposing, candidates, reducers))
    used = {"operating_point": settings, "candidates": proposing}
    with stage_run("pretrain_operating_point", used, [candidates, reducers]) as stage:
        fusion, answers = _answers(series, reducers, data, settings)
        limits = probability_limits(answers.candidates, len(data.cubes), settings)
        scores = _cube_scores(data, series, answers, _outlines(limits, settings), proposing, run, work)
        # Nodules that whole scans' limit loses say nothing about the threshold.
        threshold = best_threshold({value: scores[value, limits.cubes] for value in settings.thresholds})
        segmentation = SegmentationSettings(threshold, settings.dilation_mm, limits.min_probability)
        found = {
            "segmentation": asdict(segmentation),
            "limits": asdict(limits),
            "fusion": fusion.by_name(),
            "scans": scan_figures(scans, answers.candidates, answers.nodules, limits.min_probability),
            "froc": froc(scans, answers.candidates, answers.nodules),
            "kept_by_probability": kept_by_probability(answers.candidates, answers.nodules),
            "cubes_at_their_limit": summary(scores[threshold, limits.cubes]),
            "cubes": summary(scores[threshold, limits.min_probability]),
            "dice_by_threshold": {
                f"{value:g}": float(scores[value, limits.cubes]["dice"].mean()) for value in settings.thresholds
            },
        }
        write_metrics(figures, found)
        stage.log_metrics({"min_probability": limits.min_probability, "threshold": threshold})
        _write(output, fusion, reducers / ALL, DiagnosisSettings(reading, lung_mask, segmentation, proposing))
    shutil.rmtree(work, ignore_errors=True)


def _write(output: Path, fusion: Fusion, trained: Path, settings: DiagnosisSettings) -> None:
    reducer = FalsePositiveReducer.load(trained)
    reducer.fusion = fusion
    output.mkdir(parents=True, exist_ok=True)
    reducer.save(output / "false_positive_reduction")
    save_settings(settings, output)


def _answers(
    series: Mapping[str, list[CandidateSeries]], reducers: Path, data: RealData, settings: OperatingPointParams
) -> tuple[Fusion, Answers]:
    tables = [read_scores(reducers / fold).assign(fold=fold) for fold in series]
    candidates = pd.concat([table for table in tables if len(table)], ignore_index=True)
    fusion, probability = cross_fitted(candidates, settings)
    candidates["probability"] = probability
    drawn = [one.nodules() for found in series.values() for one in found]
    nodules = pd.concat([table for table in drawn if len(table)], ignore_index=True)
    luna = {cube.file.stem for cube in data.cubes if cube.annotation}
    nodules["is_luna16"] = nodules["image"].isin(luna)
    return fusion, Answers(candidates, nodule_table(nodules, candidates))


def _cube_scores(
    data: RealData,
    series: Mapping[str, list[CandidateSeries]],
    answers: Answers,
    outlines: Sequence[SegmentationSettings],
    proposing: CandidateParams,
    run: RunParams,
    work: Path,
) -> dict[tuple[float, float], pd.DataFrame]:
    """By threshold and lowest probability, the scores of all cubes as `evaluation.cubes.summary` takes them."""
    known = {f"{one.series.source}-{one.series.name}": one for one in annotated_series(data)}
    images = answers.candidates.groupby(["series", "image"])["probability"].agg(list).to_dict()
    probabilities: dict[str, dict[str, list[float]]] = {}
    for (name, image), values in images.items():
        probabilities.setdefault(name, {})[image] = values
    items: dict[str, Item] = {
        one.name: (known[one.name], one.folder, probabilities.get(one.name, {}))
        for found in series.values()
        for one in found
        if one.source == "cubes"
    }
    parallel.map_scans(
        functools.partial(score_series, outlines=outlines, candidates=proposing),
        items,
        stage="pretrain_operating_point-cubes",
        output=work / "cubes",
        max_failures=run.max_failures,
    )
    rows = pd.concat([pd.read_csv(file) for file in sorted((work / "cubes").glob("*.csv")) if file.stem in items])
    return {
        (one.threshold, one.min_probability): found
        for number, one in enumerate(outlines)
        for found in [rows[rows["setting"] == number]]
    }


def _outlines(limits: Limits, settings: OperatingPointParams) -> list[SegmentationSettings]:
    levels = sorted({limits.cubes, limits.min_probability})
    return [
        SegmentationSettings(value, settings.dilation_mm, level) for value in settings.thresholds for level in levels
    ]


def score_series(
    item: Item, folder: Path, *, outlines: Sequence[SegmentationSettings], candidates: CandidateParams
) -> dict[str, Any]:
    """Score the outlines of the cubes of a series with each of the settings; write `folder/<series>.csv`.

    Findings that touch what any reader drew are no other parts. A cube whose mask is empty is left out.
    """
    annotated, stored, probabilities = item
    rows = []
    for cube, scan, mask, marks in marked_cubes(annotated):
        if not mask.any():
            continue
        segmentation = segmentations.load(stored / cube.file.stem)
        proposals = propose(segmentation, candidates)
        scored = np.asarray(probabilities.get(cube.file.stem, []), dtype=np.float64)
        if len(scored) != len(proposals.table):
            raise ValueError(
                f"{stored / cube.file.stem}: expected {len(scored)} proposals as in {SCORES}, got "
                f"{len(proposals.table)}; run the stages candidates and false_positive_reduction again"
            )
        for number, settings in enumerate(outlines):
            found = outline(segmentation, proposals, scored, settings, candidates)
            outlined = to_scan_grid(segmentation.scan.with_voxels(found.labels_zyx), scan).voxels_zyx > 0
            score = score_cube(mask, outlined.astype(np.float32), 0.5, spared_zyx=marks.drawn_zyx)
            rows.append({"setting": number, **_cube_row(cube), **vars(score)})
    pd.DataFrame(rows, columns=CUBE_COLUMNS).to_csv(folder / f"{stored.name}.csv", index=False)
    return {"cubes": len(rows) // len(outlines)}


def _cube_row(cube: NoduleCube) -> dict[str, Any]:
    return {
        "cube": cube.file.stem,
        "patient": cube.patient,
        "diameter_mm": cube.diameter_mm,
        "is_luna16": bool(cube.annotation),
    }


if __name__ == "__main__":
    command.run(main)
