"""Nodules of the real data with the readers' ratings: cubes, folds, and the table of out-of-fold ratings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nodules.imaging.geometry.volume import Volume
from nodules.imaging.network_input.cube import cut_cubes
from nodules.models.malignancy.rated_cubes import RatedCubes, targets
from nodules.models.malignancy.training import MalignancyParams
from nodules.pretraining.folds import read_folds
from nodules.scans.result import ScanError
from nodules.scans.tables.nodule_cubes import NoduleCube, read_cube


def rated_cubes(cubes: Sequence[NoduleCube], params: MalignancyParams) -> RatedCubes:
    """Cut the cube around the centre of each nodule, with the margin that augmentation needs.

    Raises
    ------
    ScanError
        As `read_cube`.
    """
    size_px = params.cube.size_px + 2 * params.variation.margin_px(params.cube)
    side_mm = size_px * params.cube.step_mm
    hu = np.empty((len(cubes), size_px, size_px, size_px), dtype=np.int16)
    percent = np.empty(hu.shape, dtype=np.uint8)
    for number, cube in enumerate(cubes):
        scan, mask = read_cube(cube)
        centre = [_centre_world_xyz(cube, scan, mask)]
        hu[number] = cut_cubes(scan, centre, side_mm, size_px)[0]
        filled = cut_cubes(scan.with_voxels(mask.astype(np.int16) * 100), centre, side_mm, size_px)[0]
        percent[number] = np.clip(filled, 0, 100)  # outside the scan is air of -1000
    scores = [cube.scores for cube in cubes]
    return RatedCubes(hu, percent, targets(scores, [cube.diameter_mm for cube in cubes]))


def folds_of(cubes: Sequence[NoduleCube], slices: Path) -> NDArray[np.int64]:
    """Fold of the patient of each cube, by the manifest of the training slices.

    Raises
    ------
    ScanError
        As `read_folds`, or if a patient has no fold.
    """
    folds = read_folds(slices)
    if without := sorted({cube.patient for cube in cubes} - set(folds)):
        manifest = slices / "manifest.csv"
        raise ScanError(f"{manifest}: names no fold for {len(without)} patients of the cubes (first: {without[0]})")
    return np.array([folds[cube.patient] for cube in cubes], dtype=np.int64)


def out_of_fold_table(
    cubes: Sequence[NoduleCube],
    folds: NDArray[np.int64],
    malignant: NDArray[np.float64],
    probabilities: Mapping[str, NDArray[np.float64]],
) -> pd.DataFrame:
    """One row per nodule: file, patient, fold, diameter, mean rating, label, and all probabilities of `calibrate`."""
    return pd.DataFrame(
        {
            "file": [cube.file.name for cube in cubes],
            "patient": [cube.patient for cube in cubes],
            "fold": folds,
            "diameter_mm": [cube.diameter_mm for cube in cubes],
            "malignancy": [cube.scores["malignancy"] for cube in cubes],
            "malignant": malignant,
            **probabilities,
        }
    )


def _centre_world_xyz(cube: NoduleCube, scan: Volume, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Centre of the outline; where resampling has lost it, the annotated centre or that of the cube."""
    if mask.any():
        return scan.voxel_to_world(np.argwhere(mask).mean(axis=0))
    if cube.annotation:
        return np.asarray(cube.annotation.centre_world_xyz)
    return scan.voxel_to_world((np.array(scan.shape_zyx) - 1) / 2)
