"""Sampling of balanced, augmented batches of cubes for the training of false-positive reduction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray
from scipy import ndimage

from nodules.imaging.geometry.volume import AIR_HU
from nodules.imaging.network_input.cube import CubeParams, network_input
from nodules.models.false_positive_reduction.training_cubes import CubeSet
from nodules.models.runtime.epochs import Batch


@dataclass(frozen=True)
class VariationParams:
    """Data augmentation of cubes. Each cube is also flipped, and rotated in-plane by multiples of 90 degrees.

    Attributes
    ----------
    jitter_mm : float
        Largest random shift of the centre, since the centre of a proposal is not exactly that of the nodule.
    scale : tuple of float
        Range of the random magnification.
    hu_shift : float
        Standard deviation of a random shift of all HU of a cube.
    hu_noise : float
        Scale of the noise; the standard deviation of the noise is drawn anew for each cube.
    blur_mm : float
        Scale of a Gaussian blur; its standard deviation is drawn anew for each cube.
    match_cuts : bool
        Whether a cube with a nodule and one without are paired, and each is cut off where the other one ends. Training
        images that are small end beside the candidates off their centre. Where nodules lie at the centre, a network
        would otherwise learn that a cube that is cut off shows no nodule.
    """

    jitter_mm: Annotated[float, Ge(0)]
    scale: tuple[float, float]
    hu_shift: Annotated[float, Ge(0)]
    hu_noise: Annotated[float, Ge(0)]
    blur_mm: Annotated[float, Ge(0)] = 0.0
    match_cuts: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"variation.scale must be two ascending positive numbers, got {self.scale}")


def size_with_margin_px(cube: CubeParams, variation: VariationParams) -> int:
    """Edge length in voxels of a cube with the margin that `CubeSampler` needs for shifts and scaling."""
    reach_px = cube.size_px / 2 / min(1.0, variation.scale[0]) + variation.jitter_mm / cube.step_mm
    return cube.size_px + 2 * math.ceil(reach_px - cube.size_px / 2)


class CubeSampler:
    """Draws as many cubes with a nodule as without; the same random generator gives the same cubes.

    Parameters
    ----------
    sets : sequence of CubeSet
        Cubes of all scans.
    cube, variation : CubeParams, VariationParams
        Size of the network's input, and augmentation.
    weights : sequence of float, optional
        For each set, how often one of its cubes without a nodule is drawn, relative to the others. Default: equally.

    Raises
    ------
    ValueError
        If there is no cube with a nodule, or none without.
    """

    def __init__(
        self,
        sets: Sequence[CubeSet],
        cube: CubeParams,
        variation: VariationParams,
        weights: Sequence[float] | None = None,
    ) -> None:
        self._sets = sets
        self._cube = cube
        self._variation = variation
        places = [(number, row) for number, cubes in enumerate(sets) for row in range(len(cubes.is_nodule))]
        truth = np.concatenate([cubes.is_nodule for cubes in sets]) if sets else np.empty(0, dtype=bool)
        self._places = np.asarray(places, dtype=np.int64).reshape(-1, 2)
        self._nodules, self._others = np.flatnonzero(truth), np.flatnonzero(~truth)
        if not self._nodules.size or not self._others.size:
            raise ValueError(
                "false-positive reduction: expected training cubes with and without a nodule, got "
                f"{self._nodules.size} with and {self._others.size} without; use more training scans"
            )

        self._shares: NDArray[np.float64] | None = None
        if weights is not None:
            of_others = np.asarray(weights, dtype=float)[self._places[self._others, 0]]
            self._shares = of_others / of_others.sum()

    @property
    def counts(self) -> dict[str, int]:
        """Number of cubes with and without a nodule."""
        return {"training_nodules": self._nodules.size, "training_others": self._others.size}

    def batch(self, random: np.random.Generator, size: int) -> Batch:
        """Draw inputs (size, P, P, P, 1) and labels (size, 1) of 0 and 1, half of them 1."""
        nodules = random.choice(self._nodules, size // 2)
        others = random.choice(self._others, size - size // 2, p=self._shares)
        places = self._places[np.concatenate([nodules, others])]
        wide = [self._sets[number].hu[row] for number, row in places]
        if self._variation.match_cuts:
            for number, partner in enumerate(range(len(nodules), size)):
                wide[number % len(nodules)], wide[partner] = _cut_off_alike(wide[number % len(nodules)], wide[partner])
        hu = np.stack([self._vary(cube, random) for cube in wide])
        truth = (np.arange(size) < len(nodules)).astype(np.float32)
        return network_input(hu, self._cube), truth[:, np.newaxis]

    def _vary(self, wide: NDArray[np.int16], random: np.random.Generator) -> NDArray[np.float32]:
        size, variation = self._cube.size_px, self._variation
        scale = np.exp(random.uniform(*np.log(variation.scale)))
        shift_px = _point_in_ball(random) * variation.jitter_mm / self._cube.step_mm
        # Position of the first sample in the wide cube, in voxels.
        first = (wide.shape[0] - 1) / 2 + shift_px - (size - 1) / 2 / scale
        # With a vector instead of a matrix, SciPy resamples the axes one by one, which is fast.
        hu = ndimage.affine_transform(
            np.asarray(wide, np.float32), np.full(3, 1 / scale), first, (size,) * 3, order=1, mode="nearest"
        )
        mirrored = tuple(axis for axis in range(3) if random.random() < 0.5)
        hu = np.rot90(np.flip(hu, mirrored), int(random.integers(4)), axes=(1, 2))
        if variation.blur_mm:
            hu = ndimage.gaussian_filter(hu, abs(random.normal(0, variation.blur_mm)) / self._cube.step_mm)
        return with_noise(hu, variation.hu_shift, variation.hu_noise, random)


def with_noise(
    hu: NDArray[np.float32], hu_shift: float, hu_noise: float, random: np.random.Generator
) -> NDArray[np.float32]:
    """Add noise and a shift to the HU of a cube, with the meaning of `VariationParams`."""
    noise_hu = abs(random.normal(0, hu_noise)) if hu_noise else 0.0
    noise = random.standard_normal(hu.shape, dtype=np.float32) * np.float32(noise_hu)
    varied: NDArray[np.float32] = hu + noise + np.float32(random.normal(0, hu_shift))
    return varied


def _cut_off_alike(first: NDArray[np.int16], second: NDArray[np.int16]) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Replace by air, in two cubes of the same size, what lies outside the part that both of them show."""
    common = tuple(
        slice(max(a.start, b.start), max(min(a.stop, b.stop), max(a.start, b.start)))
        for a, b in zip(_shown(first), _shown(second), strict=True)
    )
    cut = np.full((2, *first.shape), AIR_HU, dtype=np.int16)
    for hu, wide in zip(cut, (first, second), strict=True):
        hu[common] = wide[common]
    return cut[0], cut[1]


def _shown(hu: NDArray[np.int16]) -> tuple[slice, ...]:
    """Box of a cube outside of which all is air: the part that lies inside the image from which it was cut."""
    is_shown = np.asarray(hu) != AIR_HU
    box = []
    for axis in range(3):
        rows = np.flatnonzero(is_shown.any(axis=tuple({0, 1, 2} - {axis})))
        box.append(slice(int(rows[0]), int(rows[-1]) + 1) if rows.size else slice(0, 0))
    return tuple(box)


def _point_in_ball(random: np.random.Generator) -> NDArray[np.float64]:
    """A point drawn uniformly from the unit ball."""
    direction = random.standard_normal(3)
    point: NDArray[np.float64] = direction / np.linalg.norm(direction) * random.random() ** (1 / 3)
    return point
