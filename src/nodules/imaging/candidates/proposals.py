"""Nodule proposals from a probability map: connected components, split where two nodules touch, and scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pandas as pd
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray
from scipy import ndimage

from nodules.imaging.candidates.probability_map import RESPONSE_FLOOR, Segmentation
from nodules.imaging.candidates.watershed import CORE_SHARE, NEIGHBOURS, SplitLimits, split_touching
from nodules.imaging.geometry.spheres import ball_diameter_mm, ball_mm3

PROPOSAL_COLUMNS = ["label", "x_mm", "y_mm", "z_mm", "diameter_mm", "mean_probability", "max_probability"]

Scorer = Callable[[Segmentation, pd.DataFrame], NDArray[np.float64]]
"""Takes a segmentation and `Proposals.table`; returns each proposal's probability of being a nodule, in [0, 1]."""


@dataclass(frozen=True)
class CandidateParams:
    """Thresholds for proposals.

    Attributes
    ----------
    min_diameter_mm : float
        Smallest volume-equivalent diameter; the LUNA16 reference standard begins at 3 mm.
    proposal_threshold : float
        Lowest probability of a voxel in a proposal; at least `RESPONSE_FLOOR`, because HU are kept only there.
    proposal_peak : float
        Lowest peak probability of a proposal. Two thresholds find faint nodules but reject noise (hysteresis
        thresholding: Canny, IEEE PAMI 8, 1986).
    split_dynamic : float
        Touching nodules are split where the map falls between two peaks to at least this below the lower one.
    """

    min_diameter_mm: Annotated[float, Ge(0)]
    proposal_threshold: Annotated[float, Le(1)]
    proposal_peak: Annotated[float, Le(1)]
    split_dynamic: Annotated[float, Gt(0)]

    def __post_init__(self) -> None:
        if self.proposal_threshold < RESPONSE_FLOOR:
            raise ValueError(f"proposal_threshold: expected at least {RESPONSE_FLOOR}, got {self.proposal_threshold}")
        if self.proposal_peak < self.proposal_threshold:
            raise ValueError(
                f"proposal_peak: expected at least the proposal_threshold {self.proposal_threshold}, "
                f"got {self.proposal_peak}"
            )

    def min_voxels(self, voxel_mm3: float) -> float:
        """Volume of the smallest nodule in voxels."""
        return ball_mm3(self.min_diameter_mm) / voxel_mm3


@dataclass(frozen=True)
class Proposals:
    """Proposals in one scan.

    Attributes
    ----------
    labels_zyx : (Z, Y, X) ndarray of int32
        0 background, otherwise the proposal's `label`.
    table : DataFrame
        One row per proposal with the columns `PROPOSAL_COLUMNS`, in descending order of the sum of probabilities, with
        labels from 1. All numbers describe the core, which contains the voxels with at least half the peak
        probability: centre in world mm (weighted by probability), volume-equivalent diameter, mean and maximum
        probability.
    """

    labels_zyx: NDArray[np.int32]
    table: pd.DataFrame


@dataclass(frozen=True)
class ScoredProposals:
    """Proposals of one scan with their probabilities, in sparse form.

    Attributes
    ----------
    params : CandidateParams
        Thresholds used for the proposals.
    shape_zyx : tuple of int
        Shape of the scan.
    flat_indices : (n,) ndarray of int64
        Voxels of all proposals, as indices into the flattened scan.
    labels : (n,) ndarray of int32
        Label of the proposal at each of these voxels.
    table : DataFrame
        `Proposals.table`.
    probabilities : (m,) ndarray of float64
        Probabilities from the scorer, one per row of the table.
    """

    params: CandidateParams
    shape_zyx: tuple[int, ...]
    flat_indices: NDArray[np.int64]
    labels: NDArray[np.int32]
    table: pd.DataFrame
    probabilities: NDArray[np.float64]

    def proposals(self) -> Proposals:
        """Restore the proposals with their label map."""
        labels = np.zeros(self.shape_zyx, dtype=np.int32)
        labels.flat[self.flat_indices] = self.labels
        return Proposals(labels, self.table)


@dataclass(frozen=True)
class _Region:
    """One proposal: voxels (N, 3), z first, in raster order, and their probabilities (N,)."""

    voxels: NDArray[np.int64]
    probability: NDArray[np.float64]


