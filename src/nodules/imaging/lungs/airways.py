"""Segmentation of the trachea, the main bronchi and gas in the oesophagus, which are not lung."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nodules.imaging.geometry.morphology import IN_PLANE
from nodules.imaging.geometry.resample import MIN_SLICES

# A cross-section of an airway is air below the first threshold, with a core below the second.
SECTION_AND_CORE_HU = (
    (-700.0, -930.0),
    (-850.0, -960.0),
)
MEDIAN_HU = -900.0  # upper limit of a section's median HU; healthy lung is near -850 HU
CORE_PERCENTILE = 20
GROWTH_HU = (-975.0, -950.0, -925.0)
MAX_GROWTH = 1.5  # from one threshold to the next; larger growth is a leak into the lung
SECTION_MM2 = (30.0, 900.0)  # from a small main bronchus to the carina, where both main bronchi form one region
OFF_MIDLINE_MM = 45.0
FIELD_MM = 110.0  # on either side of the midline; contains both main bronchi
MIN_FILL = 0.45  # share of its bounding box that a round or oval section covers (a full ellipse covers 0.79)
MAX_ELONGATION = 3.0
WALL_MM = (2.5, 6.5)  # distances from the lumen that belong to the wall, outside the lumen's blurred rim
MAX_LUNG_SHARE = 0.35  # of the wall region that may be air; a bulla is surrounded by lung


def find_airways(
    hu_zyx: NDArray[np.float32],
    inner_air_zyx: NDArray[np.bool_],
    spacing_zyx_mm: tuple[float, float, float],
    midline_x: float,
    max_ml: float,
) -> NDArray[np.bool_]:
    """Find tubes of air with a soft-tissue wall near the midline, and grow them until they would leak into the lung.

    Parameters
    ----------
    hu_zyx : (Z, Y, X) ndarray of float32
        HU on a grid of about 2 mm in plane.
    inner_air_zyx : (Z, Y, X) ndarray of bool
        Air inside the body: lungs, airways and bowel gas.
    spacing_zyx_mm : tuple of float
        Spacing of the grid.
    midline_x : float
        Column index of the middle of the body.
    max_ml : float
        A grown airway tree larger than this has leaked into a lung and is discarded.

    Returns
    -------
    (Z, Y, X) ndarray of bool
        Airways, including the blurred rim of their lumen.
    """
    reach = int(FIELD_MM / spacing_zyx_mm[2])
    field = np.s_[:, :, max(int(midline_x) - reach, 0) : int(midline_x) + reach + 1]
    airways = np.zeros_like(inner_air_zyx)
    middle_x = midline_x - field[2].start
    airways[field] = _airways(hu_zyx[field], inner_air_zyx[field], spacing_zyx_mm, middle_x, max_ml)
    return airways


def _airways(
    hu_zyx: NDArray[np.float32],
    inner_air_zyx: NDArray[np.bool_],
    spacing_zyx_mm: tuple[float, float, float],
    midline_x: float,
    max_ml: float,
) -> NDArray[np.bool_]:
    sections = np.zeros_like(inner_air_zyx)
    for limit_hu, core_hu in SECTION_AND_CORE_HU:
        sections |= _tube_sections(hu_zyx, inner_air_zyx & (hu_zyx < limit_hu), core_hu, spacing_zyx_mm, midline_x)
    sections = _drop_single_slices(sections)
    if not sections.any():
        return sections
    lumen = _grow(hu_zyx, inner_air_zyx, sections, max_ml * 1000 / float(np.prod(spacing_zyx_mm)))
    return ndimage.binary_dilation(lumen, IN_PLANE, iterations=2, mask=inner_air_zyx)


def _tube_sections(
    hu_zyx: NDArray[np.float32],
    air_zyx: NDArray[np.bool_],
    max_core_hu: float,
    spacing_zyx_mm: tuple[float, float, float],
    midline_x: float,
) -> NDArray[np.bool_]:
    labels, count = ndimage.label(air_zyx, IN_PLANE)
    keep = np.zeros(count + 1, dtype=bool)
    areas_mm2 = np.bincount(labels.ravel(), minlength=count + 1) * spacing_zyx_mm[1] * spacing_zyx_mm[2]
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if SECTION_MM2[0] <= areas_mm2[number] <= SECTION_MM2[1]:
            keep[number] = (
                _is_oval_near_midline(labels[box] == number, box, spacing_zyx_mm, midline_x)
                and _is_dark(hu_zyx[box][labels[box] == number], max_core_hu)
                and _has_wall(labels[box[0].start], number, box, spacing_zyx_mm)
            )
    return keep[labels]


def _is_oval_near_midline(
    section: NDArray[np.bool_],
    box: tuple[slice, ...],
    spacing_zyx_mm: tuple[float, float, float],
    midline_x: float,
) -> bool:
    off_midline_mm = abs((box[2].start + box[2].stop - 1) / 2 - midline_x) * spacing_zyx_mm[2]
    sides_mm = section.shape[1] * spacing_zyx_mm[1], section.shape[2] * spacing_zyx_mm[2]
    return bool(
        off_midline_mm <= OFF_MIDLINE_MM
        and max(sides_mm) <= MAX_ELONGATION * min(sides_mm)
        and section.mean() >= MIN_FILL
    )


def _is_dark(section_hu: NDArray[np.float32], max_core_hu: float) -> bool:
    core_hu, median_hu = np.percentile(section_hu, [CORE_PERCENTILE, 50])
    return bool(core_hu < max_core_hu and median_hu < MEDIAN_HU)


def _has_wall(
    labels_yx: NDArray[Any], number: int, box: tuple[slice, ...], spacing_zyx_mm: tuple[float, float, float]
) -> bool:
    _, y_mm, x_mm = spacing_zyx_mm
    pad_y, pad_x = int(np.ceil(WALL_MM[1] / y_mm)), int(np.ceil(WALL_MM[1] / x_mm))
    around = labels_yx[
        max(box[1].start - pad_y, 0) : box[1].stop + pad_y, max(box[2].start - pad_x, 0) : box[2].stop + pad_x
    ]
    distance_mm = ndimage.distance_transform_edt(around != number, (y_mm, x_mm))
    wall = (distance_mm > WALL_MM[0]) & (distance_mm <= WALL_MM[1])
    return bool((around[wall] > 0).mean() <= MAX_LUNG_SHARE)


def _drop_single_slices(sections_zyx: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Drop sections that continue in no neighbouring slice, such as a patch of dark lung that looks like a tube.

    Short stacks are returned unchanged, because their slices need not be adjacent in the patient.
    """
    if len(sections_zyx) < MIN_SLICES:
        return sections_zyx
    labels, count = ndimage.label(sections_zyx)
    long = np.array([False, *(box[0].stop - box[0].start > 1 for box in ndimage.find_objects(labels, count))])
    return long[labels]


def _grow(
    hu_zyx: NDArray[np.float32], inner_air_zyx: NDArray[np.bool_], sections_zyx: NDArray[np.bool_], max_voxels: float
) -> NDArray[np.bool_]:
    """Grow each region into connected air below rising thresholds, unless it would grow out of proportion."""
    grown = sections_zyx
    for limit_hu in GROWTH_HU:
        labels, count = ndimage.label(grown | (inner_air_zyx & (hu_zyx < limit_hu)))
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        seeds = np.bincount(labels[grown], minlength=count + 1)
        sound = (seeds > 0) & (sizes <= max_voxels) & (sizes <= MAX_GROWTH * seeds)
        sound[0] = False
        grown = grown | sound[labels]
    return grown
