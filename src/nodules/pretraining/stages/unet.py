"""Train the U-Net on real nodules of all folds but one, or of all."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from nodules import params, progress
from nodules.checkpoint import work_folder
from nodules.imaging.network_input.lung_roi import LungRoiParams
from nodules.imaging.network_input.slice_context import ContextParams
from nodules.models.unet import training
from nodules.models.unet.sampling import MixedSampler, PatchSampler
from nodules.models.unet.segmenter import Segmenter, SegmenterParams, SegmenterSettings
from nodules.models.unet.training_slices import SliceSet
from nodules.pretraining.folds import ALL, Fold
from nodules.pretraining.settings import SourcesParams
from nodules.stages.shared import command
from nodules.stages.shared.settings import RunParams
from nodules.tracking.stage import stage_run


def main(*, slices: Path, fold: Fold, output: Path) -> None:
    """Write the segmenter that has not seen the patients of this fold; for the fold `all` it has seen everybody."""
    run, settings = params.load("run", RunParams), params.load("unet", training.TrainingParams)
    roi, context = params.load("lung_roi", LungRoiParams), params.load("context", ContextParams)
    inference, sources = params.load("segmenter", SegmenterParams), params.load("sources", SourcesParams)
    manifest = pd.read_csv(slices / "manifest.csv", dtype={"fold": str})
    shown = manifest[manifest["fold"] != fold] if fold != ALL else manifest
    sampler = _sampler(slices, shown, sources, settings, roi)
    work = work_folder(f"pretrain_unet-{fold}", (settings, sources, roi, context, run.seed, slices))
    used = {"unet": settings, "sources": sources, "lung_roi": roi, "context": context, "segmenter": inference}
    with stage_run(f"pretrain_unet@{fold}", used) as stage:
        with progress.epochs(f"pretrain_unet@{fold}", settings.epochs, stage.log_epoch) as log_epoch:
            network, _ = training.train(
                sampler, None, context.slices, settings, seed=run.seed, work=work, log_epoch=log_epoch
            )
        Segmenter([network], SegmenterSettings(settings.network, roi, context, inference)).save(output)
    shutil.rmtree(work)


def _sampler(
    slices: Path, shown: pd.DataFrame, sources: SourcesParams, settings: training.TrainingParams, roi: LungRoiParams
) -> MixedSampler:
    samplers, shares = [], []
    for source, drawn in vars(sources).items():
        sets = _sets(slices / source, shown["scan"][shown["source"] == source].tolist())
        if sets and drawn.share > 0:
            sampling = replace(settings.sampling, nodule_share=drawn.nodule_share, hard_share=drawn.hard_share)
            samplers.append(PatchSampler(sets, sampling, roi))
            shares.append(drawn.share)
    return MixedSampler(samplers, [share / sum(shares) for share in shares])


def _sets(folder: Path, scans: Sequence[str]) -> list[SliceSet]:
    """The slices of these series; a row of the manifest is named after its source and its series."""
    names = [scan.removeprefix(f"{folder.name}-") for scan in scans]
    return [SliceSet.load(file.parent) for name in names for file in sorted((folder / name).glob("*/hu.npy"))]


if __name__ == "__main__":
    command.run(main)
