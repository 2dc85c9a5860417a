"""Draws balanced batches of varied cubes from many scans."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray
from scipy import ndimage

from nodules.imaging.network_input.cube import CubeParams, network_input
from nodules.models.false_positive_reduction.training_cubes import CubeSet
from nodules.models.runtime.epochs import Batch


@dataclass(frozen=True)
class VariationParams:
    """How a cube differs each time that it is shown; besides, it is mirrored and turned by quarters in its slices.

    Attributes
    ----------
    jitter_mm : float
        The middle is moved by up to this much, since a proposal's centre is not the nodule's.
    scale : tuple of float
        Range of magnification.
    hu_shift : float
        Standard deviation of a shift of all HU of a cube.
    hu_noise : float
        Scale of the noise's standard deviation, which is drawn for each cube.
    """

    jitter_mm: Annotated[float, Ge(0)]
    scale: tuple[float, float]
    hu_shift: Annotated[float, Ge(0)]
    hu_noise: Annotated[float, Ge(0)]

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale must be two ascending positive numbers, got {self.scale}")


def wide_size_px(cube: CubeParams, variation: VariationParams) -> int:
    """Voxels along the edge of a cube with the margin that `CubeSampler` may look into."""
    reach_px = cube.size_px / 2 / min(1.0, variation.scale[0]) + variation.jitter_mm / cube.step_mm
    return cube.size_px + 2 * math.ceil(reach_px - cube.size_px / 2)


class CubeSampler:
    """Draws cubes, as many with a nodule as without; the same random generator gives the same cubes.

    Raises
    ------
    ValueError
        If there is no cube with a nodule, or none without.
    """

    def __init__(self, sets: Sequence[CubeSet], cube: CubeParams, variation: VariationParams) -> None:
        self._sets = sets
        self._cube = cube
        self._variation = variation
        places = [(number, row) for number, cubes in enumerate(sets) for row in range(len(cubes.is_nodule))]
        truth = np.concatenate([cubes.is_nodule for cubes in sets]) if sets else np.empty(0, dtype=bool)
        self._places = np.asarray(places, dtype=np.int64).reshape(-1, 2)
        self._nodules, self._others = np.flatnonzero(truth), np.flatnonzero(~truth)
        if not self._nodules.size or not self._others.size:
            raise ValueError(
                "the reducer learns from cubes with and without a nodule, the training scans give "
                f"{self._nodules.size} and {self._others.size}"
            )

    @property
    def counts(self) -> dict[str, int]:
        """Number of cubes with and without a nodule."""
        return {"training_nodules": self._nodules.size, "training_others": self._others.size}

    def batch(self, random: np.random.Generator, size: int) -> Batch:
        """Inputs (size, P, P, P, 1) and truth (size, 1) of 0 and 1, half of them 1."""
        nodules = random.choice(self._nodules, size // 2)
        others = random.choice(self._others, size - size // 2)
        places = self._places[np.concatenate([nodules, others])]
        hu = np.stack([self._vary(self._sets[number].hu[row], random) for number, row in places])
        truth = (np.arange(size) < len(nodules)).astype(np.float32)
        return network_input(hu, self._cube), truth[:, np.newaxis]

    def _vary(self, wide: NDArray[np.int16], random: np.random.Generator) -> NDArray[np.float32]:
        size, variation = self._cube.size_px, self._variation
        scale = np.exp(random.uniform(*np.log(variation.scale)))
        shift_px = _point_in_ball(random) * variation.jitter_mm / self._cube.step_mm
        # offset of the first sample from the wide cube's first voxel
        first = (wide.shape[0] - 1) / 2 + shift_px - (size - 1) / 2 / scale
        # a vector in place of a matrix: the axes are resampled one by one, which is fast
        hu = ndimage.affine_transform(
            np.asarray(wide, np.float32), np.full(3, 1 / scale), first, (size,) * 3, order=1, mode="nearest"
        )
        mirrored = tuple(axis for axis in range(3) if random.random() < 0.5)
        hu = np.rot90(np.flip(hu, mirrored), int(random.integers(4)), axes=(1, 2))
        noise_hu = abs(random.normal(0, variation.hu_noise)) if variation.hu_noise else 0.0
        noise = random.standard_normal(hu.shape, dtype=np.float32) * np.float32(noise_hu)
        varied: NDArray[np.float32] = hu + noise + np.float32(random.normal(0, variation.hu_shift))
        return varied


def _point_in_ball(random: np.random.Generator) -> NDArray[np.float64]:
    """A point of the unit ball, each part of its volume as likely as any other."""
    direction = random.standard_normal(3)
    point: NDArray[np.float64] = direction / np.linalg.norm(direction) * random.random() ** (1 / 3)
    return point
