"""Segmentation of a scan by one trained U-Net or an ensemble: preprocessing, inference, saving and loading."""

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
        Test-time augmentation: number of flipped versions of each slice whose probabilities are averaged. 1 is the
        slice itself, 2 adds the left-right flip, and 4 adds the flips of both along the other axis. The time is
        proportional to this number.
    precision : {"float32", "mixed_float16", "mixed_bfloat16"}
        Precision of inference. It is the same on every machine, so that results differ by rounding only.
    """

    flips: Literal[1, 2, 4]
    precision: devices.Precision


@dataclass(frozen=True)
class SegmenterSettings:
    """All settings of a segmenter; only the weights are kept apart.

    Attributes
    ----------
    network : UNetParams
        Shape of every network.
    lung_roi, context : LungRoiParams, ContextParams
        Preprocessing with which the networks were trained.
    segmenter : SegmenterParams
        Settings of inference.
    """

    network: UNetParams
    lung_roi: LungRoiParams
    context: ContextParams
    segmenter: SegmenterParams


@dataclass(frozen=True)
class SegmentedScan:
    """A scan with its lungs and its nodule probability.

    Attributes
    ----------
    lungs : Volume
        uint8 labels on the scan's grid.
    segmentation : Segmentation
        Nodule probability on the grid of the lung region.
    lung_measures : mapping of str to float
        Measures of the lungs on the scan's grid.
    """

    lungs: Volume
    segmentation: Segmentation
    lung_measures: Mapping[str, float]


class Segmenter:
    """Slice-by-slice segmentation of a lung region.

    Parameters
    ----------
    networks : sequence of keras.Model
        Trained networks, as built by `network.build`; their probabilities are averaged.
    settings : SegmenterSettings
        Settings shared by all networks.
    batch_size : int
        Number of slices in one call; it limits the memory.

    Raises
    ------
    ValueError
        If there is no network.
    """

    def __init__(self, networks: Sequence[keras.Model], settings: SegmenterSettings, batch_size: int = 8) -> None:
        if not networks:
            raise ValueError("a segmenter needs at least one network, got none")
        self.networks = list(networks)
        with devices.precision_scope(settings.segmenter.precision):
            self._inference = [InferenceNetwork(network, settings.network, batch_size) for network in self.networks]
        self.settings = settings
        self.batch_size = batch_size

    @property
    def roi(self) -> LungRoiParams:
        """Settings of the lung region that `predict` takes."""
        return self.settings.lung_roi

    def predict(self, region: LungRoi) -> NDArray[np.float32]:
        """Nodule probability (Z, Y, X), rounded as in `scans.stores.segmentations`; 0 outside the visible region.

        Raises
        ------
        ValueError
            If a probability is not finite, because a training has diverged.
        """
        probability = np.zeros(region.scan.shape_zyx, dtype=np.float32)
        slices = np.flatnonzero(region.visible_zyx.any(axis=(1, 2)))
        for start in range(0, len(slices), self.batch_size):
            chosen = slices[start : start + self.batch_size]
            # The network sees whole slices, not the bounding box of the visible region. Cropping changes probabilities
            # up to 48 pixels from an edge (with a depth of 4, by 0.2 at a margin of 16 pixels), and a box with a margin
            # of 48 pixels is only 7 % smaller than the slice.
            image = network_input(region, chosen.tolist(), self.settings.lung_roi, self.settings.context)
            probability[chosen] = self._mean_probability(image)
        probability[~region.visible_zyx] = 0
        if not np.isfinite(probability).all():
            raise ValueError(
                "the U-Net predicts NaN or infinity, because its training has diverged; "
                "lower unet.learning_rate and train again"
            )
        # Rounded as on disk, so that a stored map and a new one give the same features.
        return np.rint(probability * PROBABILITY_STEPS).astype(np.float32) / np.float32(PROBABILITY_STEPS)

    def segment(self, region: LungRoi) -> Segmentation:
        """Segment a region; all HU of the region are kept.

        Raises
        ------
        ValueError
            As `predict`.
        """
        return Segmentation(region.scan, region.lungs_zyx, self.predict(region))

    def _mean_probability(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mean probability over networks and flips."""
        flips = FLIPPED_AXES[self.settings.segmenter.flips]
        total: NDArray[np.float32] = np.zeros(image.shape[:3], dtype=np.float32)
        for axes in flips:
            shown = np.flip(image, axes)
            for predict in self._inference:
                total += np.flip(predict(shown), axes)
        total /= np.float32(len(flips) * len(self._inference))
        return total

    def save(self, folder: Path) -> None:
        """Write weights and settings; the bytes depend only on the networks and their settings."""
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


