"""Proposals: the places in the probability map where a nodule may be, cut apart where two touch, and scored."""

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
from nodules.imaging.candidates.watershed import CORE_SHARE, NEIGHBOURS, Cut, cut_apart
from nodules.imaging.geometry.spheres import ball_diameter_mm, ball_mm3

PROPOSAL_COLUMNS = ["label", "x_mm", "y_mm", "z_mm", "diameter_mm", "mean_probability", "max_probability"]

Scorer = Callable[[Segmentation, pd.DataFrame], NDArray[np.float64]]
"""Takes a scan and `Proposals.table`, returns each proposal's probability of being a nodule, in [0, 1]."""


@dataclass(frozen=True)
class CandidateParams:
    """What may be a nodule.

    Attributes
    ----------
    min_diameter_mm : float
        Smallest volume-equivalent diameter; the LUNA16 reference standard begins at 3 mm.
    proposal_threshold : float
        Lowest probability of a voxel that may belong to a nodule; at least `RESPONSE_FLOOR`, where HU are kept.
    proposal_peak : float
        Lowest probability of a proposal's best voxel. Two thresholds find faint nodules without finding specks
        (hysteresis: Canny, IEEE PAMI 8, 1986).
    split_dynamic : float
        Touching proposals are cut apart where the map falls by at least this between two peaks.
    """

    min_diameter_mm: Annotated[float, Ge(0)]
    proposal_threshold: Annotated[float, Le(1)]
    proposal_peak: Annotated[float, Le(1)]
    split_dynamic: Annotated[float, Gt(0)]

    def __post_init__(self) -> None:
        if self.proposal_threshold < RESPONSE_FLOOR:
            raise ValueError(f"proposal_threshold must be at least {RESPONSE_FLOOR}, got {self.proposal_threshold}")
        if self.proposal_peak < self.proposal_threshold:
            raise ValueError(
                f"proposal_peak must be at least the proposal_threshold {self.proposal_threshold}, "
                f"got {self.proposal_peak}"
            )

    def min_voxels(self, voxel_mm3: float) -> float:
        """Voxels of the smallest nodule."""
        return ball_mm3(self.min_diameter_mm) / voxel_mm3


@dataclass(frozen=True)
class Proposals:
    """The places in one scan.

    Attributes
    ----------
    labels_zyx : (Z, Y, X) ndarray of int32
        0 background, otherwise the proposal's `label`.
    table : DataFrame
        One row a proposal, columns `PROPOSAL_COLUMNS`, label 1 and the largest sum of probability first. All numbers
        are of its core, the voxels with at least half its peak probability: centre in world mm, weighted by
        probability, volume-equivalent diameter, mean and largest probability.
    """

    labels_zyx: NDArray[np.int32]
    table: pd.DataFrame


@dataclass(frozen=True)
class _Place:
    """One proposal: its voxels (z, y, x), row by row, and their probabilities."""

    voxels: NDArray[np.int64]
    probability: NDArray[np.float64]


def propose(segmentation: Segmentation, params: CandidateParams) -> Proposals:
    """Connected parts (26 neighbours) of the map that hold a peak, cut apart where two nodules touch.

    Each is worked out within its own box, so that neither the position of the grid nor what is cropped or padded
    changes anything. Parts smaller than the smallest nodule are left out.
    """
    labels = np.zeros(segmentation.probability_zyx.shape, dtype=np.int32)
    places = sorted(_places(segmentation, params), key=_by_evidence)
    for number, place in enumerate(places, start=1):
        labels[tuple(place.voxels.T)] = number
    rows = [_describe(number, place, segmentation) for number, place in enumerate(places, start=1)]
    return Proposals(labels, pd.DataFrame(rows, columns=PROPOSAL_COLUMNS))


def unet_scorer(segmentation: Segmentation, table: pd.DataFrame) -> NDArray[np.float64]:  # noqa: ARG001 - a Scorer
    """A nodule's edge may be doubtful where its middle is not: the mean of the U-Net's answer over the core."""
    return table["mean_probability"].to_numpy(dtype=np.float64)


