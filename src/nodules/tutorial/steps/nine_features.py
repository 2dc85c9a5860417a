"""The tutorial's nine features of a patient, measured on the regions of the predicted masks.

Names and order are those of the tutorial's web page.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from skimage.measure import label, regionprops

from nodules.tutorial.steps.defects import TutorialDefects
from nodules.tutorial.steps.settings import TutorialParams

NINE_FEATURES = (
    "avgArea",
    "maxArea",
    "avgEcc",
    "avgEquivlentDiameter",
    "stdEquivlentDiameter",
    "weightedX",
    "weightedY",
    "numNodes",
    "numNodesperSlice",
)
"""In the page's spelling: area, eccentricity, diameter of the circle of equal area, area-weighted centre, counts."""

MAX_AREA_SHARE = 0.10
"""Regions larger than this share of the slice count as background."""

_COLUMNS = ["nodule", "area", "eccentricity", "diameter", "row", "column", "pixels"]


def nine_features(probability_zyx: NDArray[np.floating], pixel_mm: ArrayLike, params: TutorialParams) -> pd.Series:
    """Measure the regions in all predicted slices of a patient.

    Parameters
    ----------
    probability_zyx : (Z, S, S) ndarray of float
        Predicted nodule probability of the slices, in the order of the scan.
    pixel_mm : float or (Z,) array of float
        Pixel side of each prediction, see `RoiBox.pixel_mm`.
    params : TutorialParams
        `min_probability` and the defects.

    Returns
    -------
    Series
        The `NINE_FEATURES`: areas in mm2, diameters in mm, the centre in mm from the left (X) and upper (Y) edge of the
        square. All are 0 if there is no region.

    Raises
    ------
    ValueError
        If the predictions do not have three axes, a value is not finite, or a pixel side is not positive.
    """
    if probability_zyx.ndim != 3:
        raise ValueError(f"predicted masks must have three axes (z, y, x), got shape {probability_zyx.shape}")
    if not np.isfinite(probability_zyx).all():
        raise ValueError("predicted masks must be finite, got NaN or infinity")
    defects = params.defects
    sides_mm = np.broadcast_to(np.asarray(pixel_mm, dtype=float), len(probability_zyx))
    if not (np.isfinite(sides_mm) & (sides_mm > 0)).all():
        raise ValueError(f"pixel_mm must be positive, got {sides_mm.tolist()}")
    sides = np.ones_like(sides_mm) if defects.features_in_resized_pixels else sides_mm
    regions = _counted(_sections(_in_regions(probability_zyx, params), sides), defects)
    regions = regions[regions["pixels"] <= MAX_AREA_SHARE * probability_zyx[0].size] if len(regions) else regions
    return pd.Series(_measure(regions, len(probability_zyx), defects), index=list(NINE_FEATURES), dtype=float)


def _in_regions(probability_zyx: NDArray[np.floating], params: TutorialParams) -> NDArray[np.bool_]:
    if params.defects.regions_inverted:
        return np.asarray(probability_zyx <= probability_zyx.mean(axis=(1, 2), keepdims=True))
    return np.asarray(probability_zyx >= params.min_probability)


def _sections(mask_zyx: NDArray[np.bool_], sides: NDArray[np.float64]) -> pd.DataFrame:
    """One row per 2-D component (8 neighbours) of each slice, with the label of its 3-D component (26 neighbours)."""
    rows = []
    for mask, nodules, side in zip(mask_zyx, label(mask_zyx), sides, strict=True):
        for region in regionprops(label(mask)):
            y, x = region.coords[0]
            row, column = region.centroid
            rows.append(
                {
                    "nodule": int(nodules[y, x]),
                    "area": region.area * side**2,
                    "eccentricity": region.eccentricity,
                    "diameter": region.equivalent_diameter_area * side,
                    "row": row * side,
                    "column": column * side,
                    "pixels": region.area,
                }
            )
    return pd.DataFrame(rows, columns=_COLUMNS)


def _counted(sections: pd.DataFrame, defects: TutorialDefects) -> pd.DataFrame:
    """Return all sections with the defect, else the largest section of each 3-D component (the first of equals)."""
    if defects.regions_counted_in_every_slice or sections.empty:
        return sections
    return sections.sort_values("area", ascending=False, kind="stable").drop_duplicates("nodule")


def _measure(regions: pd.DataFrame, slices: int, defects: TutorialDefects) -> dict[str, float]:
    if regions.empty:
        return dict.fromkeys(NINE_FEATURES, 0.0)
    areas = regions["area"]
    row, column = (float(np.average(regions[name], weights=areas)) for name in ("row", "column"))
    weighted_x, weighted_y = (row, column) if defects.x_and_y_swapped else (column, row)
    values = (
        areas.mean(),
        areas.max(),
        regions["eccentricity"].mean(),
        regions["diameter"].mean(),
        regions["diameter"].std(ddof=0),
        weighted_x,
        weighted_y,
        len(regions),
        len(regions) / slices,
    )
    return {name: float(value) for name, value in zip(NINE_FEATURES, values, strict=True)}
