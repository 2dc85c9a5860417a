"""Writes folders of nodule cubes: `cubes.csv`, and one PNG per nodule with its slices and its mask."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from nodules.scans.lidc.xml_file import CHARACTERISTICS

ROW = {
    "patient": "LIDC-1",
    "seriesuid": "1.2",
    "subset": 3,
    "spacing_z": 1.25,
    "spacing_y": 0.8,
    "spacing_x": 0.8,
    "x": -50.0,
    "y": 20.0,
    "z": -200.0,
    "luna_x": np.nan,
    "luna_y": np.nan,
    "luna_z": np.nan,
    "luna_diameter_mm": np.nan,
    "volume_mm3": 65.45,
    "readers": 3,
    **dict.fromkeys(CHARACTERISTICS, 2.5),
}
"""Columns of a nodule of 5.0 mm that is no LUNA16 nodule."""


def write_cubes(folder: Path, cubes: Mapping[str, tuple[np.ndarray, np.ndarray, Mapping[str, Any]]]) -> Path:
    """Write cubes by file name: HU (Z, Y, X), mask, and the columns that differ from `ROW`."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, (hu, mask, columns) in cubes.items():
        z, y, x = hu.shape
        grey = np.rint((np.clip(hu, -1000, 300) + 1000) * 255 / 1400).astype(np.uint8)
        picture = np.concatenate([grey, mask.astype(np.uint8) * 255]).reshape(2 * z * y, x)
        Image.fromarray(picture).save(folder / name)
        rows.append({"file": name, "size_z": z, "size_y": y, "size_x": x, **ROW, **columns})
    pd.DataFrame(rows).to_csv(folder / "cubes.csv", index=False)
    return folder
