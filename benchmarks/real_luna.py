"""Five-fold cross-validation by patient on real LUNA16 slices: this project's recipe against the tutorial's.

Whole slices are scored against discs of the annotated diameter. With `--readers FOLDER` they are also scored against
what at least two of LIDC-IDRI's readers outlined, and a component that touches anything a reader outlined is no false
positive. The operating point is chosen against the discs in either case.

Run it after `make repro` as `python benchmarks/real_luna.py --data DATA/luna16_slices --out OUT`, where DATA is the
folder that NODULES_REAL_DATA names. One network is pretrained on the pipeline's synthetic chests. Each fold trains
several networks from it, on real slices mixed with some of these chests. Each network is trained in its own process
with a fixed number of threads, so the results do not depend on how many run at once. Finished networks stay in OUT, and
a second call resumes from there. `--segmenter FOLDER` evaluates an existing network on the same slices instead. With
`--folds MANIFEST`, the table of the slices of pretraining, the folds are those of pretraining, and `{fold}` in FOLDER
stands for the number of the fold: each network is shown the series that it was not trained on. Prints tables and writes
pictures to OUT.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nodules import params
from nodules.checkpoint import work_folder
from nodules.imaging.geometry.resample import resample_slices
from nodules.imaging.lungs.segment import LungMaskParams
from nodules.imaging.network_input.lung_roi import extract
from nodules.pictures.overlay import save_figure
from nodules.pretraining.excerpts import Excerpt, read_excerpts, readers_file, series
from nodules.pretraining.folds import drawn_folds
from nodules.scans.result import ReadingParams, ScanError
from nodules.tutorial.evaluation.slice_detection import OperatingPoint, PredictedSlice
from slice_pictures import point_of, sheet
from slice_scores import choose_operating_point, dice_interval, score_operating_points, score_slices, scores_by_diameter

if TYPE_CHECKING:
    from nodules.models.unet.segmenter import Segmenter

RECIPE = Path(__file__).with_name("real_luna.yaml")
SYNTHETIC = Path("data/luna16")
SEED = 2017
FOLDS = 5
TUTORIAL_EPOCHS = 1
# The operating point of each fold is chosen on the slices of the other folds.
CUTS = [(0.0, 1.0), *product((0.2, 0.3, 0.4), (1.0, 2.0, 3.0))]
POINTS = [
    OperatingPoint(threshold, peak, area_mm2, share, power)
    for threshold, peak, area_mm2, (share, power) in product(
        (0.05, 0.1, 0.2, 0.3, 0.4, 0.5),
        (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95),
        (0.0, 5.0, 8.0, 12.0),
        CUTS,
    )
    if peak >= threshold
]
START, TUTORIAL, GIVEN = "start", "tutorial", "given"
# Rounding depends on the number of threads, so it is fixed. All folds wait for the start network.
START_THREADS, FOLD_THREADS = 2, 1


@dataclass(frozen=True)
class Ensemble:
    """Section names of the training settings, one for each network of a fold; their predictions are averaged."""

    networks: list[str]


@dataclass(frozen=True)
class Job:
    """Training and prediction of one network for one fold, or prediction of an existing network.

    `recipe` is `START`, `TUTORIAL`, `GIVEN`, or the section of the settings that trains a network of a fold.
    """

    recipe: str
    fold: int
    network: int
    data: Path
    out: Path
    folds: Path | None = None

    @property
    def name(self) -> str:
        """Name of its files."""
        return f"{self.recipe}-{self.fold}-{self.network}"

    @property
    def seed(self) -> int:
        """Seed, different for every network of a recipe."""
        return SEED + self.fold + FOLDS * self.network

    @property
    def maps(self) -> Path:
        """File of the predictions for the fold's excerpts."""
        return self.out / f"{self.name}.npz"

    @property
    def segmenter(self) -> Path:
        """Folder of the trained network."""
        return self.out / self.name

    @property
    def epochs(self) -> Path:
        """Folder of finished epochs; it differs for another recipe, other data or other code."""
        return work_folder("real_luna", (self.name, self.data, SYNTHETIC / "slices", RECIPE))

    def excerpts(self, *, in_fold: bool, readers: Path | None = None) -> Iterator[Excerpt]:
        """Excerpts of the series in the fold, or of all others; with the readers' outlines if there is a folder."""
        uids = list(series(self.data))
        numbers = _pretraining_folds(self.folds, uids) if self.folds else drawn_folds(uids, FOLDS, SEED)
        reading, lung_mask = params.load("reading", ReadingParams), params.load("lung_mask", LungMaskParams)
        for uid, number in numbers.items():
            if (number == self.fold) == in_fold:
                yield from read_excerpts(self.data, uid, reading, lung_mask, readers)

    def write(self, maps: dict[str, NDArray[np.float32]]) -> None:
        """Write the predictions; the file appears only once it is complete."""
        waiting = self.maps.with_suffix(".tmp.npz")
        np.savez_compressed(waiting, **{name: probability.astype(np.float16) for name, probability in maps.items()})
        waiting.replace(self.maps)


