"""From a map of nodule probability to separate nodules in millimetres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pandas as pd
from annotated_types import Ge
from numpy.typing import NDArray
from scipy import ndimage

from nodules.imaging.lung_mask import dilate_mm
from nodules.imaging.volume import AIR_HU, Volume

RESPONSE_FLOOR = 0.02  # below any useful threshold: HU are kept only where the network answers at least this much

CANDIDATE_COLUMNS = [
    "label",
    "x_mm",
    "y_mm",
    "z_mm",
    "diameter_mm",
    "volume_mm3",
    "probability",
    "max_probability",
    "mean_hu",
    "sd_hu",
    "lung",
    "relative_height",
]


@dataclass(frozen=True)
class CandidateParams:
    """What counts as a nodule.

    Attributes
    ----------
    min_diameter_mm : float
        Smallest volume-equivalent diameter; the LUNA16 reference standard begins at 3 mm.
    """

    min_diameter_mm: Annotated[float, Ge(0)]


@dataclass(frozen=True)
class SegmentationSettings:
    """The tuned values.

    Attributes
    ----------
    threshold : float
        Lowest probability of a nodule voxel.
    dilation_mm : float
        Voxels this far outside the lungs still count, for nodules that touch the pleura.
    min_probability : float
        Lowest mean probability of a nodule. A nodule's edge may be doubtful where its middle is not; a vessel that the
        network half believes in is doubtful throughout.
    """

    threshold: float
    dilation_mm: float
    min_probability: float = 0.0


@dataclass(frozen=True)
class Candidates:
    """What was found in one scan.

    Attributes
    ----------
    labels_zyx : (Z, Y, X) ndarray of int32
        0 background, otherwise the candidate's `label`.
    table : DataFrame
        One row a candidate, most probable first, columns `CANDIDATE_COLUMNS`: centre in world mm,
        volume-equivalent diameter, volume, mean and largest probability, mean and SD of HU, lung (1 right, 2 left,
        0 between) and height between the lungs' lowest (0) and highest (1) slice.
    """

    labels_zyx: NDArray[np.int32]
    table: pd.DataFrame


@dataclass(frozen=True)
class Segmentation:
    """What the network answered for one scan, on the region's grid.

    Attributes
    ----------
    scan : Volume
        int16 HU, at least where the network answers (`responding_hu`).
    lungs_zyx : (Z, Y, X) ndarray of uint8
        Lung labels.
    probability_zyx : (Z, Y, X) ndarray of float32
        Values in [0, 1].
    """

    scan: Volume
    lungs_zyx: NDArray[np.uint8]
    probability_zyx: NDArray[np.float32]


def responding_hu(hu_zyx: NDArray[np.int16], probability_zyx: NDArray[np.float32]) -> NDArray[np.int16]:
    """HU where the network answers at all, air elsewhere: all that candidates need, and small when compressed."""
    return np.where(probability_zyx >= RESPONSE_FLOOR, hu_zyx, np.int16(AIR_HU))


def find_candidates(segmentation: Segmentation, settings: SegmentationSettings, params: CandidateParams) -> Candidates:
    """Connected parts (26 neighbours) of the thresholded map inside the dilated lungs.

    Raises
    ------
    ValueError
        If the threshold is below `RESPONSE_FLOOR`, where HU are not kept.
    """
    if settings.threshold < RESPONSE_FLOOR:
        raise ValueError(f"threshold must be at least {RESPONSE_FLOOR}, got {settings.threshold}")
    scan = segmentation.scan
    within = dilate_mm(segmentation.lungs_zyx > 0, scan.spacing_zyx_mm, settings.dilation_mm)
    foreground = (segmentation.probability_zyx >= settings.threshold) & within
    labels = np.zeros(foreground.shape, dtype=np.int32)
    count = ndimage.label(foreground, structure=np.ones((3, 3, 3)), output=labels)
    voxels = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    weights = np.bincount(labels.ravel(), segmentation.probability_zyx.ravel(), minlength=count + 1)[1:]
    large = voxels * scan.voxel_mm3 >= np.pi / 6 * params.min_diameter_mm**3
    kept = np.flatnonzero(large & (weights >= settings.min_probability * voxels)) + 1
    height = _lung_height(segmentation.lungs_zyx)
    rows = [_measure(int(label), box, labels, segmentation, height) for label, box in _boxes(labels, kept)]
    table = pd.DataFrame(rows, columns=CANDIDATE_COLUMNS)
    table = table.sort_values(["probability", "volume_mm3", "label"], ascending=[False, False, True], ignore_index=True)
    labels[~np.isin(labels, kept)] = 0
    return Candidates(labels, table)


def _boxes(labels_zyx: NDArray[np.int32], kept: NDArray[np.int64]) -> list[tuple[np.int64, tuple[slice, slice, slice]]]:
    objects = ndimage.find_objects(labels_zyx)
    return [(label, objects[label - 1]) for label in kept]


def _measure(
    label: int,
    box: tuple[slice, slice, slice],
    labels_zyx: NDArray[np.int32],
    segmentation: Segmentation,
    lung_height: tuple[float, float],
) -> dict[str, float]:
    scan, lungs_zyx = segmentation.scan, segmentation.lungs_zyx
    inside = labels_zyx[box] == label
    probability = segmentation.probability_zyx[box][inside].astype(np.float64)
    hu = scan.voxels_zyx[box][inside].astype(np.float64)
    corner = [part.start for part in box]
    centre_zyx = np.average(np.argwhere(inside), axis=0, weights=probability) + corner
    x_mm, y_mm, z_mm = scan.voxel_to_world(centre_zyx)
    volume_mm3 = float(inside.sum() * scan.voxel_mm3)
    sides = np.bincount(lungs_zyx[box][inside], minlength=3)[1:3]
    return {
        "label": label,
        "x_mm": x_mm,
        "y_mm": y_mm,
        "z_mm": z_mm,
        "diameter_mm": (6 * volume_mm3 / np.pi) ** (1 / 3),
        "volume_mm3": volume_mm3,
        "probability": probability.mean(),
        "max_probability": probability.max(),
        "mean_hu": hu.mean(),
        "sd_hu": hu.std(),
        "lung": int(np.argmax(sides)) + 1 if sides.any() else 0,
        "relative_height": _relative_height(float(centre_zyx[0]), *lung_height),
    }


def _lung_height(lungs_zyx: NDArray[np.uint8]) -> tuple[float, float]:
    """Lowest and highest slice with lung; equal if there are not two."""
    slices = np.flatnonzero(lungs_zyx.any(axis=(1, 2)))
    return (float(slices[0]), float(slices[-1])) if slices.size else (0.0, 0.0)


def _relative_height(centre_z: float, lowest: float, highest: float) -> float:
    return float(np.clip((centre_z - lowest) / (highest - lowest), 0, 1)) if highest > lowest else 0.5
