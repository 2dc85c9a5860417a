"""Trachea, main bronchi and gas in the oesophagus: air inside the body that is no lung."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nodules.imaging.geometry.morphology import IN_PLANE
from nodules.imaging.geometry.resample import MIN_SLICES

SECTION_AND_CORE_HU = (
    (-700.0, -930.0),
    (-850.0, -960.0),
)  # a section is air below the first, its core below the second
MEDIAN_HU = -900.0  # of a section wider than two voxels of 2 mm; healthy lung lies near -850
CORE_PERCENTILE = 20
GROWTH_HU = (-975.0, -950.0, -925.0)
MAX_GROWTH = 1.5  # from one threshold to the next; more is a leak
SECTION_MM2 = (30.0, 900.0)  # from a small main bronchus to the carina, where both main bronchi are one region
OFF_MIDLINE_MM = 45.0
FIELD_MM = 110.0  # to both sides of the midline; no main bronchus leaves it
MIN_FILL = 0.45  # share of its bounding box that a round or oval section covers (a full ellipse: 0.79)
MAX_ELONGATION = 3.0
WALL_MM = (2.5, 6.5)  # beyond the blurred rim of the lumen
MAX_LUNG_SHARE = 0.35  # of the surroundings of a tube; a bulla has lung all around


def find_airways(
    hu_zyx: NDArray[np.float32],
    inner_air_zyx: NDArray[np.bool_],
    spacing_zyx_mm: tuple[float, float, float],
    midline_x: float,
    max_ml: float,
) -> NDArray[np.bool_]:
    """Find tubes of air near the midline with a wall of soft tissue, and follow them until they would leak into lung.

    Parameters
    ----------
    hu_zyx : (Z, Y, X) ndarray of float32
        HU on a grid of about 2 mm in plane.
    inner_air_zyx : (Z, Y, X) ndarray of bool
        Air inside the body: lungs, airways, bowel gas.
    spacing_zyx_mm : tuple of float
        Spacing of the grid.
    midline_x : float
        Column index of the middle of the body.
    max_ml : float
        A grown tree larger than this has leaked into a lung and is not used.

    Returns
    -------
    (Z, Y, X) ndarray of bool
        Air of airways, the blurred rim of their lumen included.
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
    sections = _continued(sections)
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


def _continued(sections_zyx: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Leave out what no neighbouring slice continues: a tongue of dark lung, cut by chance like a tube.

    Not in short stacks, whose slices may be no neighbours.
    """
    if len(sections_zyx) < MIN_SLICES:
        return sections_zyx
    labels, count = ndimage.label(sections_zyx)
    long = np.array([False, *(box[0].stop - box[0].start > 1 for box in ndimage.find_objects(labels, count))])
    return long[labels]


def _grow(
    hu_zyx: NDArray[np.float32], inner_air_zyx: NDArray[np.bool_], sections_zyx: NDArray[np.bool_], max_voxels: float
) -> NDArray[np.bool_]:
    """Add the connected air below a rising threshold, region by region, while it stays in proportion to its seeds."""
    grown = sections_zyx
    for limit_hu in GROWTH_HU:
        labels, count = ndimage.label(grown | (inner_air_zyx & (hu_zyx < limit_hu)))
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        seeds = np.bincount(labels[grown], minlength=count + 1)
        sound = (seeds > 0) & (sizes <= max_voxels) & (sizes <= MAX_GROWTH * seeds)
        sound[0] = False
        grown = grown | sound[labels]
    return grown