def main() -> None:
    """Train the networks that are missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--readers", type=Path, help="outlines of the readers, laid out as --data (luna16_readers)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--segmenter", type=Path, help="show the slices to this network instead of training")
    parser.add_argument("--folds", type=Path, help="manifest.csv of the slices of pretraining: their folds are used")
    parser.add_argument("--allowed", type=float, default=0.45, help="false positives a slice, on the folds that choose")
    parser.add_argument("--hits-first", action="store_true", help="choose the points with most hits, not the best Dice")
    parser.add_argument(
        "--networks",
        nargs="+",
        default=params.load("ensemble", Ensemble, RECIPE).networks,
        help="sections of real_luna.yaml, one for each network of a fold",
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--job", nargs=3, metavar=("RECIPE", "FOLD", "NETWORK"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.job:
        recipe, fold, network = arguments.job
        job = Job(recipe, int(fold), int(network), arguments.data, arguments.out, arguments.folds)
        run(job, _of_fold(arguments.segmenter, job.fold))
        return
    _check_files(parser, arguments.data, arguments.readers)
    if not arguments.segmenter and not any(SYNTHETIC.glob("slices/subset*/*.npz")):
        parser.error(f"{SYNTHETIC / 'slices'} holds no synthetic chests to begin with: run `make repro` here first")
    networks = {GIVEN: [GIVEN]} if arguments.segmenter else {TUTORIAL: [TUTORIAL], "millimetre": arguments.networks}
    jobs = {
        ensemble: [
            Job(recipe, fold, network, arguments.data, arguments.out, arguments.folds)
            for network, recipe in enumerate(members)
            for fold in range(FOLDS)
        ]
        for ensemble, members in networks.items()
    }
    if arguments.segmenter:
        _run_missing(jobs[GIVEN], arguments.processes)
    else:
        _run_missing([Job(START, 0, 0, arguments.data, arguments.out)], arguments.processes)
        _run_missing([*jobs["millimetre"], *jobs[TUTORIAL]], arguments.processes)
    excerpts = [
        list(job.excerpts(in_fold=True, readers=arguments.readers)) for job in next(iter(jobs.values()))[:FOLDS]
    ]
    for recipe in jobs:
        report(recipe, jobs[recipe], excerpts, arguments.allowed, arguments.out, hits_first=arguments.hits_first)


def _check_files(parser: argparse.ArgumentParser, data: Path, readers: Path | None) -> None:
    """End with a message before anything is trained, if series or outlines are missing."""
    try:
        files = series(data)
    except ScanError as error:
        parser.error(str(error))
    if len(files) < FOLDS:
        parser.error(f"{data}: {FOLDS} folds need at least as many annotated series, found {len(files)}")
    if readers:
        missing = [name for name in (readers_file(readers, file) for file in files.values()) if not name.is_file()]
        if missing:
            parser.error(f"{missing[0]}: no such file; {len(missing)} of {len(files)} series have no readers' outlines")


def _pretraining_folds(manifest: Path, uids: Sequence[str]) -> dict[str, int]:
    table = pd.read_csv(manifest)
    known = dict(zip(table["scan"].str.removeprefix("excerpts-"), table["fold"].tolist(), strict=True))
    return {uid: known[uid] for uid in uids}


def _of_fold(segmenter: Path | None, fold: int) -> Path | None:
    return Path(str(segmenter).replace("{fold}", str(fold))) if segmenter else None


def run(job: Job, segmenter: Path | None) -> None:
    """Train the network of one job, unless one is given, and write its predictions for the job's fold."""
    if job.recipe == TUTORIAL:
        job.write(_tutorial(job))
        return
    from millimetre_recipe import Recipe
    from nodules.models.unet.segmenter import Segmenter

    recipe, epochs = Recipe(RECIPE), job.epochs
    if job.recipe == START:
        recipe.train(START, list(recipe.of_pipeline(SYNTHETIC)), job.seed, epochs).save(job.segmenter)
    elif job.recipe != GIVEN:
        slices = [recipe.of_excerpt(excerpt) for excerpt in job.excerpts(in_fold=False)]
        slices += islice(recipe.of_pipeline(SYNTHETIC), recipe.mixture.synthetic_scans)
        recipe.train(job.recipe, slices, job.seed, epochs, job.out / "start-0-0").save(job.segmenter)
    loaded = Segmenter.load(segmenter or job.segmenter)
    job.write({excerpt.name: predict(loaded, excerpt) for excerpt in job.excerpts(in_fold=True)})
    if epochs.exists():
        shutil.rmtree(epochs)


