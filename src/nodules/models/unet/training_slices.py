"""Training slices of one scan for the U-Net, resampled to the network's grid, with their masks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nodules.imaging.geometry.resample import covered_slices
from nodules.imaging.geometry.volume import Volume
from nodules.imaging.network_input.lung_roi import LungRoiParams, input_stacks, lung_region, slices_on_grid
from nodules.imaging.network_input.slice_context import ContextParams
from nodules.scans.stores.slices import INSIDE, NODULE_RIM, ScanSlices


@dataclass(frozen=True)
class SliceSet:
    """The training slices of one scan on the network's grid.

    Attributes
    ----------
    hu : (N, Y, X, C) ndarray of int16
        HU of the inputs. May be a memory map.
    visible : (N, Y, X) ndarray of bool
        Pixels in which nodules are looked for.
    nodules : (N, Y, X) ndarray of uint8
        `INSIDE` a nodule, `NODULE_RIM` one, otherwise 0 (`scans.stores.slices`).
    lungs : (N, Y, X) ndarray of bool
        Pixels on which patches of healthy lung may be centred.
    centres : (K, 4) ndarray of int64
        Row, y and x of each nodule cross-section, and the number of its nodule.
    diameters_mm : (K,) ndarray of float64
        Diameter of the nodule of each cross-section.
    """

    hu: NDArray[np.int16]
    visible: NDArray[np.bool_]
    nodules: NDArray[np.uint8]
    lungs: NDArray[np.bool_]
    centres: NDArray[np.int64]
    diameters_mm: NDArray[np.float64]

    def __post_init__(self) -> None:
        if len(self.diameters_mm) != len(self.centres):
            raise ValueError(
                f"diameters_mm must have one entry for each of the {len(self.centres)} centres, "
                f"got {len(self.diameters_mm)}"
            )

    def save(self, folder: Path) -> None:
        """Write one .npy file per array, so that training can memory-map them and need not hold all scans."""
        for name, array in vars(self).items():
            np.save(folder / f"{name}.npy", array)

    @classmethod
    def load(cls, folder: Path) -> SliceSet:
        """Memory-map the arrays that `save` wrote."""
        names = ("hu", "visible", "nodules", "lungs")
        maps = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names}
        small = {name: np.load(folder / f"{name}.npy") for name in ("centres", "diameters_mm")}
        return cls(**maps, **small)


def slice_set(slices: ScanSlices, lungs: Volume, params: LungRoiParams, context: ContextParams) -> SliceSet:
    """Resample stored slices to the region's grid, as `lung_roi.extract` and `network_input` do with a whole scan.

    Parameters
    ----------
    slices : ScanSlices
        The stored slices; target slices above or below the lung region are left out.
    lungs : Volume
        uint8 lung labels of the whole scan.
    """
    grid, visible = lung_region(lungs, params)
    hu, stored = slices_on_grid(slices.voxels_zyx, slices.slice_indices, lungs, grid)
    masks = (slices.nodule_masks_zyx == INSIDE, slices.nodule_masks_zyx > 0)
    (inside, targets), (marked, _) = (
        slices_on_grid(mask.astype(np.float32), slices.target_indices, lungs, grid) for mask in masks
    )
    shape = (len(targets), *grid.shape_zyx[1:])
    inputs = np.empty((*shape, context.slices), dtype=np.int16)
    stacks = input_stacks(hu, stored, visible, targets.tolist(), params, context, grid.spacing_zyx_mm[0])
    for out, stack in zip(inputs, stacks, strict=True):
        out[...] = np.rint(stack)
    centres = _section_centres(slices, targets + covered_slices(lungs, grid).start, grid)
    return SliceSet(
        hu=inputs,
        visible=visible[targets],
        nodules=np.where(inside >= 0.5, INSIDE, np.where(marked >= 0.5, NODULE_RIM, 0)).astype(np.uint8),
        lungs=grid.voxels_zyx[targets] > 0,
        centres=centres,
        diameters_mm=slices.diameter_mm[centres[:, 3]],
    )


def _section_centres(slices: ScanSlices, shown: NDArray[np.int64], grid: Volume) -> NDArray[np.int64]:
    """`SliceSet.centres` of the given target slices; `shown` holds their indices in the scan."""
    rows = {int(index): row for row, index in enumerate(shown)}
    places = []
    for target, nodule in slices.nodule_numbers:
        row = rows.get(int(slices.target_indices[target]))
        _, y, x = np.rint(grid.world_to_voxel(slices.centre_world_xyz[nodule])).astype(int)
        if row is not None and 0 <= y < grid.shape_zyx[1] and 0 <= x < grid.shape_zyx[2]:
            places.append((row, y, x, int(nodule)))
    return np.asarray(places, dtype=np.int64).reshape(-1, 4)
