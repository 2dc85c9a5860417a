"""From a slice to its lungs, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label

from nodules.tutorial.steps.footprints import dilate, erode
from nodules.tutorial.steps.grey_values import grey_values, standardise
from nodules.tutorial.steps.lung_threshold import level_extremes, middle
from nodules.tutorial.steps.region_cuts import inside_the_body, lung_regions
from nodules.tutorial.steps.settings import TutorialParams
from nodules.tutorial.steps.two_means import two_means


@dataclass(frozen=True)
class LungSteps:
    """All that lies between a slice and its lungs.

    Attributes
    ----------
    grey_yx : (Y, X) ndarray of float64
        What the steps start from: HU, or 16-bit levels with the defect.
    standardised_yx : (Y, X) ndarray of float64
        Mean 0, standard deviation 1; its histogram is the tutorial's.
    levelled_yx : (Y, X) ndarray of float64
        The same with its extremes at the mean of the middle: what is clustered and thresholded.
    centres : tuple of 2 float
        Means of the two clusters, the darker first; both NaN where the middle has one value.
    threshold : float
        Half-way between them.
    thresholded_yx, eroded_yx, dilated_yx : (Y, X) ndarray of bool
        Darker than the threshold; then less what the erosion takes; then with what the dilation adds.
    regions_yx : (Y, X) ndarray of int
        Numbered connected parts (8 neighbours) of the dilated mask.
    kept : tuple of int
        Those that are lungs.
    lungs_yx : (Y, X) ndarray of bool
        These, dilated once more. All False in a slice without lungs.
    """

    grey_yx: NDArray[np.float64]
    standardised_yx: NDArray[np.float64]
    levelled_yx: NDArray[np.float64]
    centres: tuple[float, float]
    threshold: float
    thresholded_yx: NDArray[np.bool_]
    eroded_yx: NDArray[np.bool_]
    dilated_yx: NDArray[np.bool_]
    regions_yx: NDArray[np.int64]
    kept: tuple[int, ...]
    lungs_yx: NDArray[np.bool_]


def find_lung_steps(plane_hu: NDArray[Any], params: TutorialParams) -> LungSteps:
    """Find the lungs of one axial slice as the tutorial does.

    Parameters
    ----------
    plane_hu : (Y, X) ndarray
        HU.

    Raises
    ------
    ValueError
        If the slice has not two axes, has less than 16 pixels along one, or a value is not finite.
    """
    if plane_hu.ndim != 2 or min(plane_hu.shape) < 16:
        raise ValueError(f"a slice must have two axes of 16 pixels or more, got shape {plane_hu.shape}")
    if not np.isfinite(plane_hu).all():
        raise ValueError("a slice must have finite HU, got NaN or infinity")
    defects = params.defects
    grey = grey_values(plane_hu, wrap_at_16_bit=defects.grey_values_wrap_at_16_bit)
    standardised = standardise(grey)
    levelled = level_extremes(standardised)
    part = middle(levelled)
    centres = two_means(part) if np.ptp(part) > 0 else (np.nan, np.nan)
    threshold = float(np.mean(centres))
    thresholded = levelled < threshold
    eroded = erode(thresholded)
    dilated = dilate(eroded)
    regions = label(dilated)
    kept: tuple[int, ...] = ()
    if defects.any_dark_half_is_lung or _is_air(middle(plane_hu)[part < threshold], params.max_lung_hu):
        kept = lung_regions(regions)
    if not defects.air_outside_taken_for_lung:
        kept = inside_the_body(kept, regions, thresholded, standardised == standardised.min())
    lungs = dilate(np.isin(regions, kept), mirrored=not defects.masks_shifted_by_even_footprints)
    return LungSteps(
        grey, standardised, levelled, centres, threshold, thresholded, eroded, dilated, regions, kept, lungs
    )


def _is_air(dark_hu: NDArray[Any], max_lung_hu: float) -> bool:
    return dark_hu.size > 0 and float(dark_hu.mean()) <= max_lung_hu