def segment_region(volume: Volume, lungs: Volume, segmenter: Segmenter) -> SegmentedScan:
    """Compute the nodule probability of every slice that shows the lungs."""
    whole = segmenter.segment(extract(volume, lungs.voxels_zyx, segmenter.roi))
    grid = whole.scan
    hu = grid.with_voxels(responding_hu(grid.voxels_zyx, whole.probability_zyx, grid.spacing_zyx_mm))
    return SegmentedScan(lungs, replace(whole, scan=hu), lung_measures(volume, lungs.voxels_zyx))


def segment_excerpt(excerpt: Volume, segmenter: Segmenter) -> Segmentation:
    """Segment a cube or another excerpt of a scan (int16 HU), all of which is visible to the network."""
    return segmenter.segment(extract_everything(excerpt, segmenter.roi))


def combine(folders: Sequence[Path], flips: Literal[1, 2, 4] | None = None) -> Segmenter:
    """Combine several segmenters into one ensemble.

    Parameters
    ----------
    folders : sequence of Path
        Folders written by `Segmenter.save`; each may hold several networks.
    flips : {1, 2, 4}, optional
        Replaces the setting of the folders.

    Raises
    ------
    ValueError
        If the settings of the folders differ; the message names the first difference.
    """
    segmenters = [Segmenter.load(folder) for folder in folders]
    if flips:
        for segmenter in segmenters:
            inference = replace(segmenter.settings.segmenter, flips=flips)
            segmenter.settings = replace(segmenter.settings, segmenter=inference)
    for folder, segmenter in zip(folders, segmenters, strict=True):
        _check_settings(folders[0], asdict(segmenters[0].settings), folder, asdict(segmenter.settings))
    return Segmenter([network for segmenter in segmenters for network in segmenter.networks], segmenters[0].settings)


def initial_weights(
    folder: Path, shape: UNetParams, roi: LungRoiParams, context: ContextParams
) -> list[NDArray[np.float32]]:
    """Weights of an earlier segmenter, from which a new training starts.

    Raises
    ------
    ValueError
        If the folder does not hold exactly one network, or if its shape, region or context differs.
    """
    if not (folder / SETTINGS_FILE).is_file():
        raise ValueError(
            f"unet.start_from: expected the folder of a segmenter, but {folder} holds no {SETTINGS_FILE}; "
            "set another folder, or null to start from random weights"
        )
    earlier = Segmenter.load(folder)
    if len(earlier.networks) != 1:
        raise ValueError(f"unet.start_from: {folder}: expected one network, got {len(earlier.networks)}")
    for name, expected, found in (
        ("network", shape, earlier.settings.network),
        ("lung_roi", roi, earlier.settings.lung_roi),
        ("context", context, earlier.settings.context),
    ):
        if expected != found:
            raise ValueError(f"unet.start_from: {folder}: expected {name} {expected}, got {found}")
    return earlier.networks[0].get_weights()


def _weights_files(count: int) -> list[str]:
    return ["unet.weights.h5"] if count == 1 else [f"unet{number}.weights.h5" for number in range(count)]


def _check_settings(first: Path, expected: dict[str, Any], folder: Path, found: dict[str, Any]) -> None:
    for name, value in expected.items():
        if found[name] != value:
            raise ValueError(
                f"{folder}: {name} is {found[name]}, but {value} in {first}; it must be the same in an ensemble"
            )


def probability_of_excerpt(excerpt: Volume, segmenter: Segmenter) -> NDArray[np.float32]:
    """Segment an excerpt as `segment_excerpt` does.

    Returns
    -------
    (Z, Y, X) ndarray of float32
        Nodule probability on the excerpt's own grid.
    """
    found = segment_excerpt(excerpt, segmenter)
    return resample_slices(found.probability_zyx, found.scan, excerpt)
