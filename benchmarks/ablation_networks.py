"""Networks of the ablation: which recipes share one, its training, and its scores on the evaluation slices."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import ablation_scans
from ablation_recipes import NETWORK, SLICES, Defects, Settings, key
from ablation_scans import REAL_FOLDS, Source
from nodules.tutorial.evaluation.slice_detection import OperatingPoint, PredictedSlice, mean_soft_dice, score_slice
from nodules.tutorial.steps.roi_box import RoiBox

if TYPE_CHECKING:
    from nodules.tutorial.learning.training_arrays import ScanArrays
    from nodules.tutorial.learning.unet import TutorialUnet

LEARNT = ("z", "images", "masks", "positive")
TRAINING = NETWORK - SLICES


@dataclass(frozen=True)
class Job:
    """One network and the recipes that share it.

    Attributes
    ----------
    data : str
        "phantoms" or "real".
    fold : int
        Test fold; 0 for phantoms.
    name : str
        Hash of all inputs of the training, so equal inputs are trained once.
    defects : tuple of frozenset of str
        Defects of the recipes that share the network, one set for each different evaluation.
    """

    data: str
    fold: int
    name: str
    defects: tuple[Defects, ...]

    def folder(self, out: Path) -> Path:
        """Folder of the network."""
        return out / "networks" / self.data / self.name

    def scores(self, out: Path, defects: Defects) -> Path:
        """File of the scores of a recipe."""
        return out / "scores" / self.data / f"{self.name}-{_digest(key('answers', defects))}.csv"

    def is_done(self, out: Path) -> bool:
        """Whether all recipes that share the network have been scored."""
        return all(self.scores(out, defects).exists() for defects in self.defects)


def jobs(
    data: str, sources: Sequence[Source], wanted: Iterable[tuple[Defects, int]], settings: Settings, out: Path
) -> list[Job]:
    """Networks that the recipes need; recipes with equal inputs share one.

    Parameters
    ----------
    wanted : iterable of (frozenset of str, int)
        Defects of each recipe, and the number of folds to test it on, from the first.
    """
    indices = {source.name: ablation_scans.index(scan_file(out, data, source)) for source in sources}
    shared: dict[tuple[int, str], dict[str, Defects]] = {}
    for defects, folds in wanted:
        for fold in range(folds):
            name = _network_name(data, fold, sources, indices, defects, settings)
            shared.setdefault((fold, name), {}).setdefault(key("answers", defects), defects)
    return [Job(data, fold, name, tuple(told.values())) for (fold, name), told in shared.items()]


def scan_file(out: Path, data: str, source: Source) -> Path:
    """Path of the slices of a scan, without suffix."""
    return out / "slices" / data / source.name


def run(job: Job, sources: Sequence[Source], settings: Settings, out: Path) -> None:
    """Train a network unless it exists, and score every recipe that shares it."""
    from nodules.tutorial.learning import training
    from nodules.tutorial.learning.training_arrays import slices_by_series, split_slices
    from nodules.tutorial.learning.unet import TutorialUnet

    own = job.defects[0]
    scans = list(_learnt(job.data, sources, own, out))
    seed = settings.seed + job.fold
    part_of = {source.name: _part(job, source) for source in sources}
    named = {scan.seriesuid: part_of[scan.seriesuid.rsplit("/", 1)[0]] for scan in scans}
    rows = split_slices(scans, named, settings.unet_of(own, 1), seed)
    images, masks = (np.concatenate([getattr(scan, name) for scan in scans]) for name in ("images", "masks"))
    if not (job.folder(out) / "tutorial_unet.json").exists():
        train, validation = rows["train"], rows["validation"]
        unet, history = training.train(
            images[train],
            masks[train],
            images[validation],
            masks[validation],
            settings.unet_of(own, len(train)),
            seed,
        )
        unet.save(job.folder(out))
        history.to_csv(job.folder(out) / "history.csv", index=False)
    loaded = TutorialUnet.load(job.folder(out))
    trained_on = slices_by_series(scans, np.concatenate([rows["train"], rows["validation"]]))
    for defects in job.defects:
        unet = replace(loaded, standardised_at_test="test_images_not_standardised" not in defects)
        own_dice = mean_soft_dice(masks[rows["test"]], unet.predict(images[rows["test"]]))
        table = judge(job, unet, sources, defects, trained_on, settings, out).assign(own_dice=own_dice)
        file = job.scores(out, defects)
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".unfinished")
        table.to_csv(unfinished, index=False)
        unfinished.replace(file)


def judge(
    job: Job,
    unet: TutorialUnet,
    sources: Sequence[Source],
    defects: Defects,
    trained_on: Mapping[str, set[int]],
    settings: Settings,
    out: Path,
) -> pd.DataFrame:
    """Score the predictions for the evaluation slices on the slices' own pixels, against discs of the true diameter.

    Returns
    -------
    DataFrame
        One row per slice: seriesuid, fold and the scores of `slice_detection.score_slice`. Slices without a nodule have
        false positives only.
    """
    threshold = settings.steps.min_probability
    point, rows = OperatingPoint(threshold, threshold, 0.0), []
    by_slice = "split_by_slice" in defects
    for source in sources:
        if not by_slice and _part(job, source) != "test":
            continue
        file = scan_file(out, job.data, source)
        for number in range(parts_of(ablation_scans.index(file))):
            told = ablation_scans.arrays(file, f"truth.{number}")
            asked = ablation_scans.arrays(file, f"{key('slices', defects)}.{number}")
            learnt = trained_on.get(f"{source.name}/{number}", set())
            tested = [row for row, z in enumerate(told["z"].tolist()) if not (by_slice and z in learnt)]
            answers = unet.predict(asked["judged_images"][tested]) if tested else []
            for row, answer in zip(tested, answers, strict=True):
                shape = told["hu"][row].shape
                box = RoiBox(*map(int, asked["judged_boxes"][row]))
                seen = bool(asked["judged_seen"][row])
                restored = box.restore(answer, shape) if seen else np.zeros(shape, dtype=np.float32)
                rows.append({"seriesuid": source.name, "fold": job.fold} | _score(told, row, restored, point))
    return pd.DataFrame(rows)


def parts_of(index: Mapping[str, Any]) -> int:
    """Number of excerpts of a scan; 1 for a whole scan."""
    return sum(name.startswith("truth.") for name in index)


def _score(
    told: Mapping[str, NDArray[Any]], row: int, probability_yx: NDArray[np.float32], point: OperatingPoint
) -> dict[str, float]:
    image = PredictedSlice(
        hu_yx=told["hu"][row],
        probability_yx=probability_yx,
        truth_yx=told["truth"][row],
        lungs_yx=told["lungs"][row],
        pixel_mm2=float(told["pixel_mm2"]),
        diameter_mm=float(told["diameter_mm"][row]),
    )
    return score_slice(image, point)


def _learnt(data: str, sources: Sequence[Source], defects: Defects, out: Path) -> list[ScanArrays]:
    from nodules.tutorial.learning.training_arrays import ScanArrays

    scans = []
    for source in sources:
        file = scan_file(out, data, source)
        for number in range(parts_of(ablation_scans.index(file))):
            stored = ablation_scans.arrays(file, f"{key('slices', defects)}.{number}")
            rows = stored["positive"] if "positive_slices_only" in defects else np.ones(len(stored["z"]), dtype=bool)
            scans.append(ScanArrays(f"{source.name}/{number}", **{name: stored[name][rows] for name in LEARNT}))
    return scans


def _part(job: Job, source: Source) -> str:
    """Part of the pipeline's split for phantoms; for real series, the job's fold tests and the next one validates."""
    if job.data == "phantoms":
        return source.part
    ahead = (int(source.part) - job.fold) % REAL_FOLDS
    return {0: "test", 1: "validation"}.get(ahead, "train")


def _network_name(
    data: str,
    fold: int,
    sources: Sequence[Source],
    indices: Mapping[str, Mapping[str, Mapping[str, str]]],
    defects: Defects,
    settings: Settings,
) -> str:
    """Hash of all arrays that the training may use, and of its settings."""
    only_positive = "positive_slices_only" in defects
    told: list[Any] = [data, fold, repr(settings.unet), settings.training_steps, settings.seed]
    told.append(sorted(defects & TRAINING - {"positive_slices_only"}))
    for source in sources:
        kept = indices[source.name]
        for number in range(parts_of(kept)):
            hashes = kept[f"{key('slices', defects)}.{number}"]
            told.append([hashes[name] for name in LEARNT])
            told.append(only_positive and hashes["positive_z"] != hashes["z"])  # else there is nothing to leave out
    return _digest(json.dumps(told))


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:24]
