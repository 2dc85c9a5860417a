"""Trained U-Nets with their preprocessing, alone or as an ensemble: a scan and its lungs in, probability out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from nodules.imaging.candidates.probability_map import Segmentation, responding_hu
from nodules.imaging.geometry.resample import resample_slices
from nodules.imaging.geometry.volume import Volume
from nodules.imaging.lungs.segment import lung_measures
from nodules.imaging.network_input.lung_roi import (
    LungRoi,
    LungRoiParams,
    extract,
    extract_everything,
    network_input,
)
from nodules.imaging.network_input.slice_context import ContextParams
from nodules.models.runtime import devices
from nodules.models.unet.inference import InferenceNetwork
from nodules.models.unet.network import UNetParams, build
from nodules.scans.stores.segmentations import PROBABILITY_STEPS

SETTINGS_FILE = "segmenter.json"
FLIPPED_AXES: dict[int, tuple[tuple[int, ...], ...]] = {1: ((),), 2: ((), (2,)), 4: ((), (2,), (1,), (1, 2))}


@dataclass(frozen=True)
class SegmenterParams:
    """The section `segmenter` of params.yaml.

    Attributes
    ----------
    flips : {1, 2, 4}
        How often every slice is shown, and the answers averaged: as it is; mirrored left-right too; mirrored in both
        directions too. The time grows in the same proportion.
    precision : {"float32", "mixed_float16", "mixed_bfloat16"}
        Precision of inference. It is the same on every machine, so that results differ by rounding only.
    """

    flips: Literal[1, 2, 4]
    precision: devices.Precision


@dataclass(frozen=True)
class SegmenterSettings:
    """All of a segmenter but its weights.

    Attributes
    ----------
    network : UNetParams
        What every network was built with.
    lung_roi, context : LungRoiParams, ContextParams
        Preprocessing that they were trained on.
    segmenter : SegmenterParams
        How they are asked.
    """

    network: UNetParams
    lung_roi: LungRoiParams
    context: ContextParams
    segmenter: SegmenterParams


class Segmenter:
    """Slice-by-slice segmentation of a lung region.

    Parameters
    ----------
    networks : sequence of keras.Model
        As built by `network.build`, with weights of their own; their answers are averaged.
    settings : SegmenterSettings
        What they have in common.
    batch_size : int
        Slices in one call; bounds the memory.

    Raises
    ------
    ValueError
        If there is no network.
    """

    def __init__(self, networks: Sequence[keras.Model], settings: SegmenterSettings, batch_size: int = 8) -> None:
        if not networks:
            raise ValueError("a segmenter needs at least one network, got none")
        self.networks = list(networks)
        with devices.computing_in(settings.segmenter.precision):
            self._asked = [InferenceNetwork(network, settings.network, batch_size) for network in self.networks]
        self.settings = settings
        self.batch_size = batch_size

    @property
    def roi(self) -> LungRoiParams:
        """Region that `predict` takes."""
        return self.settings.lung_roi

    def predict(self, region: LungRoi) -> NDArray[np.float32]:
        """Nodule probability (Z, Y, X) in the steps of `scans.stores.segmentations`; 0 where nothing is visible.

        Raises
        ------
        ValueError
            If a network answers something that is no number, as one does whose training diverged.
        """
        probability = np.zeros(region.scan.shape_zyx, dtype=np.float32)
        slices = np.flatnonzero(region.visible_zyx.any(axis=(1, 2)))
        for start in range(0, len(slices), self.batch_size):
            chosen = slices[start : start + self.batch_size]
            # Whole slices, not the box of what is visible in them: an edge is felt up to 48 pixels away (measured with
            # a depth of 4: answers differ by 0.2 at a margin of 16 pixels), and a box with so wide a margin is only 7 %
            # smaller than the slice.
            image = network_input(region, chosen.tolist(), self.settings.lung_roi, self.settings.context)
            probability[chosen] = self._mean_answer(image)
        probability[~region.visible_zyx] = 0
        if not np.isfinite(probability).all():
            raise ValueError("the network answers NaN: its training diverged; lower unet.learning_rate and train again")
        # As on disk, so that a stored map and a fresh one give the same features.
        return np.rint(probability * PROBABILITY_STEPS).astype(np.float32) / np.float32(PROBABILITY_STEPS)

    def _mean_answer(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mean over networks and flips."""
        flips = FLIPPED_AXES[self.settings.segmenter.flips]
        total: NDArray[np.float32] = np.zeros(image.shape[:3], dtype=np.float32)
        for axes in flips:
            shown = np.flip(image, axes)
            for ask in self._asked:
                total += np.flip(ask(shown), axes)
        total /= np.float32(len(flips) * len(self._asked))
        return total

    def save(self, folder: Path) -> None:
        """Write weights and settings; the same networks give the same bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        for network, name in zip(self.networks, _weights_files(len(self.networks)), strict=True):
            network.save_weights(folder / name)
        written = {"networks": len(self.networks), **asdict(self.settings)}
        (folder / SETTINGS_FILE).write_text(json.dumps(written, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Segmenter:
        """Read what `save` wrote."""
        written = json.loads((folder / SETTINGS_FILE).read_text())
        count = written.pop("networks")
        settings = TypeAdapter(SegmenterSettings).validate_python(written)
        devices.share_gpus()
        networks = []
        for name in _weights_files(count):
            network = build(settings.network, settings.context.slices)
            network.load_weights(folder / name)
            networks.append(network)
        return cls(networks, settings)


def combine(folders: Sequence[Path], flips: Literal[1, 2, 4] | None = None) -> Segmenter:
    """One segmenter with the networks of several, an ensemble.

    Parameters
    ----------
    folders : sequence of Path
        What `Segmenter.save` wrote; each may hold several networks.
    flips : {1, 2, 4}, optional
        Instead of that of the folders.

    Raises
    ------
    ValueError
        If the folders' settings are not the same, naming the first that differs.
    """
    segmenters = [Segmenter.load(folder) for folder in folders]
    if flips:
        for segmenter in segmenters:
            asking = replace(segmenter.settings.segmenter, flips=flips)
            segmenter.settings = replace(segmenter.settings, segmenter=asking)
    for folder, segmenter in zip(folders, segmenters, strict=True):
        _check_same(folders[0], asdict(segmenters[0].settings), folder, asdict(segmenter.settings))
    return Segmenter([network for segmenter in segmenters for network in segmenter.networks], segmenters[0].settings)


def weights_to_start_from(folder: Path, shape: UNetParams, context: ContextParams) -> list[NDArray[np.float32]]:
    """Weights of an earlier segmenter, for a training that goes on from them.

    Raises
    ------
    ValueError
        If the folder holds no single network, or one of another shape or context.
    """
    if not (folder / SETTINGS_FILE).is_file():
        raise ValueError(f"unet.start_from: {folder} is no segmenter: it holds no {SETTINGS_FILE}")
    earlier = Segmenter.load(folder)
    if len(earlier.networks) != 1:
        raise ValueError(f"unet.start_from: {folder} holds {len(earlier.networks)} networks, wanted one")
    for name, wanted, found in (
        ("network", shape, earlier.settings.network),
        ("context", context, earlier.settings.context),
    ):
        if wanted != found:
            raise ValueError(f"unet.start_from: {folder} was trained with {found}, wanted {name} {wanted}")
    return earlier.networks[0].get_weights()


def _weights_files(count: int) -> list[str]:
    return ["unet.weights.h5"] if count == 1 else [f"unet{number}.weights.h5" for number in range(count)]


def _check_same(first: Path, wanted: dict[str, Any], folder: Path, found: dict[str, Any]) -> None:
    for name, value in wanted.items():
        if found[name] != value:
            raise ValueError(f"{folder}: {name} is {found[name]}, but {value} in {first}; an ensemble shares it")


@dataclass(frozen=True)
class SegmentedScan:
    """A scan after the U-Net.

    Attributes
    ----------
    lungs : Volume
        uint8 labels on the scan's grid.
    segmentation : Segmentation
        The network's answer on the region's grid.
    lung_measures : mapping of str to float
        Of the lungs on the scan's grid.
    """

    lungs: Volume
    segmentation: Segmentation
    lung_measures: Mapping[str, float]


def segment_region(volume: Volume, lungs: Volume, segmenter: Segmenter) -> SegmentedScan:
    """The nodule probability of every slice that shows the lungs."""
    region = extract(volume, lungs.voxels_zyx, segmenter.roi)
    probability = segmenter.predict(region)
    hu = region.scan.with_voxels(responding_hu(region.scan.voxels_zyx, probability, region.scan.spacing_zyx_mm))
    segmentation = Segmentation(hu, region.lungs_zyx, probability)
    return SegmentedScan(lungs, segmentation, lung_measures(volume, lungs.voxels_zyx))


def probability_of_excerpt(excerpt: Volume, segmenter: Segmenter) -> NDArray[np.float32]:
    """Nodule probability (Z, Y, X) of a cube or another excerpt of a scan, on its own grid, with all of it visible.

    Parameters
    ----------
    excerpt : Volume
        int16 HU.
    """
    region = extract_everything(excerpt, segmenter.roi)
    return resample_slices(segmenter.predict(region), region.scan, excerpt)