def _tutorial(job: Job) -> dict[str, NDArray[np.float32]]:
    import tutorial_recipe

    images, masks = tutorial_recipe.training_set(list(job.excerpts(in_fold=False)))
    network = tutorial_recipe.train(images, masks, TUTORIAL_EPOCHS, job.seed)
    return {
        excerpt.name: tutorial_recipe.predict(network, excerpt.scan.voxels_zyx[excerpt.middle])
        for excerpt in job.excerpts(in_fold=True)
    }


def predict(segmenter: Segmenter, excerpt: Excerpt) -> NDArray[np.float32]:
    """Predict the probability on the pixels of the excerpt's middle slice."""
    region = extract(excerpt.scan, excerpt.lungs.voxels_zyx, segmenter.roi)
    first = round(float(excerpt.scan.world_to_voxel(region.scan.origin_xyz_mm)[0]))
    probability = np.zeros(excerpt.scan.shape_zyx[1:], dtype=np.float32)
    row = excerpt.middle - first
    if 0 <= row < region.scan.shape_zyx[0]:
        answer = segmenter.predict(region)[row : row + 1]
        probability[...] = resample_slices(answer, region.scan, excerpt.scan)[0]
    return probability


def report(
    recipe: str,
    jobs: list[Job],
    excerpts: list[list[Excerpt]],
    allowed_false_positives: float,
    out: Path,
    *,
    hits_first: bool,
) -> None:
    """Print the table of one recipe and draw a sheet; each fold is scored with settings chosen on the other folds.

    `excerpts` holds those of each fold. The probability maps of a fold's networks are averaged.
    """
    images, names, fold_of = [], [], []
    for fold in range(FOLDS):
        maps = [np.load(job.maps) for job in jobs if job.fold == fold]
        for excerpt in excerpts[fold]:
            mean = np.mean([answers[excerpt.name] for answers in maps], axis=0, dtype=np.float32)
            images.append(_slice(excerpt, mean))
            names.append(excerpt.seriesuid)
            fold_of.append(fold)
    figures, parts = score_operating_points(images, POINTS), []
    for fold in range(FOLDS):
        others = [index for index, its_fold in enumerate(fold_of) if its_fold != fold]
        point = choose_operating_point(POINTS, figures[:, others], allowed_false_positives, hits_first=hits_first)
        mine = [index for index, its_fold in enumerate(fold_of) if its_fold == fold]
        rows = score_slices([images[index] for index in mine], point).assign(
            seriesuid=[names[index] for index in mine], fold=fold, image=mine, **vars(point)
        )
        print(f"{recipe}, fold {fold}: {point}")
        parts.append(rows)
    rows = pd.concat(parts, ignore_index=True)
    rows.to_csv(out / f"{recipe}.csv", index=False)
    low, high = dice_interval(rows, rows["seriesuid"].tolist())
    print(f"\n{recipe} (mean Dice, 95 % by patient: {low:.2f}-{high:.2f})\n\n{_markdown(scores_by_diameter(rows))}\n")
    save_figure(sheet([images[index] for index in rows["image"]], rows), out / f"{recipe}.png")
    shown = [excerpt for in_fold in excerpts for excerpt in in_fold]
    if shown[0].readers_zyx is not None:
        outlined = _against_outlines(rows, images, shown)
        outlined.to_csv(out / f"{recipe}_readers.csv", index=False)
        print(_readers_table(recipe, outlined))


