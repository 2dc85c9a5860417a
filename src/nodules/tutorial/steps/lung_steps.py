"""From a slice to its lungs, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label, regionprops

from nodules.imaging.geometry.morphology import not_outside
from nodules.tutorial.steps.grey_values import grey_values, standardise
from nodules.tutorial.steps.settings import TutorialParams

LARGEST_BOX, FIRST_ROW, LAST_ROW = 475 / 512, 40 / 512, 472 / 512
"""Of the height and width of the slice: 475, 40 and 472 pixels of the tutorial's 512."""


def lung_regions(regions_yx: NDArray[Any]) -> tuple[int, ...]:
    """Labels of the regions that are narrow and low enough and keep off the upper and lower edge.

    Parameters
    ----------
    regions_yx : (Y, X) ndarray of int
        Numbered regions; 0 belongs to none.
    """
    shape_yx = regions_yx.shape
    return tuple(int(region.label) for region in regionprops(regions_yx) if _fits(region.bbox, shape_yx))


def inside_the_body(
    labels: tuple[int, ...], regions_yx: NDArray[Any], dark_yx: NDArray[np.bool_], filling_yx: NDArray[np.bool_]
) -> tuple[int, ...]:
    """Those regions whose dark pixels are mostly shut off from the slice's edge.

    Parameters
    ----------
    labels : tuple of int
        The regions in question.
    regions_yx : (Y, X) ndarray of int
        Numbered regions.
    dark_yx : (Y, X) ndarray of bool
        What the regions were made from, before erosion and dilation.
    filling_yx : (Y, X) ndarray of bool
        What lies around the scanner's circle: through it, too, air reaches the edge.
    """
    shut_off = not_outside((dark_yx | filling_yx)[None])[0]
    size = int(regions_yx.max()) + 1
    dark, inner = (np.bincount(regions_yx[mask], minlength=size) for mask in (dark_yx, dark_yx & shut_off))
    return tuple(number for number in labels if 2 * inner[number] > dark[number])


def _fits(box: tuple[int, int, int, int], shape_yx: tuple[int, ...]) -> bool:
    top, left, bottom, right = box
    height, width = shape_yx
    return (
        bottom - top < LARGEST_BOX * height
        and right - left < LARGEST_BOX * width
        and top > FIRST_ROW * height
        and bottom < LAST_ROW * height
    )


def two_means(values: NDArray[np.float64]) -> tuple[float, float]:
    """Means of the two clusters with the smallest sum of squared distances to them.

    Parameters
    ----------
    values : ndarray
        Any shape; at least two different numbers.

    Returns
    -------
    tuple of float
        The lower mean first. Of equally good cuts the lowest counts.

    Raises
    ------
    ValueError
        If a value is not finite or there are no two different ones.
    """
    if not np.isfinite(values).all():
        raise ValueError("values must be finite to be clustered, got NaN or infinity")
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) < 2:
        raise ValueError(f"two clusters need two different values, got {len(distinct)}")
    centred = distinct - values.mean()  # sums of large offsets would cost digits
    below, sum_below = np.cumsum(counts)[:-1], np.cumsum(counts * centred)[:-1]
    above, sum_above = values.size - below, np.sum(counts * centred) - sum_below
    # The squares within the clusters are those of all values less these, so the largest of these is wanted.
    between = sum_below**2 / below + sum_above**2 / above
    cut = int(np.argmax(between)) + 1
    low, high = (np.average(distinct[part], weights=counts[part]) for part in (slice(cut), slice(cut, None)))
    return float(low), float(high)


MIDDLE = (100 / 512, 400 / 512)
"""Rows and columns that the tutorial's clustering sees, as shares of the slice."""


def middle(plane_yx: NDArray[np.float64]) -> NDArray[np.float64]:
    """View of the middle of a slice."""
    rows, columns = (slice(int(MIDDLE[0] * size), int(MIDDLE[1] * size)) for size in plane_yx.shape)
    return plane_yx[rows, columns]


def level_extremes(plane_yx: NDArray[np.float64]) -> NDArray[np.float64]:
    """Copy of a slice whose smallest and largest values are the mean of its middle.

    The smallest is the filling around the scanner's circle in many series, which would be a cluster of its own.
    """
    extreme = (plane_yx == plane_yx.min()) | (plane_yx == plane_yx.max())
    return np.where(extreme, middle(plane_yx).mean(), plane_yx)


ERODED_PX, DILATED_PX = 4, 10


def erode(mask_yx: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Take a pixel off above and left and two below and right of each region."""
    filtered = ndimage.minimum_filter(mask_yx.view(np.uint8), ERODED_PX, mode="reflect", origin=-1)
    return np.asarray(filtered > 0)


def dilate(mask_yx: NDArray[np.bool_], *, mirrored: bool = False) -> NDArray[np.bool_]:
    """Add five pixels above and left and four below and right of each region; the other way round if `mirrored`."""
    filtered = ndimage.maximum_filter(mask_yx.view(np.uint8), DILATED_PX, mode="reflect", origin=0 if mirrored else -1)
    return np.asarray(filtered > 0)


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
