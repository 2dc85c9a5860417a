"""Lung segmentation of one axial slice, with every intermediate step of the tutorial.

The steps are: standardise, cluster the middle of the slice in two, threshold, erode, dilate, label, select regions and
dilate again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label, regionprops

from nodules.imaging.geometry.morphology import clear_border
from nodules.tutorial.steps.grey_values import grey_values, standardise
from nodules.tutorial.steps.settings import TutorialParams

MIDDLE = (100 / 512, 400 / 512)
"""Rows and columns that the tutorial clusters, as fractions of the slice."""

ERODED_PX, DILATED_PX = 4, 10
"""Side of the square footprints of erosion and dilation."""

LARGEST_BOX, FIRST_ROW, LAST_ROW = 475 / 512, 40 / 512, 472 / 512
"""Bounding box of a lung region, as fractions of the slice: largest side, and the rows between which it lies.

The tutorial's numbers are 475, 40 and 472 pixels of 512.
"""


@dataclass(frozen=True)
class LungSteps:
    """Intermediate results of the lung segmentation of one slice, and the lungs.

    Attributes
    ----------
    grey_yx : (Y, X) ndarray of float64
        Grey values of the slice: HU, or 16-bit levels with the defect `grey_values_wrap_at_16_bit`.
    standardised_yx : (Y, X) ndarray of float64
        Grey values with mean 0 and standard deviation 1; the tutorial shows their histogram.
    levelled_yx : (Y, X) ndarray of float64
        Standardised values after `level_extremes`. These are clustered and thresholded.
    centres : tuple of 2 float
        Means of the two clusters, the darker first; both NaN if the middle of the slice has a single value.
    threshold : float
        Mean of the two centres.
    thresholded_yx : (Y, X) ndarray of bool
        Pixels darker than the threshold.
    eroded_yx, dilated_yx : (Y, X) ndarray of bool
        The thresholded mask after erosion, and after the dilation that follows.
    regions_yx : (Y, X) ndarray of int
        Labels of the connected components (8 neighbours) of the dilated mask.
    kept : tuple of int
        Labels of the components that are lungs.
    lungs_yx : (Y, X) ndarray of bool
        These components, dilated once more; all False in a slice without lungs.
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
    """Segment the lungs of one axial slice as the tutorial does.

    Parameters
    ----------
    plane_hu : (Y, X) ndarray
        The slice in HU.
    params : TutorialParams
        `max_lung_hu` and the defects.

    Raises
    ------
    ValueError
        If the slice does not have two axes of at least 16 pixels, or a value is not finite.
    """
    if plane_hu.ndim != 2 or min(plane_hu.shape) < 16:
        raise ValueError(f"a slice must have two axes of at least 16 pixels, got shape {plane_hu.shape}")
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
        kept = regions_inside_body(kept, regions, thresholded, standardised == standardised.min())
    lungs = dilate(np.isin(regions, kept), mirrored=not defects.masks_shifted_by_even_footprints)
    return LungSteps(
        grey, standardised, levelled, centres, threshold, thresholded, eroded, dilated, regions, kept, lungs
    )


def middle(plane_yx: NDArray[np.float64]) -> NDArray[np.float64]:
    """View of the middle of a slice, without its margins."""
    rows, columns = (slice(int(MIDDLE[0] * size), int(MIDDLE[1] * size)) for size in plane_yx.shape)
    return plane_yx[rows, columns]


def level_extremes(plane_yx: NDArray[np.float64]) -> NDArray[np.float64]:
    """Copy of a slice in which the smallest and the largest value are replaced by the mean of its middle.

    In many series the smallest value is the padding outside the scanner's field of view. It would form a cluster of its
    own.
    """
    extreme = (plane_yx == plane_yx.min()) | (plane_yx == plane_yx.max())
    return np.where(extreme, middle(plane_yx).mean(), plane_yx)


def two_means(values: NDArray[np.float64]) -> tuple[float, float]:
    """Exact k-means with k = 2 in one dimension: the two means with the smallest sum of squared distances.

    Parameters
    ----------
    values : ndarray
        Any shape; at least two different numbers.

    Returns
    -------
    tuple of float
        The two means, the lower first. Of equally good divisions, the one with the lowest cut is taken.

    Raises
    ------
    ValueError
        If a value is not finite, or all values are equal.
    """
    if not np.isfinite(values).all():
        raise ValueError("values to cluster must be finite, got NaN or infinity")
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) < 2:
        raise ValueError(f"two clusters need at least two different values, got {len(distinct)}")
    centred = distinct - values.mean()  # sums of uncentred values would lose digits
    below, sum_below = np.cumsum(counts)[:-1], np.cumsum(counts * centred)[:-1]
    above, sum_above = values.size - below, np.sum(counts * centred) - sum_below
    # The sum of squares within the clusters is the total less the sum between them, so the latter is maximised.
    between = sum_below**2 / below + sum_above**2 / above
    cut = int(np.argmax(between)) + 1
    low, high = (np.average(distinct[part], weights=counts[part]) for part in (slice(cut), slice(cut, None)))
    return float(low), float(high)


def erode(mask_yx: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Remove one pixel above and left and two pixels below and right of each region."""
    filtered = ndimage.minimum_filter(mask_yx.view(np.uint8), ERODED_PX, mode="reflect", origin=-1)
    return np.asarray(filtered > 0)


def dilate(mask_yx: NDArray[np.bool_], *, mirrored: bool = False) -> NDArray[np.bool_]:
    """Add five pixels above and left and four below and right of each region; with `mirrored`, the reverse."""
    filtered = ndimage.maximum_filter(mask_yx.view(np.uint8), DILATED_PX, mode="reflect", origin=0 if mirrored else -1)
    return np.asarray(filtered > 0)


def lung_regions(regions_yx: NDArray[Any]) -> tuple[int, ...]:
    """Select the regions whose bounding box may be that of a lung: small enough, and off the upper and lower edges.

    Parameters
    ----------
    regions_yx : (Y, X) ndarray of int
        Region labels; 0 is background.

    Returns
    -------
    tuple of int
        Labels of the selected regions.
    """
    shape_yx = regions_yx.shape
    return tuple(int(region.label) for region in regionprops(regions_yx) if _fits(region.bbox, shape_yx))


def regions_inside_body(
    labels: tuple[int, ...], regions_yx: NDArray[Any], dark_yx: NDArray[np.bool_], filling_yx: NDArray[np.bool_]
) -> tuple[int, ...]:
    """Select the regions that lie inside the body: most of their dark pixels are not connected to the slice's edge.

    Parameters
    ----------
    labels : tuple of int
        Labels of the regions to select from.
    regions_yx : (Y, X) ndarray of int
        Region labels; 0 is background.
    dark_yx : (Y, X) ndarray of bool
        The thresholded mask from which the regions were made by erosion and dilation.
    filling_yx : (Y, X) ndarray of bool
        Padding outside the scanner's field of view. It also connects air to the edge.

    Returns
    -------
    tuple of int
        Labels of the selected regions.
    """
    shut_off = clear_border((dark_yx | filling_yx)[None])[0]
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


def _is_air(dark_hu: NDArray[Any], max_lung_hu: float) -> bool:
    return dark_hu.size > 0 and float(dark_hu.mean()) <= max_lung_hu