def propose(segmentation: Segmentation, params: CandidateParams) -> Proposals:
    """Find the connected components (26 neighbours) of the map that contain a peak; split touching nodules.

    Each component is processed within its own bounding box, so cropping or padding the scan does not change the
    result. Components smaller than the smallest nodule are dropped.
    """
    labels = np.zeros(segmentation.probability_zyx.shape, dtype=np.int32)
    regions = sorted(_find_regions(segmentation, params), key=_sort_key)
    for number, region in enumerate(regions, start=1):
        labels[tuple(region.voxels.T)] = number
    rows = [_describe(number, region, segmentation) for number, region in enumerate(regions, start=1)]
    return Proposals(labels, pd.DataFrame(rows, columns=PROPOSAL_COLUMNS))


def unet_scorer(segmentation: Segmentation, table: pd.DataFrame) -> NDArray[np.float64]:  # noqa: ARG001 - a Scorer
    """Score a proposal by the mean U-Net probability of its core, because the edge of a nodule is less certain."""
    return table["mean_probability"].to_numpy(dtype=np.float64)


def score(segmentation: Segmentation, proposals: Proposals, scorer: Scorer) -> NDArray[np.float64]:
    """Score each proposal; without proposals the scorer is not called.

    Raises
    ------
    ValueError
        If the scorer does not return one number in [0, 1] per proposal.
    """
    count = len(proposals.table)
    if not count:
        return np.empty(0)
    answer = np.asarray(scorer(segmentation, proposals.table), dtype=np.float64)
    if answer.shape != (count,) or not ((answer >= 0) & (answer <= 1)).all():
        raise ValueError(f"scorer: expected {count} probabilities in [0, 1], one per proposal, got {answer}")
    return answer


def score_proposals(segmentation: Segmentation, params: CandidateParams, scorer: Scorer) -> ScoredProposals:
    """Propose and score the proposals of one scan.

    Raises
    ------
    ValueError
        If the scorer does not return one number in [0, 1] per proposal.
    """
    proposals = propose(segmentation, params)
    flat_indices = np.flatnonzero(proposals.labels_zyx)
    return ScoredProposals(
        params=params,
        shape_zyx=proposals.labels_zyx.shape,
        flat_indices=flat_indices,
        labels=proposals.labels_zyx.ravel()[flat_indices],
        table=proposals.table,
        probabilities=score(segmentation, proposals, scorer),
    )


def _find_regions(segmentation: Segmentation, params: CandidateParams) -> Iterator[_Region]:
    grid, probability = segmentation.scan, segmentation.probability_zyx
    limits = SplitLimits(params.split_dynamic, params.proposal_peak, params.min_voxels(grid.voxel_mm3))
    components, kept = _components(probability, params, limits.min_voxels)
    boxes = ndimage.find_objects(components)
    for component in kept:
        box = boxes[component - 1]
        parts = split_touching(probability[box], components[box] == component, grid.spacing_zyx_mm, limits)
        for number in range(1, parts.max() + 1):
            voxels = np.argwhere(parts == number)
            values = probability[box][tuple(voxels.T)].astype(np.float64)
            if values.max() >= np.float32(params.proposal_peak):
                yield _Region(voxels + [part.start for part in box], values)


def _components(
    probability_zyx: NDArray[np.float32], params: CandidateParams, min_voxels: float
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Label the connected components of the map; list those that contain a peak and are large enough."""
    labels = np.zeros(probability_zyx.shape, dtype=np.int32)
    mask = probability_zyx >= params.proposal_threshold
    count = ndimage.label(mask, structure=NEIGHBOURS, output=labels)
    of_voxel, values = labels[mask], probability_zyx[mask]
    sizes = np.bincount(of_voxel, minlength=count + 1)
    peaks = np.bincount(of_voxel[values >= params.proposal_peak], minlength=count + 1)
    return labels, np.flatnonzero((peaks > 0) & (sizes >= min_voxels))


def _sort_key(region: _Region) -> tuple[float, tuple[int, ...]]:
    # Rounded, so that the order of summation does not decide between equal sums; the first voxel does.
    return -round(float(region.probability.sum()), 6), tuple(region.voxels[0].tolist())


def _describe(label: int, region: _Region, segmentation: Segmentation) -> dict[str, float]:
    core = region.probability >= CORE_SHARE * region.probability.max()
    probability = region.probability[core]
    centre_zyx = np.average(region.voxels[core], axis=0, weights=probability)
    x_mm, y_mm, z_mm = (float(value) for value in segmentation.scan.voxel_to_world(centre_zyx))
    volume_mm3 = probability.size * segmentation.scan.voxel_mm3
    return {
        "label": label,
        "x_mm": x_mm,
        "y_mm": y_mm,
        "z_mm": z_mm,
        "diameter_mm": ball_diameter_mm(volume_mm3),
        "mean_probability": probability.mean(),
        "max_probability": probability.max(),
    }
