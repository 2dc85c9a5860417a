"""3-D segmentation of the right and the left lung in chest CT by thresholding and morphology."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Interval
from numpy.typing import NDArray
from scipy import ndimage

from nodules.imaging.geometry.morphology import bounding_box
from nodules.imaging.geometry.resample import WorkingGrid
from nodules.imaging.geometry.volume import Volume
from nodules.imaging.lungs.airways import find_airways
from nodules.imaging.lungs.body_air import SOFT_TISSUE_HU, find_inner_air
from nodules.imaging.lungs.closing import close_lungs
from nodules.imaging.lungs.quality import LungQuality, assess_lungs
from nodules.imaging.lungs.sides import LEFT, RIGHT, label_sides

EMPHYSEMA_HU = -950  # the usual density limit of emphysema on inspiratory CT
MIN_BODY_SHARE = 0.01  # of all voxels; a scan with less soft tissue shows no patient
MAX_GAS_SHARE = 0.3  # of the largest part; emphysematous lung is as dark as gas, but larger
GAS_PERCENTILE = 25  # low, because the blurred rim is a large share of a small gas pocket
PURE_GAS_HU = -975.0  # a part with a lower median is gas at any size; the worst emphysema has about -960
# Threshold of the second try by the verdict on the first. A higher one includes dense lung, a lower one stops a leak.
RETRY_HU = {
    "no_lungs": -250.0,
    "too_small": -250.0,
    "one_lung": -250.0,
    "asymmetric": -250.0,
    "in_pieces": -250.0,
    "touches_border": -600.0,
    "too_large": -600.0,
    "odd_density": -600.0,
}
ROUNDING = 1e-6  # so that a voxel exactly at the distance counts


@dataclass(frozen=True)
class LungMaskParams:
    """Settings of `segment_lungs`.

    Attributes
    ----------
    threshold_hu : float
        Air and lung are below this value, soft tissue is above it.
    working_spacing_mm : float
        Approximate spacing of the grid used for the segmentation. The result is on the volume's own grid.
    closing_mm : float
        Closing radius: in each slice, bays of the lung narrower than twice this (vessels, nodules) become lung.
    costal_closing_mm : float
        Closing radius for bays that open to the chest wall (pleural nodules). It has an effect only if it is larger
        than `closing_mm`.
    min_component_share : float
        Connected components smaller than this share of the largest one are dropped.
    gas_hu : float
        Small components whose lower quartile is below this value are gas in the stomach or bowel.
    max_airway_ml : float
        Airways that grow larger than this have leaked into a lung and are discarded.
    """

    threshold_hu: Annotated[float, Interval(gt=-1000, lt=0)]
    working_spacing_mm: Annotated[float, Gt(0)]
    closing_mm: Annotated[float, Ge(0)]
    costal_closing_mm: Annotated[float, Ge(0)]
    min_component_share: Annotated[float, Interval(ge=0, le=1)]
    gas_hu: Annotated[float, Interval(ge=-1000, lt=0)]
    max_airway_ml: Annotated[float, Gt(0)]


@dataclass(frozen=True)
class LungSegmentation:
    """Lung labels with their quality.

    Attributes
    ----------
    labels_zyx : (Z, Y, X) ndarray of uint8
        On the grid of the volume: 0 background, 1 right lung, 2 left lung.
    quality : LungQuality
        Quality of these labels.
    threshold_hu : float
        Threshold used: the one of the settings, or the one of the second try.
    """

    labels_zyx: NDArray[np.uint8]
    quality: LungQuality
    threshold_hu: float


def find_lungs(volume: Volume, params: LungMaskParams) -> LungSegmentation:
    """Label the lungs of a chest CT and check their quality; try another threshold if the check fails.

    The second result is kept only if its verdict is better. A scan without lungs returns empty labels.

    Parameters
    ----------
    volume : Volume
        As for `segment_lungs`.
    params : LungMaskParams
        Settings of the first try.
    """
    first = _segmented_and_checked(volume, params)
    if first.quality.verdict == "ok":
        return first
    second = _segmented_and_checked(volume, replace(params, threshold_hu=RETRY_HU[first.quality.verdict]))
    return second if second.quality.severity < first.quality.severity else first


def segment_lungs(volume: Volume, params: LungMaskParams) -> NDArray[np.uint8]:
    """Label the lungs of a chest CT.

    Parameters
    ----------
    volume : Volume
        HU, with axes close to the world's (x to the patient's left, y to the back, z to the head).
    params : LungMaskParams
        Settings.

    Returns
    -------
    (Z, Y, X) ndarray of uint8
        On the grid of the volume: 0 background, 1 right lung, 2 left lung. All 0 if no lung is found.
    """
    grid = WorkingGrid.of(volume, params.working_spacing_mm)
    hu = grid.mean(volume.voxels_zyx)
    soft_tissue = hu > SOFT_TISSUE_HU
    inner_air = find_inner_air(hu, hu < params.threshold_hu, grid.spacing_zyx_mm)
    if soft_tissue.mean() < MIN_BODY_SHARE or not inner_air.any():
        return np.zeros(volume.shape_zyx, dtype=np.uint8)
    midline_x = float(np.median(np.nonzero(soft_tissue.any(axis=1))[1]))
    airways = find_airways(hu, inner_air, grid.spacing_zyx_mm, midline_x, params.max_airway_ml)
    lungs = _lung_parts(hu, inner_air & ~airways, params)
    labels = label_sides(lungs, grid.spacing_zyx_mm, midline_x)
    return _upsample_labels(
        close_lungs(labels, airways, grid.spacing_zyx_mm, params.closing_mm, params.costal_closing_mm), grid
    )


def dilate_mm(
    mask_zyx: NDArray[Any], spacing_zyx_mm: tuple[float, float, float], distance_mm: float
) -> NDArray[np.bool_]:
    """Add every voxel whose centre lies within `distance_mm` of the centre of a voxel of the mask.

    Parameters
    ----------
    mask_zyx : (Z, Y, X) ndarray
        Non-zero voxels are the mask.
    spacing_zyx_mm : tuple of float
        Spacing of the grid.
    distance_mm : float
        0 returns the mask unchanged.

    Returns
    -------
    (Z, Y, X) ndarray of bool

    Raises
    ------
    ValueError
        If the distance is negative.
    """
    if distance_mm < 0:
        raise ValueError(f"distance_mm: expected 0 or more, got {distance_mm}")
    mask = np.asarray(mask_zyx) != 0
    if distance_mm == 0 or not mask.any():
        return mask
    box = bounding_box(mask, [int(distance_mm / s) + 1 for s in spacing_zyx_mm])
    squared_mm2 = _nearest_along(
        np.where(mask[box], np.float32(0), np.float32(np.inf)), 0, spacing_zyx_mm[0], distance_mm
    )
    for image in squared_mm2:  # a single slice fits into the processor cache
        for axis in (0, 1):
            image[...] = _nearest_along(image, axis, spacing_zyx_mm[axis + 1], distance_mm)
    dilated = np.zeros_like(mask)
    dilated[box] = squared_mm2 <= distance_mm**2 * (1 + ROUNDING)
    return dilated


def lung_measures(volume: Volume, labels_zyx: NDArray[np.uint8]) -> dict[str, float]:
    """Measure the volume and the density of segmented lungs.

    Parameters
    ----------
    volume : Volume
        HU.
    labels_zyx : (Z, Y, X) ndarray of uint8
        As `segment_lungs` returns them.

    Returns
    -------
    dict
        `volume_right_l` and `volume_left_l` in litres; `mean_hu` and `emphysema_share` (share of lung voxels below
        -950 HU), both NaN without lungs; `lungs_found`, 1 or 0.
    """
    lung_hu = volume.voxels_zyx[labels_zyx > 0]
    litres = volume.voxel_mm3 / 1e6
    found = lung_hu.size > 0
    return {
        "volume_right_l": float(np.count_nonzero(labels_zyx == RIGHT) * litres),
        "volume_left_l": float(np.count_nonzero(labels_zyx == LEFT) * litres),
        "mean_hu": float(lung_hu.mean()) if found else float("nan"),
        "emphysema_share": float((lung_hu < EMPHYSEMA_HU).mean()) if found else float("nan"),
        "lungs_found": float(found),
    }


def _segmented_and_checked(volume: Volume, params: LungMaskParams) -> LungSegmentation:
    labels = segment_lungs(volume, params)
    return LungSegmentation(labels, assess_lungs(volume, labels), params.threshold_hu)


def _lung_parts(hu_zyx: NDArray[np.float32], air_zyx: NDArray[np.bool_], params: LungMaskParams) -> NDArray[np.bool_]:
    """Keep the large connected components that are not gas."""
    parts, count = ndimage.label(air_zyx)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    sizes[0] = 0
    keep = np.zeros(count + 1, dtype=bool)
    boxes = ndimage.find_objects(parts)
    for number in np.flatnonzero(sizes >= max(1.0, params.min_component_share * sizes.max())):
        inside = parts[boxes[number - 1]] == number
        small = sizes[number] <= MAX_GAS_SHARE * sizes.max()
        low_hu, median_hu = np.percentile(hu_zyx[boxes[number - 1]][inside], [GAS_PERCENTILE, 50])
        keep[number] = not (median_hu < PURE_GAS_HU or (small and low_hu < params.gas_hu))
    return keep[parts]


def _nearest_along(
    squared_mm2: NDArray[np.float32], axis: int, spacing_mm: float, reach_mm: float
) -> NDArray[np.float32]:
    """Propagate squared distances along one axis, up to `reach_mm`; over all axes the result is Euclidean.

    For the few millimetres needed here, this takes a fifth of the time of a complete distance transform.
    """
    nearest = squared_mm2.copy()
    values, target = np.moveaxis(squared_mm2, axis, 0), np.moveaxis(nearest, axis, 0)
    for step in range(1, min(int(reach_mm / spacing_mm * (1 + ROUNDING)), len(values) - 1) + 1):
        square = np.float32((step * spacing_mm) ** 2)
        np.minimum(target[step:], values[:-step] + square, out=target[step:])
        np.minimum(target[:-step], values[step:] + square, out=target[:-step])
    return nearest


def _upsample_labels(labels_zyx: NDArray[np.uint8], grid: WorkingGrid) -> NDArray[np.uint8]:
    """Smooth the outline of both lungs on the full grid; each voxel takes the label of a nearby coarse voxel."""
    full = np.zeros(grid.full_shape_zyx, dtype=np.uint8)
    if labels_zyx.any():
        box = bounding_box(labels_zyx > 0, (1, 1, 1))
        part, full_box = grid.part(box)
        labels = labels_zyx[box]
        nearby = np.where(labels > 0, labels, ndimage.maximum_filter(labels, size=3))
        full[full_box] = part.repeat(nearby) * (part.upsample(labels > 0) >= 0.5)
    return full