def score(segmentation: Segmentation, proposals: Proposals, scorer: Scorer) -> NDArray[np.float64]:
    """Probability of each proposal; without any the scorer is not asked.

    Raises
    ------
    ValueError
        If the scorer does not answer one number in [0, 1] for each.
    """
    wanted = len(proposals.table)
    if not wanted:
        return np.empty(0)
    answer = np.asarray(scorer(segmentation, proposals.table), dtype=np.float64)
    if answer.shape != (wanted,) or not ((answer >= 0) & (answer <= 1)).all():
        raise ValueError(f"a scorer must give {wanted} probabilities in [0, 1], one a proposal, got {answer}")
    return answer


def _places(segmentation: Segmentation, params: CandidateParams) -> Iterator[_Place]:
    grid, probability = segmentation.scan, segmentation.probability_zyx
    cut = Cut(params.split_dynamic, params.proposal_peak, params.min_voxels(grid.voxel_mm3))
    components, held = _components(probability, params, cut.min_voxels)
    boxes = ndimage.find_objects(components)
    for component in held:
        box = boxes[component - 1]
        parts = cut_apart(probability[box], components[box] == component, grid.spacing_zyx_mm, cut)
        for number in range(1, parts.max() + 1):
            voxels = np.argwhere(parts == number)
            values = probability[box][tuple(voxels.T)].astype(np.float64)
            if values.max() >= np.float32(params.proposal_peak):
                yield _Place(voxels + [part.start for part in box], values)


def _components(
    probability_zyx: NDArray[np.float32], params: CandidateParams, min_voxels: float
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Label the map's connected parts; which of them hold a peak and are large enough."""
    labels = np.zeros(probability_zyx.shape, dtype=np.int32)
    mask = probability_zyx >= params.proposal_threshold
    count = ndimage.label(mask, structure=NEIGHBOURS, output=labels)
    of_voxel, values = labels[mask], probability_zyx[mask]
    sizes = np.bincount(of_voxel, minlength=count + 1)
    peaks = np.bincount(of_voxel[values >= params.proposal_peak], minlength=count + 1)
    return labels, np.flatnonzero((peaks > 0) & (sizes >= min_voxels))


def _by_evidence(place: _Place) -> tuple[float, tuple[int, ...]]:
    # Rounded, so that the order of summing does not decide between equals: then the first voxel does.
    return -round(float(place.probability.sum()), 6), tuple(place.voxels[0].tolist())


def _describe(label: int, place: _Place, segmentation: Segmentation) -> dict[str, float]:
    core = place.probability >= CORE_SHARE * place.probability.max()
    probability = place.probability[core]
    centre_zyx = np.average(place.voxels[core], axis=0, weights=probability)
    x_mm, y_mm, z_mm = (float(place) for place in segmentation.scan.voxel_to_world(centre_zyx))
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


@dataclass(frozen=True)
class ScoredProposals:
    """What was proposed in one scan, kept as the few voxels that belong to something.

    Attributes
    ----------
    params : CandidateParams
        What it was proposed by.
    shape_zyx : tuple of int
        Of the scan.
    places : (n,) ndarray of int64
        The voxels of all proposals, as places in the flattened scan.
    labels : (n,) ndarray of int32
        The proposal of each.
    table : DataFrame
        `Proposals.table`.
    probabilities : (m,) ndarray of float64
        From the scorer, one a row of the table.
    """

    params: CandidateParams
    shape_zyx: tuple[int, ...]
    places: NDArray[np.int64]
    labels: NDArray[np.int32]
    table: pd.DataFrame
    probabilities: NDArray[np.float64]

    def proposals(self) -> Proposals:
        """The proposals as they were made."""
        labels = np.zeros(self.shape_zyx, dtype=np.int32)
        labels.flat[self.places] = self.labels
        return Proposals(labels, self.table)


def score_proposals(segmentation: Segmentation, params: CandidateParams, scorer: Scorer) -> ScoredProposals:
    """Propose, and let the scorer score_proposals.

    Raises
    ------
    ValueError
        If the scorer does not answer one number in [0, 1] for each proposal.
    """
    proposals = propose(segmentation, params)
    places = np.flatnonzero(proposals.labels_zyx)
    return ScoredProposals(
        params=params,
        shape_zyx=proposals.labels_zyx.shape,
        places=places,
        labels=proposals.labels_zyx.ravel()[places],
        table=proposals.table,
        probabilities=score(segmentation, proposals, scorer),
    )
