"""How well predicted voxels cover the nodules of a reference: hard Dice per nodule and pooled, panoptic quality."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nodules.imaging.geometry.spheres import DIAMETER_STRATA_MM


@dataclass(frozen=True)
class NoduleScore:
    """One reference nodule and the predicted components that count for it (`score_nodules`).

    Attributes
    ----------
    number : int
        The nodule's label in the reference, from 1.
    diameter_mm : float
        Its annotated diameter.
    dice : float
        Hard Dice of the reference and the union of these components; 0 without overlap.
    hit : bool
        Whether at least one voxel is shared.
    reference_voxels, predicted_voxels, overlap_voxels : int
        Sizes behind the Dice. No reference voxels means that the nodule lies off the grid: it is listed but counts
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
    """Score each nodule against the union of the predicted components that count for it.

    A component counts for the nodule with which it shares most voxels. Nodules that touch are thus not held to account
    for the voxels by which a neighbour's outline crosses their border. A nodule that gets no component so, but is
    touched, has all that touch it: one that covers two nodules counts, whole, for both.

    Parameters
    ----------
    reference_labels_zyx : (Z, Y, X) int ndarray
        0 is background, k the voxels of nodule k.
    diameters_mm : sequence of float
        Annotated diameters, nodule 1 first.
    predicted_components_zyx : (Z, Y, X) int ndarray
        0 is background, every other value one component.

    Returns
    -------
    list of NoduleScore
        One per diameter, in order; a nodule without reference voxels is in it with ``reference_voxels`` 0.

    Raises
    ------
    ValueError
        If the shapes differ, or the arrays are not whole non-negative numbers, or a label has no diameter.
    """
    _require_labels(reference_labels_zyx, predicted_components_zyx)
    largest = int(reference_labels_zyx.max(initial=0))
    if largest > len(diameters_mm):
        raise ValueError(f"every reference label needs a diameter, got label {largest}, {len(diameters_mm)} diameters")
    references = _voxels(reference_labels_zyx, minlength=len(diameters_mm) + 1)
    sizes = _voxels(predicted_components_zyx)
    shared = _shared_voxels(reference_labels_zyx, predicted_components_zyx)
    counted = _counted(shared)
    scores = []
    for number, diameter_mm in enumerate(diameters_mm, start=1):
        components = counted.get(number, [])
        reference, predicted = int(references[number]), int(sizes[components].sum())
        overlap = sum(shared[number, component] for component in components)
        value = _dice_of_sizes(reference, predicted, overlap) if overlap else 0.0
        scores.append(NoduleScore(number, float(diameter_mm), value, overlap > 0, reference, predicted, overlap))
    return scores


def false_positive_components(reference_labels_zyx: NDArray[Any], predicted_components_zyx: NDArray[Any]) -> int:
    """Count the predicted components that touch no nodule of the reference."""
    _require_labels(reference_labels_zyx, predicted_components_zyx)
    components = np.unique(predicted_components_zyx[predicted_components_zyx > 0])
    touching = np.unique(predicted_components_zyx[reference_labels_zyx > 0])
    return int(np.setdiff1d(components, touching).size)


def pooled_dice(scores: Iterable[NoduleScore], predicted_voxels: int) -> float:
    """Dice of all voxels of all scans taken together, false positives included.

    Parameters
    ----------
    scores : iterable of NoduleScore
        The nodules of all scans.
    predicted_voxels : int
        All predicted voxels of the same scans, those that touch no nodule included.
    """
    scores = list(scores)
    overlap = sum(score.overlap_voxels for score in scores)
    if predicted_voxels < overlap:
        raise ValueError(
            f"predicted_voxels must hold at least the {overlap} overlapping voxels, got {predicted_voxels}"
        )
    return _dice_of_sizes(sum(score.reference_voxels for score in scores), predicted_voxels, overlap)


def summary(scores: Iterable[NoduleScore], predicted_voxels: int) -> dict[str, float]:
    """Figures over the nodules of all scans, together and by diameter.

    Returns
    -------
    dict
        ``nodules``, ``nodules_off_grid`` and ``dice_pooled`` always; ``dice_mean``, ``dice_median`` and ``hit_rate``
        where there are nodules; the same with the number of nodules for each diameter stratum that has any.
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
    """One number for finding and outlining: sum of Dice over hits / (hits + misses / 2 + false positives / 2).

    The panoptic quality of Kirillov et al. (CVPR 2019) with Dice in place of intersection over union. It is 1 for a
    perfect answer, which includes predicting nothing where there is no nodule, and 0 when nothing was hit otherwise.

    Raises
    ------
    ValueError
        If a count is negative.
    """
    if misses < 0 or false_positives < 0:
        raise ValueError(f"misses and false_positives must not be negative, got {misses} and {false_positives}")
    weight = len(dices_of_hits) + misses / 2 + false_positives / 2
    return float(np.sum(dices_of_hits)) / weight if weight else 1.0


def _voxels(labels: NDArray[Any], minlength: int = 0) -> NDArray[np.int64]:
    """Number of voxels of each label; that of the background, most of a scan, is not counted."""
    return np.bincount(labels[labels > 0], minlength=minlength)


def _shared_voxels(reference: NDArray[Any], predicted: NDArray[Any]) -> dict[tuple[int, int], int]:
    """Number of shared voxels for each pair of a nodule and a component that has any."""
    both = (reference > 0) & (predicted > 0)
    pairs = np.stack([reference[both].astype(np.int64), predicted[both].astype(np.int64)])
    found, counts = np.unique(pairs, axis=1, return_counts=True)
    return {
        (int(nodule), int(component)): int(count) for (nodule, component), count in zip(found.T, counts, strict=True)
    }


def _counted(shared: dict[tuple[int, int], int]) -> dict[int, list[int]]:
    """The components that count for each nodule that is touched."""
    touching: dict[int, list[int]] = {}
    homes: dict[int, tuple[int, int]] = {}  # of a component: voxels shared with its nodule, and that nodule
    for (nodule, component), count in shared.items():
        touching.setdefault(nodule, []).append(component)
        if count > homes.get(component, (0, 0))[0]:  # the lower number where equal
            homes[component] = count, nodule
    at_home = {nodule: [one for one in found if homes[one][1] == nodule] for nodule, found in touching.items()}
    return {nodule: at_home[nodule] or found for nodule, found in touching.items()}


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
        raise ValueError(f"reference and prediction must share a shape, got {reference.shape} and {prediction.shape}")
    for name, labels in (("reference", reference), ("prediction", prediction)):
        if not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"the {name} must hold whole-number labels, got {labels.dtype}")
        if labels.size and labels.min() < 0:
            raise ValueError(f"the labels of the {name} must not be negative, got {labels.min()}")
