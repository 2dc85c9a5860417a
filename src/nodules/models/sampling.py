"""What the network is shown in training: patches around nodules and from healthy lung, varied a little each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray
from scipy import ndimage

from nodules.imaging.lung_roi import normalise

Patch = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class SamplingParams:
    """How patches are drawn.

    Attributes
    ----------
    patch_px : int
        Side of a patch, a multiple of 2 ** depth of the network.
    nodule_share : float
        Share of the patches that are centred near a nodule.
    hard_share : float
        Share near an earlier false positive, once there are any (`mining`). All others lie anywhere in the lungs.
    jitter_px : int
        Largest distance along each axis from such a patch's centre to its nodule or false positive.
    warped_share : float
        Share of the training patches that are turned by any angle and scaled; the others are only flipped and turned by
        quarters, which costs nothing.
    scale : tuple of 2 float
        Smallest and largest magnification of a warped patch.
    hu_shift, hu_noise : float
        Standard deviations of a shift of all HU and of noise added to each pixel.
    """

    patch_px: Annotated[int, Gt(0)]
    nodule_share: Annotated[float, Ge(0), Le(1)]
    hard_share: Annotated[float, Ge(0), Le(1)]
    jitter_px: Annotated[int, Ge(0)]
    warped_share: Annotated[float, Ge(0), Le(1)]
    scale: tuple[float, float]
    hu_shift: Annotated[float, Ge(0)]
    hu_noise: Annotated[float, Ge(0)]

    def __post_init__(self) -> None:
        if self.nodule_share + self.hard_share > 1:
            raise ValueError(
                f"nodule_share + hard_share must be at most 1, got {self.nodule_share} + {self.hard_share}"
            )
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale must be two numbers with 0 < low <= high, got {self.scale}")


@dataclass(frozen=True)
class SliceSet:
    """The training slices of one scan on the network's grid.

    Attributes
    ----------
    hu : (N, Y, X, C) ndarray of int16
        HU of the inputs, air where nothing is visible. May be a memory map.
    visible : (N, Y, X) ndarray of bool
        What the network may see.
    nodules : (N, Y, X) ndarray of uint8
        1 on nodules.
    lungs : (N, Y, X) ndarray of bool
        Where patches of healthy lung may be centred.
    centres : (K, 4) ndarray of int64
        Row, y, x and number of each nodule cross-section.
    """

    hu: NDArray[np.int16]
    visible: NDArray[np.bool_]
    nodules: NDArray[np.uint8]
    lungs: NDArray[np.bool_]
    centres: NDArray[np.int64]

    def save(self, folder: Path) -> None:
        """Write one .npy file an array, so that training can map them instead of holding every scan in memory."""
        for name, array in vars(self).items():
            np.save(folder / f"{name}.npy", array)

    @classmethod
    def load(cls, folder: Path) -> SliceSet:
        """Map the arrays of `save`."""
        names = ("hu", "visible", "nodules", "lungs")
        maps = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names}
        return cls(**maps, centres=np.load(folder / "centres.npy"))


class PatchSampler:
    """Draws patches from many scans; the same random generator gives the same patches.

    Every nodule is as likely as any other, whatever the number of slices that show it, and then every slice of it.

    Raises
    ------
    ValueError
        If there is no slice at all, or nodule patches are wanted and there is no nodule.
    """

    def __init__(self, sets: Sequence[SliceSet], params: SamplingParams, window_hu: tuple[float, float]) -> None:
        self.sets = [slices for slices in sets if len(slices.hu)]
        if not self.sets:
            raise ValueError("no training slices: the scans of the split hold neither nodules nor lungs")
        self._params = params
        self._hard_places = np.empty((0, 4), dtype=np.int64)
        self.window_hu = window_hu
        self._nodules = [
            (number, slices.centres[slices.centres[:, 3] == nodule])
            for number, slices in enumerate(self.sets)
            for nodule in np.unique(slices.centres[:, 3])
        ]
        if params.nodule_share > 0 and not self._nodules:
            raise ValueError("no nodule in the training slices, though nodule_share > 0")

    def draw(self, random: np.random.Generator, augment: bool) -> Patch:
        """One input (P, P, C) and its mask (P, P, 1), both float32 in [0, 1]."""
        slices, row, y, x = self._place(random)
        warp = self._draw_warp(random) if augment and random.random() < self._params.warped_share else None
        layers = (slices.hu[row], slices.visible[row], slices.nodules[row])
        hu, visible, mask = (_look(layer, y, x, self._params.patch_px, warp) for layer in layers)
        if augment:
            hu, visible, mask = self._vary(hu, visible, mask, random)
        return normalise(hu, visible >= 0.5, self.window_hu), (mask[..., None] >= 0.5).astype(np.float32)

    def batch(self, random: np.random.Generator, size: int, augment: bool) -> Patch:
        """`size` patches stacked along the first axis."""
        images, masks = zip(*(self.draw(random, augment) for _ in range(size)), strict=True)
        return np.stack(images), np.stack(masks)

    def learn_from(self, hard_places: NDArray[np.int64]) -> None:
        """Take the false positives of `mining.find_false_positives`, found in `sets`, instead of any earlier ones."""
        self._hard_places = hard_places

    def _place(self, random: np.random.Generator) -> tuple[SliceSet, int, int, int]:
        chance = random.random()
        if chance < self._params.nodule_share:
            return self._nodule_place(random)
        if chance < self._params.nodule_share + self._params.hard_share and len(self._hard_places):
            number, row, y, x = self._hard_places[random.integers(len(self._hard_places))]
            return self.sets[number], int(row), *self._jitter(random, y, x)
        return self._lung_place(random)

    def _jitter(self, random: np.random.Generator, y: int, x: int) -> tuple[int, int]:
        shift_y, shift_x = random.integers(-self._params.jitter_px, self._params.jitter_px + 1, size=2)
        return int(y + shift_y), int(x + shift_x)

    def _nodule_place(self, random: np.random.Generator) -> tuple[SliceSet, int, int, int]:
        number, sections = self._nodules[random.integers(len(self._nodules))]
        row, y, x, _ = sections[random.integers(len(sections))]
        return self.sets[number], int(row), *self._jitter(random, y, x)

    def _lung_place(self, random: np.random.Generator) -> tuple[SliceSet, int, int, int]:
        slices = self.sets[random.integers(len(self.sets))]
        row = int(random.integers(len(slices.hu)))
        places = np.flatnonzero(slices.lungs[row])
        height, width = slices.lungs.shape[1:]
        place = int(random.choice(places)) if places.size else height // 2 * width + width // 2
        return slices, row, place // width, place % width

    def _draw_warp(self, random: np.random.Generator) -> NDArray[np.float64]:
        """Matrix from offsets in the patch to offsets in the image."""
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
        hu = hu + np.float32(random.normal(0, self._params.hu_shift))
        if self._params.hu_noise:
            hu = hu + random.standard_normal(hu.shape, dtype=np.float32) * np.float32(
                abs(random.normal(0, self._params.hu_noise))
            )
        return hu, visible, mask


def _turn(array: NDArray, turns: int, mirror: bool) -> NDArray:
    array = np.rot90(array, turns, axes=(0, 1))
    return np.ascontiguousarray(array[:, ::-1] if mirror else array)


def _look(layer: NDArray, y: int, x: int, size: int, warp: NDArray[np.float64] | None) -> NDArray[np.float32]:
    """A square of `size` pixels centred at (y, x), seen through the warp."""
    if warp is None:
        return _cut(layer, y, x, size).astype(np.float32)
    reach = int(np.ceil(size * np.abs(warp).sum(axis=1).max())) // 2 + 1
    wide = _cut(layer, y, x, 2 * reach).astype(np.float32)
    middle = (size - 1) / 2
    offset = reach + warp @ [-middle, -middle]
    channels = wide[..., None] if wide.ndim == 2 else wide
    warped = [
        ndimage.affine_transform(channels[..., c], warp, offset, (size, size), order=1, mode="nearest")
        for c in range(channels.shape[-1])
    ]
    return np.stack(warped, axis=-1) if wide.ndim == 3 else warped[0]


def _cut(image: NDArray, y: int, x: int, size: int) -> NDArray:
    """A square of `size` pixels centred at (y, x); its part outside the image repeats the image's edge."""
    rows = np.clip(np.arange(y - size // 2, y - size // 2 + size), 0, image.shape[0] - 1)
    columns = np.clip(np.arange(x - size // 2, x - size // 2 + size), 0, image.shape[1] - 1)
    return np.asarray(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])[
        np.ix_(rows - rows[0], columns - columns[0])
    ]
