"""Cross-sections of the candidates in single slices, and the tutorial's nine features of them.

The tutorial is Booz Allen Hamilton's for the Data Science Bowl 2017. Its `getRegionMetricRow` measures in pixels and
swaps x and y. Here the features are in mm, in the tutorial's order, with x and y as named.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from skimage.measure import label, regionprops

from nodules.imaging.candidates.outline import Candidates
from nodules.imaging.features.definition import PatientFindings, feature
from nodules.imaging.geometry.volume import Volume
from nodules.imaging.lungs.position import LungFrame

REGION_COLUMNS = ["area_mm2", "eccentricity", "equivalent_diameter_mm", "relative_y", "relative_x"]


def find_regions(grid: Volume, lungs_zyx: NDArray[np.uint8], candidates: Candidates) -> pd.DataFrame:
    """List the connected components (8 neighbours) of the candidates in each slice.

    Parameters
    ----------
    grid : Volume
        Grid with square pixels.
    lungs_zyx : (Z, Y, X) ndarray of uint8
        Lung labels; positions are relative to their bounding box.
    candidates : Candidates
        Candidates on the same grid.

    Returns
    -------
    DataFrame
        One row per region with the columns `REGION_COLUMNS`: area, eccentricity, diameter of the circle of the same
        area, and the centre in the lungs' bounding box: relative_x from the patient's right (0) to the left (1),
        relative_y from front (0) to back (1).
    """
    frame = LungFrame(lungs_zyx, grid.spacing_zyx_mm)
    pixel_mm = grid.spacing_zyx_mm[1]
    rows = []
    for labels in candidates.labels_zyx[candidates.labels_zyx.any(axis=(1, 2))]:
        for region in regionprops(label(labels > 0, connectivity=2)):
            rows.append(
                {
                    "area_mm2": region.area * pixel_mm**2,
                    "eccentricity": region.eccentricity,
                    "equivalent_diameter_mm": region.equivalent_diameter_area * pixel_mm,
                    "relative_y": frame.relative_y(region.centroid[0]),
                    "relative_x": frame.relative_x(region.centroid[1]),
                }
            )
    return pd.DataFrame(rows, columns=REGION_COLUMNS, dtype=float)


@feature
def mean_area_mm2(findings: PatientFindings) -> float:
    """Mean area of the regions; 0 without regions.

    Unit: mm2
    Source: DSB 2017 tutorial
    """
    return _mean(findings.regions["area_mm2"])


@feature
def max_area_mm2(findings: PatientFindings) -> float:
    """Area of the largest region; 0 without regions.

    Unit: mm2
    Source: DSB 2017 tutorial
    """
    areas = findings.regions["area_mm2"]
    return float(areas.max()) if len(areas) else 0.0


@feature
def mean_eccentricity(findings: PatientFindings) -> float:
    """Mean eccentricity of the regions (0 for a circle, near 1 for a line); 0 without regions.

    Unit: 1
    Source: DSB 2017 tutorial
    """
    return _mean(findings.regions["eccentricity"])


@feature
def mean_equivalent_diameter_mm(findings: PatientFindings) -> float:
    """Mean area-equivalent diameter of the regions; 0 without regions.

    Unit: mm
    Source: DSB 2017 tutorial
    """
    return _mean(findings.regions["equivalent_diameter_mm"])


@feature
def sd_equivalent_diameter_mm(findings: PatientFindings) -> float:
    """Standard deviation of the regions' area-equivalent diameters; 0 without regions.

    Unit: mm
    Source: DSB 2017 tutorial
    """
    diameters = findings.regions["equivalent_diameter_mm"]
    return float(diameters.std(ddof=0)) if len(diameters) else 0.0


@feature
def weighted_x(findings: PatientFindings) -> float:
    """Area-weighted mean position of the regions in the lungs' bounding box, from right (0) to left (1).

    Right and left are the patient's. 0.5 without regions.

    Unit: 1
    Source: DSB 2017 tutorial
    """
    return _weighted(findings.regions, "relative_x")


@feature
def weighted_y(findings: PatientFindings) -> float:
    """Area-weighted mean position of the regions in the lungs' bounding box, from front (0) to back (1).

    0.5 without regions.

    Unit: 1
    Source: DSB 2017 tutorial
    """
    return _weighted(findings.regions, "relative_y")


@feature
def region_count(findings: PatientFindings) -> float:
    """Number of regions in all slices.

    Unit: 1
    Source: DSB 2017 tutorial
    """
    return len(findings.regions)


@feature
def regions_per_slice(findings: PatientFindings) -> float:
    """Number of regions divided by the number of slices.

    Unit: 1/slice
    Source: DSB 2017 tutorial
    """
    return len(findings.regions) / max(1, findings.slice_count)


def _mean(values: pd.Series) -> float:
    return float(values.mean()) if len(values) else 0.0


def _weighted(regions: pd.DataFrame, column: str) -> float:
    return float(np.average(regions[column], weights=regions["area_mm2"])) if len(regions) else 0.5
