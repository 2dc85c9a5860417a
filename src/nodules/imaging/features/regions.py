"""The cross-sections of nodules, slice by slice: what the tutorial measured."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from skimage.measure import label, regionprops

from nodules.imaging.candidates.outline import Candidates
from nodules.imaging.geometry.volume import Volume
from nodules.imaging.lungs.position import LungFrame

REGION_COLUMNS = ["area_mm2", "eccentricity", "equivalent_diameter_mm", "relative_y", "relative_x"]


def find_regions(grid: Volume, lungs_zyx: NDArray[np.uint8], candidates: Candidates) -> pd.DataFrame:
    """One row for each connected part (8 neighbours) of the candidates in one slice.

    Parameters
    ----------
    grid : Volume
        With square pixels.
    lungs_zyx : (Z, Y, X) ndarray of uint8
        Lung labels, the frame of the positions.
    candidates : Candidates
        On the same grid.

    Returns
    -------
    DataFrame
        Columns `REGION_COLUMNS`: area, eccentricity, diameter of the circle of the same area, and the centre in the
        lungs' box, relative_x from the patient's right (0) to the left (1) and relative_y from front (0) to back (1).
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
