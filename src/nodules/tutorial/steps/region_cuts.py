"""Which regions of a slice are lungs: the tutorial's bounds on their bounding boxes, and where their air comes from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.measure import regionprops

from nodules.imaging.geometry import morphology as in_plane

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
    shut_off = in_plane.not_outside((dark_yx | filling_yx)[None])[0]
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
