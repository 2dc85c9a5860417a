"""Recipe of this project on excerpts, with the pipeline's slices, sampling, training and segmenter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nodules import params
from nodules.imaging.network_input.lung_roi import LungRoiParams
from nodules.imaging.network_input.slice_context import ContextParams
from nodules.models.unet import training
from nodules.models.unet.sampling import PatchSampler
from nodules.models.unet.segmenter import Segmenter, SegmenterParams, SegmenterSettings, initial_weights
from nodules.models.unet.training_slices import SliceSet, slice_set
from nodules.pretraining.excerpts import Excerpt
from nodules.scans.stores.extraction import ExtractParams, extract_slices
from nodules.scans.stores.slices import load
from nodules.scans.volume_files.reader import read_mask

# An excerpt's outer slices lack one neighbour: such inputs do not occur in the test.
MIDDLE_SLICES = ExtractParams(slices_per_nodule=1, nodule_free_slices=0)


def _say(epoch: int, numbers: dict[str, float]) -> None:
    print(f"epoch {epoch}: loss {numbers['loss']:.3f}", flush=True)


@dataclass(frozen=True)
class Mixture:
    """Number of synthetic scans in the training data."""

    synthetic_scans: int


@dataclass(frozen=True)
class Recipe:
    """Parameter file with the sections lung_roi, context, mixture and segmenter, and one or more for training."""

    file: Path

    @property
    def roi(self) -> LungRoiParams:
        """Section lung_roi: region and grid."""
        return params.load("lung_roi", LungRoiParams, self.file)

    @property
    def context(self) -> ContextParams:
        """Section context: neighbouring slices."""
        return params.load("context", ContextParams, self.file)

    @property
    def mixture(self) -> Mixture:
        """Section mixture: synthetic scans in the training data."""
        return params.load("mixture", Mixture, self.file)

    def of_excerpt(self, excerpt: Excerpt) -> SliceSet:
        """Middle slice of the excerpt's nodules with its neighbours, on the network's grid."""
        slices = extract_slices(excerpt.name, excerpt.scan, excerpt.nodules, MIDDLE_SLICES, self.context, seed=0)
        return slice_set(slices, excerpt.lungs, self.roi, self.context)

    def of_pipeline(self, luna: Path) -> Iterator[SliceSet]:
        """Slices that the pipeline has extracted to `luna`, one set per scan."""
        for file in sorted(luna.glob("slices/subset*/*.npz")):
            lungs = read_mask(luna / "lungs" / file.parent.name / f"{file.stem}.mha")
            yield slice_set(load(file), lungs, self.roi, self.context)

    def train(
        self, section: str, slices: Sequence[SliceSet], seed: int, work: Path, start_from: Path | None = None
    ) -> Segmenter:
        """Train on all slices for a fixed number of steps. Nothing is held out, so the last epoch's network is kept.

        Parameters
        ----------
        section : str
            Section of the training settings.
        work : Path
            Folder of finished epochs, from which an interrupted training resumes.
        start_from : Path, optional
            Folder of a segmenter of the same recipe whose weights training starts from.
        """
        roi, context = self.roi, self.context
        settings = params.load(section, training.TrainingParams, self.file)
        weights = initial_weights(start_from, settings.network, roi, context) if start_from else None
        sampler = PatchSampler(slices, settings.sampling, roi)
        network, _ = training.train(
            sampler, None, context.slices, settings, seed=seed, work=work, start_from=weights, log_epoch=_say
        )
        asking = params.load("segmenter", SegmenterParams, self.file)
        return Segmenter([network], SegmenterSettings(settings.network, roi, context, asking))
