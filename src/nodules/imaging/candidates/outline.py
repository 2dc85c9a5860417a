"""Outlines and measurements of the nodule candidates in a probability map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from nodules.imaging.candidates.probability_map import Segmentation
from nodules.imaging.candidates.proposals import CandidateParams, Proposals, Scorer, propose, score, unet_scorer
from nodules.imaging.candidates.shape import SHELL_MM, solid_share, sphericity, spiculation
from nodules.imaging.candidates.watershed import heaviest_component
from nodules.imaging.geometry.spheres import ball_diameter_mm
from nodules.imaging.lungs.position import LungFrame

CANDIDATE_COLUMNS = [
    "label",
    "x_mm",
    "y_mm",
    "z_mm",
    "diameter_mm",
    "volume_mm3",
    "probability",
    "mean_probability",
    "max_probability",
    "mean_hu",
    "sd_hu",
    "solid_share",
    "sphericity",
    "spiculation",
    "pleura_mm",
    "lung",
    "relative_height",
    "relative_x",
    "relative_y",
]


@dataclass(frozen=True)
class SegmentationSettings:
    """Settings of the outlines, chosen by tuning on the validation scans.

    Attributes
    ----------
    threshold : float
        The outline of a nodule contains its voxels with at least this share of its peak probability. It is relative
        to the peak, because the centre of a faint nodule may be no more probable than the edge of an obvious one.
    dilation_mm : float
        Voxels up to this distance outside the lungs still count, for nodules that touch the pleura.
    min_probability : float
        Lowest probability from the scorer at which a proposal becomes a candidate.
    """

    threshold: float
    dilation_mm: float
    min_probability: float = 0.0


@dataclass(frozen=True)
class Candidates:
    """Candidates found in one scan.

    Attributes
    ----------
    labels_zyx : (Z, Y, X) ndarray of int32
        0 background, otherwise the candidate's `label`.
    table : DataFrame
        One row per candidate, most probable first, with the columns `CANDIDATE_COLUMNS`: label of its proposal;
        centre in world mm; volume-equivalent diameter and volume; probability from the scorer; mean and maximum of the
        probability map; mean and standard deviation of HU; share of solid voxels, sphericity and spiculation
        (`shape`); distance to the lung surface (0 if the candidate touches it or extends beyond it); lung (1 right,
        2 left, 0 neither); height between the lowest (0) and highest (1) slice of the lungs; position in the lungs'
        bounding box from the patient's right (0) to the left (1) and from front (0) to back (1).
    """

    labels_zyx: NDArray[np.int32]
    table: pd.DataFrame


def find_candidates(
    segmentation: Segmentation,
    settings: SegmentationSettings,
    params: CandidateParams,
    scorer: Scorer = unet_scorer,
) -> Candidates:
    """Propose, score, outline and measure the candidates of one scan.

    Raises
    ------
    ValueError
        If the scorer does not return one number in [0, 1] per proposal.
    """
    proposals = propose(segmentation, params)
    return outline(segmentation, proposals, score(segmentation, proposals, scorer), settings, params)


def outline(
    segmentation: Segmentation,
    proposals: Proposals,
    probabilities: NDArray[np.float64],
    settings: SegmentationSettings,
    params: CandidateParams,
) -> Candidates:
    """Outline and measure proposals; keep those with sufficient probability and a sufficient size of the outline.

    Parameters
    ----------
    proposals : Proposals
        Proposals of the same segmentation.
    probabilities : (n,) ndarray
        One probability per proposal, in the order of the table.
    """
    lungs = LungFrame(segmentation.lungs_zyx, segmentation.scan.spacing_zyx_mm)
    min_voxels = params.min_voxels(segmentation.scan.voxel_mm3)
    boxes = ndimage.find_objects(proposals.labels_zyx)
    labels, rows = np.zeros_like(proposals.labels_zyx), []
    for label, probability, peak in _probable(proposals, probabilities, settings.min_probability):
        box = boxes[label - 1]
        inside = proposals.labels_zyx[box] == label
        corner = np.array([part.start for part in box])
        level = np.float32(settings.threshold * peak)
        voxels = _outlined(segmentation.probability_zyx[box], inside, corner, level, settings.dilation_mm, lungs)
        if len(voxels) and len(voxels) >= min_voxels:
            labels[tuple(voxels.T)] = label
            margin = _spiculation(voxels, label, segmentation, proposals)
            measured = _measure(voxels, segmentation, lungs)
            rows.append({"label": label, "probability": probability, "spiculation": margin} | measured)
    table = pd.DataFrame(rows, columns=CANDIDATE_COLUMNS)
    table = table.sort_values(["probability", "volume_mm3", "label"], ascending=[False, False, True], ignore_index=True)
    return Candidates(labels, table)


def _probable(
    proposals: Proposals, probabilities: NDArray[np.float64], min_probability: float
) -> Iterator[tuple[int, float, float]]:
    """Yield label, probability and peak of the map for each sufficiently probable proposal."""
    table = proposals.table
    for label, probability, peak in zip(table["label"], probabilities, table["max_probability"], strict=True):
        if probability >= min_probability:
            yield int(label), float(probability), float(peak)


def _outlined(
    probability_zyx: NDArray[np.float32],
    inside: NDArray[np.bool_],
    corner_zyx: NDArray[np.int64],
    level: np.float32,
    dilation_mm: float,
    lungs: LungFrame,
) -> NDArray[np.int64]:
    """Voxels (N, 3) of the outline: the main component above `level` and within `dilation_mm` of the lungs."""
    strong = inside & (probability_zyx >= level)
    voxels = np.argwhere(strong)
    strong[tuple(voxels.T)] = lungs.within(voxels + corner_zyx, dilation_mm)
    if not strong.any():
        return np.empty((0, 3), dtype=np.int64)
    return np.argwhere(heaviest_component(strong, probability_zyx)) + corner_zyx


def _measure(voxels: NDArray[np.int64], segmentation: Segmentation, lungs: LungFrame) -> dict[str, float]:
    scan, place = segmentation.scan, tuple(voxels.T)
    probability = segmentation.probability_zyx[place].astype(np.float64)
    hu = scan.voxels_zyx[place].astype(np.float64)
    centre = np.average(voxels, axis=0, weights=probability)
    x_mm, y_mm, z_mm = (float(value) for value in scan.voxel_to_world(centre))
    volume_mm3 = len(voxels) * scan.voxel_mm3
    mask = np.zeros(np.ptp(voxels, axis=0) + 1, dtype=bool)
    mask[tuple((voxels - voxels.min(axis=0)).T)] = True
    sides = np.bincount(segmentation.lungs_zyx[place], minlength=3)[1:3]
    z, y, x = (float(value) for value in centre)
    return {
        "x_mm": x_mm,
        "y_mm": y_mm,
        "z_mm": z_mm,
        "diameter_mm": ball_diameter_mm(volume_mm3),
        "volume_mm3": volume_mm3,
        "mean_probability": probability.mean(),
        "max_probability": probability.max(),
        "mean_hu": hu.mean(),
        "sd_hu": hu.std(),
        "solid_share": solid_share(hu),
        "sphericity": sphericity(mask, scan.spacing_zyx_mm),
        "pleura_mm": lungs.pleura_mm(voxels),
        "lung": int(np.argmax(sides)) + 1 if sides.any() else 0,
        "relative_height": lungs.relative_height(z),
        "relative_x": lungs.relative_x(x),
        "relative_y": lungs.relative_y(y),
    }


def _spiculation(voxels: NDArray[np.int64], label: int, segmentation: Segmentation, proposals: Proposals) -> float:
    """Spiculation of one candidate, from the surrounding lung that belongs to no other proposal."""
    scan = segmentation.scan
    reach = np.ceil(SHELL_MM[1] / np.asarray(scan.spacing_zyx_mm)).astype(int)
    first = np.maximum(voxels.min(axis=0) - reach, 0)
    box = tuple(slice(a, b) for a, b in zip(first, voxels.max(axis=0) + reach + 1, strict=True))
    nodule = np.zeros_like(proposals.labels_zyx[box], dtype=bool)
    nodule[tuple((voxels - first).T)] = True
    own = np.isin(proposals.labels_zyx[box], (0, label))
    lung = (segmentation.lungs_zyx[box] > 0) & own
    return spiculation(scan.voxels_zyx[box], nodule, lung, scan.spacing_zyx_mm)
