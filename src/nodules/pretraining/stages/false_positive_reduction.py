"""Train the 3-D network for false-positive reduction on the candidates of all folds but one, or of all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from nodules import params, progress
from nodules.checkpoint import work_folder
from nodules.imaging.network_input.cube import cut_cubes
from nodules.models.false_positive_reduction.reducer import FalsePositiveReducer
from nodules.models.false_positive_reduction.sampling import CubeSampler
from nodules.models.false_positive_reduction.score_fusion import auc
from nodules.models.false_positive_reduction.training import FalsePositiveReductionParams, train
from nodules.models.false_positive_reduction.training_cubes import CubeSet
from nodules.pretraining.folds import ALL, FOLDS, Fold
from nodules.pretraining.settings import NegativesParams
from nodules.pretraining.stages.candidates import CANDIDATES, NODULES
from nodules.scans.stores import segmentations
from nodules.stages.shared import command
from nodules.stages.shared.settings import RunParams
from nodules.tracking.stage import stage_run

SCORES = "scores.csv"


def main(*, candidates: Path, fold: Fold, output: Path) -> None:
    """Write the network that has not seen the patients of this fold, and `scores.csv` with its answers to them.

    CANDIDATES holds the outputs of the stage `candidates` for the folds 0 to 4. For the fold `all` the network has seen
    everybody, and there are no scores. The network's fusion is still that of `score_fusion.IDENTITY`.
    """
    run, settings = (
        params.load("run", RunParams),
        params.load("false_positive_reduction", FalsePositiveReductionParams),
    )
    negatives = params.load("negatives", NegativesParams)
    folds = [str(number) for number in range(FOLDS) if str(number) != fold]
    shown = [one for number in folds for one in series_of_fold(candidates / number)]
    sampler = _sampler(shown, settings, negatives)
    work = work_folder(f"pretrain_false_positive_reduction-{fold}", (settings, negatives, run.seed, candidates))
    used = {"false_positive_reduction": settings, "negatives": negatives}
    name = f"pretrain_false_positive_reduction@{fold}"
    with stage_run(name, used, [candidates]) as stage:
        with progress.epochs(name, settings.epochs, stage.log_epoch) as log_epoch:
            network, _ = train(sampler, settings, seed=run.seed, log_epoch=log_epoch)
        reducer = FalsePositiveReducer(network, settings.network, settings.cube)
        shutil.rmtree(work, ignore_errors=True)
        reducer.save(work)
        if fold != ALL:
            scores = _scores(reducer, series_of_fold(candidates / fold))
            scores.to_csv(work / SCORES, index=False)
            stage.log_metrics(_areas(scores))
        stage.log_metrics({name: float(count) for name, count in sampler.counts.items()})
        shutil.rmtree(output, ignore_errors=True)
        output.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(work, output)


@dataclass(frozen=True)
class CandidateSeries:
    """Output of the stage `candidates` for one series."""

    name: str
    source: str
    patient: str
    folder: Path

    def candidates(self) -> pd.DataFrame:
        """All candidates, with the columns series, source and patient."""
        return self._table(CANDIDATES)

    def nodules(self) -> pd.DataFrame:
        """All nodules, with the same columns."""
        return self._table(NODULES)

    def _table(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.folder / name, dtype={"image": str}).assign(
            series=self.name, source=self.source, patient=self.patient
        )


def series_of_fold(folder: Path) -> list[CandidateSeries]:
    """Read the manifest of the stage `candidates`.

    Raises
    ------
    ValueError
        If it is missing.
    """
    manifest = folder / "manifest.csv"
    if not manifest.is_file():
        raise ValueError(f"{manifest}: no such file; run the stage candidates for each fold from 0 to {FOLDS - 1}")
    return [
        CandidateSeries(row.scan, row.source, row.patient, folder / row.scan)
        for row in pd.read_csv(manifest, dtype=str).itertuples()
    ]


def read_scores(folder: Path) -> pd.DataFrame:
    """Read the candidates of a fold with their log-odds by a network that has not seen its patients.

    Raises
    ------
    ValueError
        If the file is missing.
    """
    if not (folder / SCORES).is_file():
        raise ValueError(f"{folder / SCORES}: no such file; run the stage false_positive_reduction for each fold first")
    return pd.read_csv(folder / SCORES, dtype={"image": str})


def _sampler(
    shown: list[CandidateSeries], settings: FalsePositiveReductionParams, negatives: NegativesParams
) -> CubeSampler:
    """The sampler of the training series, whose negatives come from both sources as often as the parameters say."""
    sets = [CubeSet.load(one.folder) for one in shown]
    in_scan = np.array([one.source == "scans" for one in shown], dtype=bool)
    others = np.array([np.count_nonzero(~cubes.is_nodule) for cubes in sets])
    of_scans, of_cubes = others[in_scan].sum(), others[~in_scan].sum()
    weights = None
    if of_scans and of_cubes:
        weights = np.where(in_scan, negatives.scan_share / of_scans, (1 - negatives.scan_share) / of_cubes).tolist()
    return CubeSampler(sets, settings.cube, settings.variation, weights)


def _scores(reducer: FalsePositiveReducer, series: list[CandidateSeries]) -> pd.DataFrame:
    """The candidates of these series with the network's log-odds."""
    with progress.bar("scores", len(series), "scan") as shown:
        tables = []
        for one in series:
            tables += [scored for _, scored in _scored_images(reducer, one)]
            shown.update()
    return pd.concat([table for table in tables if len(table)], ignore_index=True)


def _scored_images(reducer: FalsePositiveReducer, series: CandidateSeries) -> Iterator[tuple[str, pd.DataFrame]]:
    for image, found in series.candidates().groupby("image", sort=False):
        scan = segmentations.load(series.folder / str(image)).scan
        centres = found[["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=float)
        cubes = cut_cubes(scan, centres, reducer.cube.side_mm, reducer.cube.size_px)
        yield str(image), found.assign(log_odds=reducer.log_odds(cubes))


def _areas(scores: pd.DataFrame) -> dict[str, float]:
    """Areas under the ROC curve of the network's log-odds and of the U-Net's mean probability, by source."""
    clear = scores[scores["kind"] != "unclear"]
    areas = {}
    for source, found in clear.groupby("source"):
        is_nodule = (found["kind"] == "nodule").to_numpy(dtype=bool)
        for name, column in (("network", "log_odds"), ("unet", "mean_probability")):
            area = auc(is_nodule, found[column])
            if area is not None:
                areas[f"auc_{name}_{source}"] = area
    return areas


if __name__ == "__main__":
    command.run(main)
