"""Segmentations of cubes around single nodules against the readers' masks: hits, Dice and other findings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from nodules.evaluation.bootstrap import mean_interval
from nodules.evaluation.dice import false_positive_components, score_nodules
from nodules.imaging.candidates.watershed import NEIGHBOURS
from nodules.imaging.geometry.spheres import DIAMETER_STRATA_MM

FIGURES = ("hit", "dice", "middle_dice", "other_parts")


@dataclass(frozen=True)
class CubeScore:
    """One nodule and the predicted components (26 neighbours) in the cube around it.

    Attributes
    ----------
    hit : bool
        Whether a component shares a voxel with the nodule's mask.
    dice : float
        Dice of the mask and all components that touch it; 0 for a missed nodule.
    middle_dice : float
        The same in the middle one of the slices that the mask crosses.
    other_parts : int
        Components that touch neither the mask nor what is spared.
    """

    hit: bool
    dice: float
    middle_dice: float
    other_parts: int


def score_cube(
    mask_zyx: NDArray[np.bool_],
    probability_zyx: NDArray[np.float32],
    threshold: float,
    min_voxels: float = 1,
    spared_zyx: NDArray[np.bool_] | None = None,
) -> CubeScore:
    """Score the segmentation of one cube.

    Parameters
    ----------
    mask_zyx : (Z, Y, X) ndarray of bool
        The nodule; not empty.
    probability_zyx : (Z, Y, X) ndarray
        Nodule probability on the same grid.
    threshold : float
        Lowest probability of a predicted voxel.
    min_voxels : float
        Smaller components are dropped, whether they touch the nodule or not.
    spared_zyx : (Z, Y, X) ndarray of bool, optional
        Other nodules in view. Components that touch them are not counted as other parts.

    Raises
    ------
    ValueError
        If the shapes differ or the mask is empty.
    """
    if mask_zyx.shape != probability_zyx.shape or not mask_zyx.any():
        raise ValueError(
            f"mask and probability must share a shape and the mask must not be empty, got {mask_zyx.shape} with "
            f"{np.count_nonzero(mask_zyx)} voxels and {probability_zyx.shape}"
        )
    labels, count = ndimage.label(probability_zyx >= threshold, structure=NEIGHBOURS)
    labels[(np.bincount(labels.ravel(), minlength=count + 1) < min_voxels)[labels]] = 0
    reference = mask_zyx.astype(np.uint8)
    touching = (labels > 0) & np.isin(labels, labels[mask_zyx])
    crossed = np.flatnonzero(mask_zyx.any(axis=(1, 2)))
    middle = crossed[len(crossed) // 2]
    whole, in_middle = (
        score_nodules(reference[part], [np.nan], touching[part].astype(np.uint8))[0]
        for part in (slice(None), slice(middle, middle + 1))
    )
    known = mask_zyx if spared_zyx is None else mask_zyx | spared_zyx
    return CubeScore(whole.hit, whole.dice, in_middle.dice, false_positive_components(known.astype(np.uint8), labels))


def summary(rows: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """Mean figures of all nodules and of those of LUNA16, together and by size, with 95 % intervals over the patients.

    Parameters
    ----------
    rows : DataFrame
        One row per nodule: ``patient``, ``diameter_mm``, ``is_luna16`` and the attributes of `CubeScore`.

    Returns
    -------
    dict
        For ``all_nodules`` and ``luna16_nodules``, for ``all_sizes`` and each stratum that has nodules: ``nodules``,
        ``patients``, and each of `FIGURES` with its interval as ``_low`` and ``_high``.
    """
    groups = {"all_nodules": rows, "luna16_nodules": rows[rows["is_luna16"].astype(bool)]}
    return {name: _by_size(group) for name, group in groups.items()}


def _by_size(rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    strata = {"all_sizes": (0.0, np.inf)} | DIAMETER_STRATA_MM
    parts = {name: rows[rows["diameter_mm"].between(*limits, inclusive="left")] for name, limits in strata.items()}
    return {name: _figures(part) for name, part in parts.items() if len(part)}


def _figures(rows: pd.DataFrame) -> dict[str, float]:
    figures: dict[str, float] = {"nodules": len(rows), "patients": rows["patient"].nunique()}
    for name in FIGURES:
        values = rows[name].to_numpy(dtype=float)
        low, high = mean_interval(values, rows["patient"].to_numpy())
        figures |= {name: float(values.mean()), f"{name}_low": low, f"{name}_high": high}
    return figures