def _against_outlines(rows: pd.DataFrame, images: list[PredictedSlice], excerpts: list[Excerpt]) -> pd.DataFrame:
    """Score the slices again, at the same operating points, against what most readers outlined."""
    references = [
        replace(image, truth_yx=excerpt.outlined_yx()) for image, excerpt in zip(images, excerpts, strict=True)
    ]
    scored = [score_slices([references[row["image"]]], point_of(row)) for _, row in rows.iterrows()]
    kept = rows[["seriesuid", "fold", "image"]]
    return pd.concat([pd.concat(scored, ignore_index=True), kept], axis=1)


def _readers_table(recipe: str, rows: pd.DataFrame) -> str:
    patients, of_nodules = rows["seriesuid"].tolist(), rows["nodule_dice"]
    low, high = dice_interval(rows, patients)
    nodule_low, nodule_high = dice_interval(rows.assign(dice=of_nodules), patients)
    return (
        f"{recipe}, readers' outlines (mean Dice, 95 % by patient: {low:.2f}-{high:.2f}; mean Dice of a nodule, 0 if "
        f"missed: {of_nodules.mean():.3f}, {nodule_low:.2f}-{nodule_high:.2f})\n\n"
        f"{_markdown(scores_by_diameter(rows))}\n"
    )


def _slice(excerpt: Excerpt, probability_yx: NDArray[np.float32]) -> PredictedSlice:
    return PredictedSlice(
        hu_yx=excerpt.scan.voxels_zyx[excerpt.middle],
        probability_yx=probability_yx,
        truth_yx=excerpt.truth_yx(),
        lungs_yx=excerpt.lungs.voxels_zyx[excerpt.middle] > 0,
        pixel_mm2=float(np.prod(excerpt.scan.spacing_zyx_mm[1:])),
        diameter_mm=excerpt.nodules[0].diameter_mm,
        spared_yx=excerpt.marked_yx(),
    )


def _markdown(means: pd.DataFrame) -> str:
    head = "| | " + " | ".join(means.columns) + " |"
    rows = [
        f"| {name} | {row['slices']:.0f} | " + " | ".join(f"{value:.3f}" for value in row.iloc[1:]) + " |"
        for name, row in means.iterrows()
    ]
    return "\n".join([head, "| --- |" + " ---: |" * len(means.columns), *rows])


def _run_missing(jobs: list[Job], processes: int) -> None:
    with ThreadPoolExecutor(processes) as pool:
        list(pool.map(_in_process_of_its_own, [job for job in jobs if not job.maps.exists()]))


def _in_process_of_its_own(job: Job) -> None:
    command = [sys.executable, *sys.argv, "--job", job.recipe, str(job.fold), str(job.network)]
    count = START_THREADS if job.recipe == START else FOLD_THREADS
    threads = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"), str(count))
    environment = os.environ | threads | {"TF_NUM_INTEROP_THREADS": "1"}
    with (job.out / f"{job.name}.log").open("w") as log:
        subprocess.run(command, check=True, env=environment, stdout=log, stderr=subprocess.STDOUT)


if __name__ == "__main__":
    main()
