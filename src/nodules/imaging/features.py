"""From the nodules and lungs of one patient to a row of named features.

A new feature is one function with the decorator `feature`: its name is the column, its docstring the definition.
Without any candidate or region every feature has a defined value, and `has_candidate` is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from skimage.measure import label, regionprops

from nodules.imaging.candidates import Candidates
from nodules.imaging.lung_frame import LungFrame
from nodules.imaging.volume import Volume


@dataclass(frozen=True)
class Findings:
    """What the features of one patient are made from.

    Attributes
    ----------
    candidates : DataFrame
        `Candidates.table`.
    regions : DataFrame
        One row for each connected part of the segmentation in one slice: area_mm2, eccentricity,
        equivalent_diameter_mm, and its centre relative to the lungs' box, relative_x (0 patient's right, 1 left) and
        relative_y (0 front, 1 back).
    slice_count : int
        Slices of the region that was segmented.
    lungs : mapping of str to float
        `lung_mask.lung_measures`.
    """

    candidates: pd.DataFrame
    regions: pd.DataFrame
    slice_count: int
    lungs: Mapping[str, float]


FEATURES: dict[str, Callable[[Findings], float]] = {}


def feature(function: Callable[[Findings], float]) -> Callable[[Findings], float]:
    """Register a feature under its function's name."""
    FEATURES[function.__name__] = function
    return function


def measure(findings: Findings) -> dict[str, float]:
    """All features of one patient, by name, in the order of their definition."""
    return {name: float(function(findings)) for name, function in FEATURES.items()}


def find_regions(grid: Volume, lungs_zyx: NDArray[np.uint8], candidates: Candidates) -> pd.DataFrame:
    """The cross-sections of all candidates, slice by slice, as `Findings.regions`; `grid` has square pixels."""
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
    columns = ["area_mm2", "eccentricity", "equivalent_diameter_mm", "relative_y", "relative_x"]
    return pd.DataFrame(rows, columns=columns, dtype=float)


# The tutorial's nine, in its order.


@feature
def mean_area_mm2(findings: Findings) -> float:
    """Mean area of the regions."""
    return _mean(findings.regions["area_mm2"])


@feature
def max_area_mm2(findings: Findings) -> float:
    """Area of the largest region."""
    return _max(findings.regions["area_mm2"])


@feature
def mean_eccentricity(findings: Findings) -> float:
    """Mean eccentricity of the regions: 0 for a circle, towards 1 for a line."""
    return _mean(findings.regions["eccentricity"])


@feature
def mean_equivalent_diameter_mm(findings: Findings) -> float:
    """Mean diameter of circles of the regions' areas."""
    return _mean(findings.regions["equivalent_diameter_mm"])


@feature
def sd_equivalent_diameter_mm(findings: Findings) -> float:
    """Standard deviation of these diameters."""
    diameters = findings.regions["equivalent_diameter_mm"]
    return float(diameters.std(ddof=0)) if len(diameters) else 0.0


@feature
def weighted_x(findings: Findings) -> float:
    """Mean position of the regions across the lungs, weighted by area; 0.5 without regions."""
    return _weighted(findings.regions, "relative_x")


@feature
def weighted_y(findings: Findings) -> float:
    """Mean position of the regions from front to back, weighted by area; 0.5 without regions."""
    return _weighted(findings.regions, "relative_y")


@feature
def region_count(findings: Findings) -> float:
    """Number of regions over all slices."""
    return len(findings.regions)


@feature
def regions_per_slice(findings: Findings) -> float:
    """Number of regions divided by the number of slices."""
    return len(findings.regions) / max(1, findings.slice_count)


# Beyond the tutorial: nodules in three dimensions, and the lungs.


@feature
def has_candidate(findings: Findings) -> float:
    """1 if anything was found."""
    return float(len(findings.candidates) > 0)


@feature
def candidate_count(findings: Findings) -> float:
    """Number of nodules found."""
    return len(findings.candidates)


@feature
def largest_diameter_mm(findings: Findings) -> float:
    """Volume-equivalent diameter of the largest nodule."""
    return _max(findings.candidates["diameter_mm"])


@feature
def second_diameter_mm(findings: Findings) -> float:
    """The same of the second largest."""
    diameters = np.sort(findings.candidates["diameter_mm"].to_numpy(dtype=float))
    return float(diameters[-2]) if diameters.size > 1 else 0.0


@feature
def total_volume_mm3(findings: Findings) -> float:
    """Volume of all nodules together."""
    return float(findings.candidates["volume_mm3"].sum())


@feature
def max_probability(findings: Findings) -> float:
    """Largest probability of a nodule."""
    return _max(findings.candidates["probability"])


@feature
def largest_mean_hu(findings: Findings) -> float:
    """Mean HU of the largest nodule; -1000 without one."""
    return _of_largest(findings.candidates, "mean_hu", absent=-1000.0)


@feature
def largest_sd_hu(findings: Findings) -> float:
    """Standard deviation of the largest nodule's HU."""
    return _of_largest(findings.candidates, "sd_hu", absent=0.0)


@feature
def largest_relative_height(findings: Findings) -> float:
    """Height of the largest nodule between the lungs' lowest (0) and highest slice (1); 0.5 without one."""
    return _of_largest(findings.candidates, "relative_height", absent=0.5)


@feature
def lung_volume_l(findings: Findings) -> float:
    """Volume of both lungs."""
    return findings.lungs["volume_right_l"] + findings.lungs["volume_left_l"]


@feature
def emphysema_share(findings: Findings) -> float:
    """Share of lung voxels below -950 HU; 0 without lungs."""
    return findings.lungs["emphysema_share"] if lung_volume_l(findings) > 0 else 0.0


def _mean(values: pd.Series) -> float:
    return float(values.mean()) if len(values) else 0.0


def _max(values: pd.Series) -> float:
    return float(values.max()) if len(values) else 0.0


def _weighted(regions: pd.DataFrame, column: str) -> float:
    return float(np.average(regions[column], weights=regions["area_mm2"])) if len(regions) else 0.5


def _of_largest(candidates: pd.DataFrame, column: str, absent: float) -> float:
    if candidates.empty:
        return absent
    return float(candidates[column].iloc[int(candidates["volume_mm3"].to_numpy().argmax())])
