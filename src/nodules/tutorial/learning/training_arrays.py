"""Training arrays of the tutorial's U-Net: slices and masks of each scan, and their split into parts."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nodules.scans.stores import array_file
from nodules.scans.stores.split import PARTS
from nodules.tutorial.learning.settings import TutorialUnetParams
from nodules.tutorial.steps.node_mask import node_mask
from nodules.tutorial.steps.nodule_slices import NoduleSlice, nodule_slices
from nodules.tutorial.steps.prepared_scan import PreparedScan


@dataclass(frozen=True)
class ScanArrays:
    """Network images and reference masks of one scan; a scan may have none.

    Attributes
    ----------
    seriesuid : str
        Series UID of the scan.
    z : (N,) ndarray of int
        Slice indices: first the slices selected for a nodule, then the nodule-free ones.
    images : (N, S, S) ndarray of float32
        Images from `PreparedScan.image`.
    masks : (N, S, S) ndarray of float32
        Reference masks: 0 and 1, or 0 to 1 / 255 with the defect `node_mask_divided_by_255`.
    positive : (N,) ndarray of bool
        Whether the slice was selected for a nodule. Its mask is empty if the nodule does not reach it.
    """

    seriesuid: str
    z: NDArray[np.int64]
    images: NDArray[np.float32]
    masks: NDArray[np.float32]
    positive: NDArray[np.bool_]

    def __post_init__(self) -> None:
        for name, shape in (
            ("images", (len(self.z), *self.images.shape[1:])),
            ("masks", self.images.shape),
            ("positive", self.z.shape),
        ):
            if getattr(self, name).shape != shape:
                raise ValueError(f"{self.seriesuid}: {name} must have shape {shape}, got {getattr(self, name).shape}")

    def save(self, file: Path) -> None:
        """Write a compressed `.npz`; the file appears only once it is complete."""
        array_file.save(self, file)

    @classmethod
    def load(cls, file: Path) -> ScanArrays:
        """Read a file that `save` wrote.

        Raises
        ------
        ScanError
            If the file is missing, damaged or holds other arrays.
        """
        values = array_file.load(cls, file, "training slices of the tutorial", "prepare the slices again")
        return cls(**values | {"seriesuid": str(values["seriesuid"])})


def scan_arrays(
    seriesuid: str,
    prepared: PreparedScan,
    centres_world_xyz: Sequence[Sequence[float]],
    diameters_mm: Sequence[float],
    unet: TutorialUnetParams,
    seed: int,
) -> ScanArrays:
    """Make the training arrays of a scan: its nodule slices and a random choice of nodule-free slices.

    Parameters
    ----------
    seriesuid : str
        Series UID of the scan. It and `seed` determine which nodule-free slices are drawn.
    prepared : PreparedScan
        The scan, prepared with the recipe's defects.
    centres_world_xyz, diameters_mm
        Centre and diameter of every nodule, as in LUNA16's `annotations.csv`. A scan without nodules yields nodule-free
        slices only.
    unet : TutorialUnetParams
        `nodule_free_slices`, and the defect `positive_slices_only`.
    seed : int
        Seed of the draw.

    Raises
    ------
    ValueError
        If there are not as many diameters as centres, or one of their numbers is not finite.
    """
    scan, steps = prepared.scan, prepared.params
    chosen = nodule_slices(scan, centres_world_xyz, diameters_mm, steps)
    every_nodule = tuple(range(len(diameters_mm)))

    def drawn(one: NoduleSlice) -> NDArray[np.bool_]:
        return node_mask(scan, one, centres_world_xyz, diameters_mm, steps.defects)

    positive = [one for one in chosen if one.z in prepared.kept]
    free: list[NoduleSlice] = []
    if not unet.defects.positive_slices_only:
        others = (NoduleSlice(z, every_nodule) for z in _shuffled_others(prepared, chosen, seriesuid, seed))
        free = list(islice((one for one in others if not drawn(one).any()), unet.nodule_free_slices))
    shape = (len(positive) + len(free), steps.size_px, steps.size_px)
    images, masks = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
    for row, one in enumerate(positive + free):
        images[row], masks[row] = prepared.image(one.z), prepared.node_mask(one.z, drawn(one))
    return ScanArrays(
        seriesuid=seriesuid,
        z=np.array([one.z for one in positive + free], dtype=np.int64),
        images=images,
        masks=masks,
        positive=np.arange(len(images)) < len(positive),
    )


def split_slices(
    scans: Sequence[ScanArrays], part_of: Mapping[str, str], params: TutorialUnetParams, seed: int
) -> dict[str, NDArray[np.intp]]:
    """Split all slices into training, validation and test slices.

    Parameters
    ----------
    scans : sequence of ScanArrays
        Slices are numbered through all scans, in this order.
    part_of : mapping of str to str
        Part of each series: "train", "validation" or "test". Ignored with the defect `split_by_slice`.
    params : TutorialUnetParams
        `test_share`, and the defect `split_by_slice`.
    seed : int
        Seed of the random split with the defect `split_by_slice`.

    Returns
    -------
    dict of (n,) ndarray of int
        Slice numbers in ascending order, under "train", "validation" and "test".

    Raises
    ------
    ValueError
        If a series has no part or an unknown one, or there are too few slices to split at random.
    """
    uids = [scan.seriesuid for scan in scans for _ in scan.z]
    if params.defects.split_by_slice:
        return _dealt(len(uids), params.test_share, seed)
    if strange := sorted({uid for uid in uids if part_of.get(uid) not in PARTS}):
        raise ValueError(f"every series must have one of the parts {', '.join(PARTS)}, got none for {strange[:3]}")
    part = np.array([part_of[uid] for uid in uids], dtype=object)
    return {name: np.flatnonzero(part == name) for name in PARTS}


def slice_positions(scans: Sequence[ScanArrays]) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """Series UID and z index of every slice, in the order of the slice numbers of `split_slices`."""
    uids = np.repeat([scan.seriesuid for scan in scans], [len(scan.z) for scan in scans])
    return uids, np.concatenate([scan.z for scan in scans])


def slices_by_series(scans: Sequence[ScanArrays], rows: NDArray[np.intp]) -> dict[str, set[int]]:
    """Collect the z indices of slices by series UID; `rows` are slice numbers of `split_slices`."""
    uids, indices = slice_positions(scans)
    found: dict[str, set[int]] = {}
    for uid, z in zip(uids[rows], indices[rows], strict=True):
        found.setdefault(str(uid), set()).add(int(z))
    return found


def _shuffled_others(prepared: PreparedScan, chosen: Sequence[NoduleSlice], seriesuid: str, seed: int) -> list[int]:
    """Slices with lungs that are not nodule slices, in random order; the caller draws as many as it needs."""
    taken = {one.z for one in chosen}
    others = [z for z, found in enumerate(prepared.found) if found and z not in taken]
    random = np.random.default_rng([seed, zlib.crc32(seriesuid.encode())])
    return [others[place] for place in random.permutation(len(others))]


def _dealt(count: int, test_share: float, seed: int) -> dict[str, NDArray[np.intp]]:
    held_out = int(test_share * count)
    if not held_out:
        raise ValueError(
            f"{count} slices are too few for a test_share of {test_share:g}: at least {1 / test_share:.0f} are needed"
        )
    order = np.random.default_rng(seed).permutation(count)
    test, validation, train = np.split(order, [held_out, 2 * held_out])
    return {"train": np.sort(train), "validation": np.sort(validation), "test": np.sort(test)}
