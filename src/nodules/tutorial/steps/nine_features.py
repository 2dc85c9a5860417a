"""The tutorial's nine features of a patient's predicted masks, by the page's names and in its order."""

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
"""With the page's spelling: area and eccentricity, diameter of the circle of the same area, centre weighted by area."""

MAX_AREA_SHARE = 0.10
"""Of the slice: a larger region is taken for background."""

_COLUMNS = ["nodule", "area", "eccentricity", "diameter", "row", "column", "pixels"]


def nine_features(probability_zyx: NDArray[np.floating], pixel_mm: ArrayLike, params: TutorialParams) -> pd.Series:
    """Measure the regions of all predicted slices of a patient.

    Parameters
    ----------
    probability_zyx : (Z, S, S) ndarray of float
        The network's answers, slice above slice.
    pixel_mm : float or (Z,) array of float
        Side of a pixel of each answer, `RoiBox.pixel_mm`.
    params : TutorialParams
        `min_probability` and the defects.

    Returns
    -------
    Series
        Of `NINE_FEATURES`; areas in mm2, diameters in mm, the centre in mm from the square's left (X) and upper (Y)
        edge. All 0 without any region.

    Raises
    ------
    ValueError
        If the answers have not three axes, a value of them is not finite, or a pixel has no positive side.
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
    """One row for each connected part (8 neighbours) of each slice, with the number of its part in space (26)."""
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
    """All sections, or of each part in space the largest, the first of equally large ones."""
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
