"""Sampling and augmentation of the U-Net's training patches: nodules, hard negatives and healthy lung."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from nodules.imaging.geometry.spheres import DIAMETER_STRATA_MM
from nodules.imaging.network_input.lung_roi import LungRoiParams, normalise
from nodules.models.unet.training_slices import SliceSet
from nodules.scans.stores.slices import INSIDE

Patch = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class SamplingParams:
    """Sampling and augmentation of patches.

    Attributes
    ----------
    patch_px : int
        Side of a patch, a multiple of 2 ** depth of the network.
    nodule_share : float
        Share of the patches that are centred near a nodule.
    hard_share : float
        Share centred near an earlier false positive (`hard_negatives`), once there are any. All other patches are
        centred anywhere in the lungs.
    jitter_px : int
        Largest distance along each axis from the centre of a patch to its nodule or false positive.
    warped_share : float
        Share of the training patches that are rotated by a random angle and scaled. The others are only flipped and
        rotated by multiples of 90 degrees, which is fast.
    scale : tuple of 2 float
        Smallest and largest magnification of a warped patch.
    flattened_share : float
        Share of the training patches whose neighbouring slices are blended with the central slice by a random amount.
        Inputs look like that at the ends of a scan, in scans with thinner slices, and in single slices.
    hu_shift, hu_noise : float
        Standard deviation of a random shift of all HU, and scale of the noise added to each pixel.
    balance_diameters : bool
        Whether all `DIAMETER_STRATA_MM` that contain nodules are drawn equally often; otherwise all nodules are.
    """

    patch_px: Annotated[int, Gt(0)]
    nodule_share: Annotated[float, Ge(0), Le(1)]
    hard_share: Annotated[float, Ge(0), Le(1)]
    jitter_px: Annotated[int, Ge(0)]
    warped_share: Annotated[float, Ge(0), Le(1)]
    scale: tuple[float, float]
    flattened_share: Annotated[float, Ge(0), Le(1)]
    hu_shift: Annotated[float, Ge(0)]
    hu_noise: Annotated[float, Ge(0)]
    balance_diameters: bool

    def __post_init__(self) -> None:
        if self.nodule_share + self.hard_share > 1:
            raise ValueError(
                f"nodule_share + hard_share must be at most 1, got {self.nodule_share} + {self.hard_share}"
            )
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale must be two numbers with 0 < low <= high, got {self.scale}")


class PatchSampler:
    """Draws patches from many scans; the same random generator gives the same patches in any thread.

    All nodules (of a stratum, see `SamplingParams.balance_diameters`) are equally likely, regardless of the number of
    slices that show them. All slices of a nodule are equally likely as well.

    Raises
    ------
    ValueError
        If there are no slices, or `nodule_share` is above 0 and there is no nodule.
    """

    def __init__(self, sets: Sequence[SliceSet], params: SamplingParams, roi: LungRoiParams) -> None:
        self._sets = [slices for slices in sets if len(slices.hu)]
        if not self._sets:
            raise ValueError(
                "no training slices: the scans of the split show neither nodules nor lungs; "
                "check the outputs of extract_luna and lung_masks"
            )
        self._params = params
        self._hard_negatives = np.empty((0, 4), dtype=np.int64)
        self.roi = roi
        self._strata = self._nodules_by_diameter() if params.balance_diameters else [self._all_nodules()]
        if params.nodule_share > 0 and not any(self._strata):
            raise ValueError(
                f"no nodule in the training slices, but unet.sampling.nodule_share is {params.nodule_share}; "
                "use more scans or set it to 0"
            )

    def draw(self, random: np.random.Generator, augment: bool) -> Patch:
        """Draw one input (P, P, C) and its mask (P, P, 1), both float32 in [0, 1]."""
        slices, row, y, x = self._place(random)
        warp = self._draw_warp(random) if augment and random.random() < self._params.warped_share else None
        layers = (slices.hu[row], slices.visible[row], slices.nodules[row] == INSIDE)
        if warp is None:
            hu, visible, mask = (_cut(layer, y, x, self._params.patch_px) for layer in layers)
        else:
            hu, visible, mask = _warped_squares(warp, layers, y, x, self._params.patch_px)
        if augment:
            hu, visible, mask = self._vary(hu, visible, mask, random)
        return normalise(hu, visible >= 0.5, self.roi), (mask[..., None] >= 0.5).astype(np.float32)

    def batch(self, random: np.random.Generator, size: int, augment: bool) -> Patch:
        """Draw `size` patches and stack them along the first axis."""
        images, masks = zip(*(self.draw(random, augment) for _ in range(size)), strict=True)
        return np.stack(images), np.stack(masks)

    @property
    def patch_px(self) -> int:
        """Side of a patch."""
        return self._params.patch_px

    @property
    def mined_sets(self) -> list[SliceSet]:
        """The sets in which hard negatives are to be looked for: all, or none if `hard_share` is 0."""
        return self._sets if self._params.hard_share > 0 else []

    def set_hard_negatives(self, places: NDArray[np.int64]) -> None:
        """Replace the hard negatives by these places, as `hard_negatives.find_false_positives` returns them."""
        self._hard_negatives = places

    def _place(self, random: np.random.Generator) -> tuple[SliceSet, int, int, int]:
        draw = random.random()
        if draw < self._params.nodule_share:
            return self._nodule_place(random)
        if draw < self._params.nodule_share + self._params.hard_share and len(self._hard_negatives):
            number, row, y, x = self._hard_negatives[random.integers(len(self._hard_negatives))]
            return self._sets[number], int(row), *self._jitter(random, y, x)
        return self._lung_place(random)

    def _jitter(self, random: np.random.Generator, y: int, x: int) -> tuple[int, int]:
        shift_y, shift_x = random.integers(-self._params.jitter_px, self._params.jitter_px + 1, size=2)
        return int(y + shift_y), int(x + shift_x)

    def _all_nodules(self) -> list[tuple[int, NDArray[np.int64]]]:
        """Number of the set, and the cross-sections, of each nodule."""
        return [
            (number, slices.centres[slices.centres[:, 3] == nodule])
            for number, slices in enumerate(self._sets)
            for nodule in np.unique(slices.centres[:, 3])
        ]

    def _nodules_by_diameter(self) -> list[list[tuple[int, NDArray[np.int64]]]]:
        nodules = self._all_nodules()
        diameters_mm = [
            self._sets[number].diameters_mm[self._sets[number].centres[:, 3] == sections[0, 3]][0]
            for number, sections in nodules
        ]
        strata = [
            [
                nodule
                for nodule, diameter_mm in zip(nodules, diameters_mm, strict=True)
                if low_mm <= diameter_mm < high_mm
            ]
            for low_mm, high_mm in DIAMETER_STRATA_MM.values()
        ]
        return [stratum for stratum in strata if stratum]

    def _nodule_place(self, random: np.random.Generator) -> tuple[SliceSet, int, int, int]:
        nodules = self._strata[random.integers(len(self._strata))]
        number, sections = nodules[random.integers(len(nodules))]
        row, y, x, _ = sections[random.integers(len(sections))]
        return self._sets[number], int(row), *self._jitter(random, y, x)

    def _lung_place(self, random: np.random.Generator) -> tuple[SliceSet, int, int, int]:
        slices = self._sets[random.integers(len(self._sets))]
        row = int(random.integers(len(slices.hu)))
        places = np.flatnonzero(slices.lungs[row])
        height, width = slices.lungs.shape[1:]
        place = int(random.choice(places)) if places.size else height // 2 * width + width // 2
        return slices, row, place // width, place % width

    def _draw_warp(self, random: np.random.Generator) -> NDArray[np.float64]:
        """Draw the matrix from offsets in the patch to offsets in the image."""
        angle = random.uniform(0, 2 * np.pi)
        magnification = np.exp(random.uniform(*np.log(self._params.scale)))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return turn / magnification

    def _vary(
        self,
        hu: NDArray[np.float32],
        visible: NDArray[np.float32],
        mask: NDArray[np.float32],
        random: np.random.Generator,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        turns, mirror = int(random.integers(4)), bool(random.integers(2))
        hu, visible, mask = (_turn(array, turns, mirror) for array in (hu, visible, mask))
        if random.random() < self._params.flattened_share:
            middle = hu.shape[-1] // 2
            hu += np.float32(random.random()) * (hu[..., middle : middle + 1] - hu)
        hu += np.float32(random.normal(0, self._params.hu_shift))
        if self._params.hu_noise:
            noise = random.standard_normal(hu.shape, dtype=np.float32)
            noise *= np.float32(abs(random.normal(0, self._params.hu_noise)))
            hu += noise
        return hu, visible, mask


class MixedSampler:
    """Draws patches from several samplers, each with its share; a `PatchSampler` for what draws and mines.

    Parameters
    ----------
    samplers : sequence of PatchSampler
        With the same size of patch and the same `roi`.
    shares : sequence of float
        Share of the patches of each sampler, with a sum of 1.

    Raises
    ------
    ValueError
        If there is no sampler, the settings of two samplers differ, or the shares do not fit.
    """

    def __init__(self, samplers: Sequence[PatchSampler], shares: Sequence[float]) -> None:
        if len(samplers) != len(shares) or not np.isclose(sum(shares), 1.0) or min(shares) < 0:
            raise ValueError(f"expected a share for each of {len(samplers)} samplers, with a sum of 1, got {shares}")
        if any((one.roi, one.patch_px) != (samplers[0].roi, samplers[0].patch_px) for one in samplers):
            raise ValueError("expected samplers with the same lung_roi and patch_px")
        self._samplers = list(samplers)
        self._limits = np.cumsum(shares)[:-1]
        self.roi = samplers[0].roi

    @property
    def mined_sets(self) -> list[SliceSet]:
        """The sets of all samplers in which hard negatives are to be looked for."""
        return [slices for sampler in self._samplers for slices in sampler.mined_sets]

    def batch(self, random: np.random.Generator, size: int, augment: bool) -> Patch:
        """Draw `size` patches and stack them along the first axis."""
        chosen = np.searchsorted(self._limits, random.random(size), side="right")
        images, masks = zip(*(self._samplers[number].draw(random, augment) for number in chosen), strict=True)
        return np.stack(images), np.stack(masks)

    def set_hard_negatives(self, places: NDArray[np.int64]) -> None:
        """Replace the hard negatives by these places; the number of a set counts through `mined_sets`."""
        first = 0
        for sampler in self._samplers:
            count = len(sampler.mined_sets)
            mine = places[(places[:, 0] >= first) & (places[:, 0] < first + count)]
            sampler.set_hard_negatives(mine - np.array([first, 0, 0, 0]))
            first += count


def _turn(array: NDArray, turns: int, mirror: bool) -> NDArray:
    array = np.rot90(array, turns, axes=(0, 1))
    return np.ascontiguousarray(array[:, ::-1] if mirror else array)


def _warped_squares(
    warp: NDArray[np.float64], layers: Sequence[NDArray], y: int, x: int, size: int
) -> list[NDArray[np.float32]]:
    """Warped squares of `size` pixels centred at (y, x), from several layers of one image.

    Interpolation is linear, and the edge is repeated outside the image. The sampling positions are computed once for
    all layers and channels; `scipy.ndimage.affine_transform` would compute them for each.
    """
    height, width = layers[0].shape[:2]
    steps = np.arange(size) - (size - 1) / 2
    rows = np.clip(y + warp[0, 0] * steps[:, None] + warp[0, 1] * steps, 0, height - 1)
    columns = np.clip(x + warp[1, 0] * steps[:, None] + warp[1, 1] * steps, 0, width - 1)
    top, left = rows.astype(np.int64), columns.astype(np.int64)
    below, right = (rows - top).astype(np.float32), (columns - left).astype(np.float32)
    first, down = top * width + left, np.where(top < height - 1, width, 0)
    across = (left < width - 1).astype(np.int64)
    corners = (
        (first, (1 - below) * (1 - right)),
        (first + across, (1 - below) * right),
        (first + down, below * (1 - right)),
        (first + down + across, below * right),
    )
    return [_weighted(layer, corners) for layer in layers]


def _weighted(layer: NDArray, corners: Sequence[tuple[NDArray[np.int64], NDArray[np.float32]]]) -> NDArray[np.float32]:
    pixels = layer.reshape(layer.shape[0] * layer.shape[1], *layer.shape[2:])
    total: NDArray[np.float32] = np.zeros((*corners[0][0].shape, *layer.shape[2:]), dtype=np.float32)
    for places, shares in corners:
        total += np.take(pixels, places, axis=0) * shares.reshape(shares.shape + (1,) * (layer.ndim - 2))
    return total


def _cut(image: NDArray, y: int, x: int, size: int) -> NDArray[np.float32]:
    """A square of `size` pixels centred at (y, x); the edge is repeated outside the image."""
    rows = np.clip(np.arange(y - size // 2, y - size // 2 + size), 0, image.shape[0] - 1)
    columns = np.clip(np.arange(x - size // 2, x - size // 2 + size), 0, image.shape[1] - 1)
    part = np.asarray(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], dtype=np.float32)
    if part.shape[:2] == (size, size):
        return part
    return part[np.ix_(rows - rows[0], columns - columns[0])]
