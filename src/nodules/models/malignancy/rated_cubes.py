"""Nodules for training: cubes around their centres, and what readers thought of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge
from numpy.typing import ArrayLike, NDArray

from nodules.imaging.network_input.cube import CubeParams, network_input
from nodules.models.false_positive_reduction.sampling import with_noise
from nodules.models.malignancy.network import TARGETS, mask_size_px
from nodules.models.runtime.epochs import NamedBatch

INDETERMINATE = 3.0
"""Readers' rating of malignancy that is neither below nor above the middle of the scale."""
HIGHEST_SCORE = {"calcification": 6.0}
DIAMETERS_MM = (3.0, 30.0)  # mapped to 0 and 1 on a logarithmic scale


@dataclass(frozen=True)
class RatingVariationParams:
    """Data augmentation. Each cube is also flipped, and rotated in-plane by multiples of 90 degrees.

    There is no magnification, because the size of a nodule is most of what its rating depends on.

    Attributes
    ----------
    jitter_mm : float
        Largest random shift of the centre along each axis, in whole voxels, since the centre of a candidate is not
        exactly that of the nodule.
    hu_shift : float
        Standard deviation of a random shift of all HU of a cube.
    hu_noise : float
        Scale of the noise; the standard deviation of the noise is drawn anew for each cube.
    """

    jitter_mm: Annotated[float, Ge(0)]
    hu_shift: Annotated[float, Ge(0)]
    hu_noise: Annotated[float, Ge(0)]

    def margin_px(self, cube: CubeParams) -> int:
        """Largest shift in voxels; the cubes need this margin on each side."""
        return math.floor(self.jitter_mm / cube.step_mm + 1e-9)


@dataclass(frozen=True)
class RatedCubes:
    """Cubes of several nodules with their targets.

    Attributes
    ----------
    hu : (N, M, M, M) ndarray of int16
        Cubes with a margin around the network's input, so that they can be shifted and scaled.
    mask_percent : (N, M, M, M) ndarray of uint8
        Share of each voxel that the nodule fills, in percent.
    targets : (N, len(TARGETS)) ndarray of float32
        As `targets` returns them.
    """

    hu: NDArray[np.int16]
    mask_percent: NDArray[np.uint8]
    targets: NDArray[np.float32]

    @property
    def malignant(self) -> NDArray[np.float64]:
        """(N,) 1 for a mean rating above `INDETERMINATE`, 0 below, NaN for those that do not count."""
        return self.targets[:, 0].astype(np.float64)

    def without(self, rows: NDArray[np.bool_]) -> RatedCubes:
        """Leave out some rows."""
        return RatedCubes(self.hu[~rows], self.mask_percent[~rows], self.targets[~rows])


def targets(scores: Sequence[Mapping[str, float]], diameters_mm: ArrayLike) -> NDArray[np.float32]:
    """Map the readers' mean scores and the diameters to [0, 1].

    Parameters
    ----------
    scores : sequence of mapping
        Mean score by name; NaN where no reader gave one.
    diameters_mm : (N,) array-like of float
        Diameters of the same nodules.

    Returns
    -------
    (N, len(TARGETS)) ndarray of float32
        ``malignant`` is 1 above `INDETERMINATE` and 0 below. NaN is not learnt: missing scores, and ``malignant`` of
        nodules rated exactly `INDETERMINATE`.
    """
    columns = []
    for name in TARGETS[1:-1]:
        score = np.array([one[name] for one in scores], dtype=float)
        columns.append((score - 1) / (HIGHEST_SCORE.get(name, 5.0) - 1))
    malignancy = np.array([one["malignancy"] for one in scores], dtype=float)
    decided = np.isfinite(malignancy) & (malignancy != INDETERMINATE)
    malignant = np.where(decided, malignancy > INDETERMINATE, np.nan)
    smallest, largest = np.log(DIAMETERS_MM)
    diameter = (np.log(np.asarray(diameters_mm, dtype=float)) - smallest) / (largest - smallest)
    return np.clip(np.column_stack([malignant, *columns, diameter]), 0, 1).astype(np.float32)


class RatedSampler:
    """Draws augmented batches of cubes; the same random generator gives the same cubes.

    Raises
    ------
    ValueError
        If no nodule is rated above the middle of the scale, or none below.
    """

    def __init__(self, cubes: RatedCubes, cube: CubeParams, variation: RatingVariationParams) -> None:
        malignant = cubes.targets[:, 0]
        above, below = int((malignant == 1).sum()), int((malignant == 0).sum())
        if not above or not below:
            raise ValueError(
                "malignancy: expected training nodules with a mean rating above and below 3, got "
                f"{above} above and {below} below; use more patients"
            )
        self._cubes = cubes
        self._cube = cube
        self._variation = variation

    def __len__(self) -> int:
        """Return the number of nodules."""
        return len(self._cubes.targets)

    def batch(self, random: np.random.Generator, size: int) -> NamedBatch:
        """Draw inputs (size, P, P, P, 1), and targets by the name of the network's output."""
        rows = random.choice(len(self), size, replace=size > len(self))
        drawn = [self._one(row, random) for row in rows]
        hu, masks = (np.stack(arrays) for arrays in zip(*drawn, strict=True))
        return network_input(hu, self._cube), {"log_odds": self._cubes.targets[rows], "mask": masks[..., np.newaxis]}

    def _one(self, row: int, random: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        size, margin = self._cube.size_px, self._variation.margin_px(self._cube)
        z, y, x = random.integers(0, 2 * margin, 3, endpoint=True)
        mirrored = tuple(axis for axis in range(3) if random.random() < 0.5)
        turns = int(random.integers(4))

        def view(wide: NDArray[Any]) -> NDArray[np.float32]:
            cut = wide[z : z + size, y : y + size, x : x + size]
            return np.rot90(np.flip(cut, mirrored), turns, axes=(1, 2)).astype(np.float32)

        hu = with_noise(view(self._cubes.hu[row]), self._variation.hu_shift, self._variation.hu_noise, random)
        half = mask_size_px(size)
        filled = view(self._cubes.mask_percent[row]).reshape(half, 2, half, 2, half, 2).mean(axis=(1, 3, 5))
        return hu, filled / np.float32(100)
