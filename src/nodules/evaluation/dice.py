"""Segmentation metrics of nodules: hard Dice per nodule and pooled, hit rate and panoptic quality."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nodules.imaging.geometry.spheres import DIAMETER_STRATA_MM


@dataclass(frozen=True)
class NoduleScore:
    """Scores of one reference nodule and the predicted components matched with it (`score_nodules`).

    Attributes
    ----------
    number : int
        Label of the nodule in the reference, from 1.
    diameter_mm : float
        Annotated diameter.
    dice : float
        Hard Dice of the nodule and the union of its matched components; 0 without overlap.
    hit : bool
        Whether at least one voxel is shared.
    reference_voxels, predicted_voxels, overlap_voxels : int
        Voxel counts of the Dice. A nodule with 0 reference voxels lies outside the grid; it is listed but counts
        neither as a hit nor as a miss.
    """

    number: int
    diameter_mm: float
    dice: float
    hit: bool
    reference_voxels: int
    predicted_voxels: int
    overlap_voxels: int


def score_nodules(
    reference_labels_zyx: NDArray[Any], diameters_mm: Sequence[float], predicted_components_zyx: NDArray[Any]
) -> list[NoduleScore]:
    """Score each nodule against the union of its matched components.

    A component is matched with the nodule with which it shares most voxels. The Dice of a nodule is thus not reduced
    when the component of a touching neighbour extends across the border. A nodule without a match is matched with all
    components that overlap it, so a component that covers two nodules counts in full for both.

    Parameters
    ----------
    reference_labels_zyx : (Z, Y, X) int ndarray
        0 is background, k is nodule k.
    diameters_mm : sequence of float
        Annotated diameters, starting with nodule 1.
    predicted_components_zyx : (Z, Y, X) int ndarray
        0 is background, every other value is one component.

    Returns
    -------
    list of NoduleScore
        One score per diameter, in order, including nodules with ``reference_voxels`` 0.

    Raises
    ------
    ValueError
        If the shapes differ, a label is not a non-negative integer, or a label has no diameter.
    """
    _require_labels(reference_labels_zyx, predicted_components_zyx)
    largest = int(reference_labels_zyx.max(initial=0))
    if largest > len(diameters_mm):
        raise ValueError(
            f"expected a diameter for every reference label, got label {largest}, {len(diameters_mm)} diameters"
        )
    references = _voxels(reference_labels_zyx, minlength=len(diameters_mm) + 1)
    sizes = _voxels(predicted_components_zyx)
    shared = _shared_voxels(reference_labels_zyx, predicted_components_zyx)
    matched = _matched_components(shared)
    scores = []
    for number, diameter_mm in enumerate(diameters_mm, start=1):
        components = matched.get(number, [])
        reference, predicted = int(references[number]), int(sizes[components].sum())
        overlap = sum(shared[number, component] for component in components)
        value = _dice_of_sizes(reference, predicted, overlap) if overlap else 0.0
        scores.append(NoduleScore(number, float(diameter_mm), value, overlap > 0, reference, predicted, overlap))
    return scores


def false_positive_components(reference_labels_zyx: NDArray[Any], predicted_components_zyx: NDArray[Any]) -> int:
    """Count the predicted components that overlap no nodule of the reference."""
    _require_labels(reference_labels_zyx, predicted_components_zyx)
    components = np.unique(predicted_components_zyx[predicted_components_zyx > 0])
    touching = np.unique(predicted_components_zyx[reference_labels_zyx > 0])
    return int(np.setdiff1d(components, touching).size)


def pooled_dice(scores: Iterable[NoduleScore], predicted_voxels: int) -> float:
    """Dice over the voxels of all scans together, including false positives.

    Parameters
    ----------
    scores : iterable of NoduleScore
        Scores of the nodules of all scans.
    predicted_voxels : int
        Number of predicted voxels in the same scans, including those outside nodules.

    Raises
    ------
    ValueError
        If there are fewer predicted voxels than overlapping voxels.
    """
    scores = list(scores)
    overlap = sum(score.overlap_voxels for score in scores)
    if predicted_voxels < overlap:
        raise ValueError(
            f"predicted_voxels: expected at least the {overlap} overlapping voxels, got {predicted_voxels}"
        )
    return _dice_of_sizes(sum(score.reference_voxels for score in scores), predicted_voxels, overlap)


def summary(scores: Iterable[NoduleScore], predicted_voxels: int) -> dict[str, float]:
    """Summarise the nodules of all scans, together and by diameter.

    Returns
    -------
    dict
        ``nodules``, ``nodules_off_grid`` and ``dice_pooled`` always; ``dice_mean``, ``dice_median`` and ``hit_rate``
        if there are nodules. ``nodules`` and these three also for each non-empty diameter stratum, with the name of
        the stratum appended.
    """
    scores = list(scores)
    on_grid = [score for score in scores if score.reference_voxels > 0]
    figures: dict[str, float] = {
        "nodules": len(on_grid),
        "nodules_off_grid": len(scores) - len(on_grid),
        "dice_pooled": pooled_dice(on_grid, predicted_voxels),
    }
    figures.update(_figures_of(on_grid))
    for name, (low_mm, high_mm) in DIAMETER_STRATA_MM.items():
        stratum = [score for score in on_grid if low_mm <= score.diameter_mm < high_mm]
        if stratum:
            figures[f"nodules_{name}"] = len(stratum)
            figures.update({f"{key}_{name}": value for key, value in _figures_of(stratum).items()})
    return figures


def panoptic_quality(dices_of_hits: Sequence[float], misses: int, false_positives: int) -> float:
    """Panoptic quality: sum of Dice over hits / (hits + misses / 2 + false positives / 2).

    It combines detection and segmentation quality, as defined by Kirillov et al. (CVPR 2019), with Dice in place of
    intersection over union. It is 1 for a perfect result, which includes an empty prediction if there is no nodule. It
    is 0 if there are misses or false positives but no hit.

    Raises
    ------
    ValueError
        If a count is negative.
    """
    if misses < 0 or false_positives < 0:
        raise ValueError(
            f"misses and false_positives: expected 0 or more, got negative values: {misses} and {false_positives}"
        )
    weight = len(dices_of_hits) + misses / 2 + false_positives / 2
    return float(np.sum(dices_of_hits)) / weight if weight else 1.0


def _voxels(labels: NDArray[Any], minlength: int = 0) -> NDArray[np.int64]:
    """Number of voxels of each label; the background, which is most of a scan, is not counted."""
    return np.bincount(labels[labels > 0], minlength=minlength)


def _shared_voxels(reference: NDArray[Any], predicted: NDArray[Any]) -> dict[tuple[int, int], int]:
    """Number of shared voxels of each overlapping pair of a nodule and a component."""
    both = (reference > 0) & (predicted > 0)
    pairs = np.stack([reference[both].astype(np.int64), predicted[both].astype(np.int64)])
    found, counts = np.unique(pairs, axis=1, return_counts=True)
    return {
        (int(nodule), int(component)): int(count) for (nodule, component), count in zip(found.T, counts, strict=True)
    }


def _matched_components(shared: dict[tuple[int, int], int]) -> dict[int, list[int]]:
    """Components matched with each overlapped nodule; see `score_nodules`."""
    touching: dict[int, list[int]] = {}
    best: dict[int, tuple[int, int]] = {}  # by component: voxels shared with its nodule, and that nodule
    for (nodule, component), count in shared.items():
        touching.setdefault(nodule, []).append(component)
        if count > best.get(component, (0, 0))[0]:  # ties go to the nodule with the lower number
            best[component] = count, nodule
    matched = {nodule: [one for one in found if best[one][1] == nodule] for nodule, found in touching.items()}
    return {nodule: matched[nodule] or found for nodule, found in touching.items()}


def _dice_of_sizes(reference: int, prediction: int, overlap: int) -> float:
    total = reference + prediction
    return 2.0 * overlap / total if total else 1.0


def _figures_of(scores: list[NoduleScore]) -> dict[str, float]:
    if not scores:
        return {}
    dices = [score.dice for score in scores]
    return {
        "dice_mean": float(np.mean(dices)),
        "dice_median": float(np.median(dices)),
        "hit_rate": float(np.mean([score.hit for score in scores])),
    }


def _require_labels(reference: NDArray[Any], prediction: NDArray[Any]) -> None:
    if reference.shape != prediction.shape:
        raise ValueError(
            f"expected reference and prediction of the same shape, got {reference.shape} and {prediction.shape}"
        )
    for name, labels in (("reference", reference), ("prediction", prediction)):
        if not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"{name}: expected integer labels, got {labels.dtype}")
        if labels.size and labels.min() < 0:
            raise ValueError(f"{name}: expected labels of 0 or more, got the negative label {labels.min()}")
