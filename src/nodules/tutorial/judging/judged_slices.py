"""The slices by which a recipe is judged: the same ones whatever its defects, with the truth on their own pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nodules.imaging.geometry.spheres import crossed_slices, draw_nodules
from nodules.scans.stores import array_file
from nodules.tutorial.steps.defects import TutorialDefects
from nodules.tutorial.steps.lung_steps import find_lung_steps
from nodules.tutorial.steps.nodule_slices import nodule_slices
from nodules.tutorial.steps.prepared_scan import PreparedScan
from nodules.tutorial.steps.roi_box import RoiBox

NONE = TutorialDefects()


@dataclass(frozen=True)
class JudgedSlices:
    """Some slices of a scan as a recipe's network sees them, and what is true of them.

    Attributes
    ----------
    z : (M,) ndarray of int
        Ascending index in the scan.
    images : (M, S, S) ndarray of float32
        The recipe's images.
    seen : (M,) ndarray of bool
        False where the recipe drops the slice, and so answers nothing.
    boxes : (M, 4) ndarray of int
        `RoiBox` of each image: top, left, bottom, right.
    hu : (M, Y, X) ndarray of int16
        The slices.
    nodules : (M, Y, X) ndarray of uint16
        k where the k-th nodule of the scan is cut (from 1), as wide as it is annotated; 0 elsewhere.
    lungs : (M, Y, X) ndarray of bool
        As the steps without defects find them.
    diameters_mm : (N,) ndarray of float
        Of all nodules of the scan.
    pixel_yx_mm : (2,) ndarray of float
        Sides of the slices' pixels.
    """

    z: NDArray[np.int64]
    images: NDArray[np.float32]
    seen: NDArray[np.bool_]
    boxes: NDArray[np.int64]
    hu: NDArray[np.int16]
    nodules: NDArray[np.uint16]
    lungs: NDArray[np.bool_]
    diameters_mm: NDArray[np.float64]
    pixel_yx_mm: NDArray[np.float64]

    def restored(self, row: int, answer_yx: NDArray[np.float32]) -> NDArray[np.float32]:
        """The network's answer to one image on the slice's own pixels; 0 outside its box and where nothing was seen."""
        rows, columns = self.hu.shape[1:]
        if not self.seen[row]:
            return np.zeros((rows, columns), dtype=np.float32)
        return RoiBox(*map(int, self.boxes[row])).restore(answer_yx, (rows, columns))

    def truth(self, row: int) -> tuple[NDArray[np.uint16], float]:
        """Nodules of one slice, its widest as 1 and others from 2 upwards, and the diameter of the widest in mm.

        The diameter is NaN in a slice without nodules.
        """
        labels = self.nodules[row]
        cut = np.unique(labels[labels > 0])
        if not cut.size:
            return labels, float("nan")
        by_width = sorted(cut.tolist(), key=lambda number: -self.diameters_mm[number - 1])
        numbered = np.zeros(len(self.diameters_mm) + 1, dtype=np.uint16)
        numbered[by_width] = np.arange(1, len(by_width) + 1)
        return numbered[labels], float(self.diameters_mm[by_width[0] - 1])


def judged_slices(
    prepared: PreparedScan,
    centres_world_xyz: Sequence[Sequence[float]],
    diameters_mm: Sequence[float],
    nodule_free: int,
) -> JudgedSlices:
    """Choose slices as the steps without defects choose them, and show them as the prepared scan does.

    Parameters
    ----------
    prepared : PreparedScan
        With the recipe's defects.
    centres_world_xyz, diameters_mm
        One entry a nodule of the scan.
    nodule_free : int
        So many slices without a nodule are tried, evenly spread over the scan; those with lungs are taken.

    Returns
    -------
    JudgedSlices
        Of the slices that the steps choose those that cut a nodule, and the nodule-free ones.

    Raises
    ------
    ValueError
        As `nodule_slices`.
    """
    scan, right = prepared.scan, replace(prepared.params, defects=NONE)
    chosen = [one.z for one in nodule_slices(scan, centres_world_xyz, diameters_mm, right)]
    nodules_zyx = draw_nodules(scan, centres_world_xyz, diameters_mm)
    crossed = [crossed_slices(scan, *one) for one in zip(centres_world_xyz, diameters_mm, strict=True)]
    without = np.setdiff1d(np.arange(len(scan.voxels_zyx)), np.concatenate([*crossed, []]))
    free = _spread(without, nodule_free)
    lungs = {z: find_lung_steps(scan.voxels_zyx[z], right).lungs_yx for z in {*chosen, *free}}
    shown = sorted({z for z in chosen if nodules_zyx[z].any()} | {z for z in free if lungs[z].any()})
    side, plane = prepared.params.size_px, scan.shape_zyx[1:]
    kept = set(prepared.kept)
    images = [prepared.image(z) if z in kept else np.zeros((side, side), np.float32) for z in shown]
    boxes = [[box.top, box.left, box.bottom, box.right] for box in (prepared.boxes[z] for z in shown)]
    return JudgedSlices(
        z=np.asarray(shown, dtype=np.int64),
        images=np.asarray(images, dtype=np.float32).reshape(-1, side, side),
        seen=np.asarray([z in kept for z in shown], dtype=bool),
        boxes=np.asarray(boxes, dtype=np.int64).reshape(-1, 4),
        hu=scan.voxels_zyx[shown].astype(np.int16),
        nodules=nodules_zyx[shown],
        lungs=np.asarray([lungs[z] for z in shown], dtype=bool).reshape(-1, *plane),
        diameters_mm=np.asarray(diameters_mm, dtype=float),
        pixel_yx_mm=np.asarray(scan.spacing_zyx_mm[1:], dtype=float),
    )


def _spread(indices: NDArray[np.int64], count: int) -> list[int]:
    """At most `count` of the indices at equal steps, the ends left out."""
    count = min(count, len(indices))
    return [int(indices[int((step + 0.5) * len(indices) / count)]) for step in range(count)]


def save(judged: JudgedSlices, path: Path) -> None:
    """Write to a compressed `.npz` that appears whole or not at all."""
    array_file.save(judged, path)


def load(path: Path) -> JudgedSlices:
    """Read what `save` wrote.

    Raises
    ------
    ScanError
        If the file is missing, damaged or of another kind.
    """
    return JudgedSlices(**array_file.load(JudgedSlices, path, "slices to judge", "run its stage again"))
