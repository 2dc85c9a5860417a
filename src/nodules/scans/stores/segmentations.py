"""Store segmentations: one folder per scan with three MetaImage files, which any viewer can open."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nodules.imaging.candidates.probability_map import Segmentation, responding_hu
from nodules.scans.volume_files.reader import read_mask
from nodules.scans.volume_files.writer import write_volume

PROBABILITY_STEPS = 255
"""Scale of the stored 8-bit probabilities: 255 stands for 1."""


def save(segmentation: Segmentation, folder: Path) -> None:
    """Write hu.mha (int16, air far from any response), lungs.mha and probability.mha (uint8, 255 for 1)."""
    folder.mkdir(parents=True, exist_ok=True)
    grid = segmentation.scan
    probability = np.rint(segmentation.probability_zyx * PROBABILITY_STEPS).astype(np.uint8)
    hu = responding_hu(grid.voxels_zyx, segmentation.probability_zyx, grid.spacing_zyx_mm)
    write_volume(grid.with_voxels(hu), folder / "hu.mha")
    write_volume(grid.with_voxels(segmentation.lungs_zyx), folder / "lungs.mha")
    write_volume(grid.with_voxels(probability), folder / "probability.mha")


def load(folder: Path) -> Segmentation:
    """Read what `save` wrote.

    Raises
    ------
    ScanError
        If a file is missing or damaged.
    """
    scan = read_mask(folder / "hu.mha")
    probability = read_mask(folder / "probability.mha").voxels_zyx.astype(np.float32) / np.float32(PROBABILITY_STEPS)
    return Segmentation(scan, read_mask(folder / "lungs.mha").voxels_zyx, probability)
