"""Evaluation slices of the tutorial's U-Net: selection, storage and ground truth, the same for every set of defects.

The slices and their ground truth come from the steps without defects. Only the network's images differ by recipe.
"""

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

NO_DEFECTS = TutorialDefects()


@dataclass(frozen=True)
class EvaluationSlices:
    """Evaluation slices of one scan: the network's images and the ground truth.

    Attributes
    ----------
    z : (M,) ndarray of int
        Slice indices in the scan, ascending.
    images : (M, S, S) ndarray of float32
        The network's images, prepared by the recipe; zeros where `seen` is False.
    seen : (M,) ndarray of bool
        False where the recipe drops the slice, so the network makes no prediction for it.
    boxes : (M, 4) ndarray of int
        `RoiBox` of each image: top, left, bottom, right.
    hu : (M, Y, X) ndarray of int16
        The slices in HU.
    nodules : (M, Y, X) ndarray of uint16
        Nodule labels: k inside the k-th nodule of the scan (counted from 1), 0 elsewhere. Each nodule is a sphere of
        its annotated diameter.
    lungs : (M, Y, X) ndarray of bool
        Lung masks from the steps without defects.
    diameters_mm : (N,) ndarray of float
        Diameters of all nodules of the scan.
    pixel_yx_mm : (2,) ndarray of float
        Pixel height and width of the slices.
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

    def restore(self, row: int, prediction_yx: NDArray[np.float32]) -> NDArray[np.float32]:
        """Resample the prediction for one image to the pixels of its slice (Y, X).

        Pixels outside the box are 0. If the recipe dropped the slice, all pixels are 0.
        """
        rows, columns = self.hu.shape[1:]
        if not self.seen[row]:
            return np.zeros((rows, columns), dtype=np.float32)
        return RoiBox(*map(int, self.boxes[row])).restore(prediction_yx, (rows, columns))

    def truth(self, row: int) -> tuple[NDArray[np.uint16], float]:
        """Return the nodule labels (Y, X) of one slice and the diameter of its largest nodule in mm.

        The largest nodule has label 1, the others 2 and up. Without a nodule the diameter is NaN.
        """
        labels = self.nodules[row]
        cut = np.unique(labels[labels > 0])
        if not cut.size:
            return labels, float("nan")
        by_width = sorted(cut.tolist(), key=lambda number: -self.diameters_mm[number - 1])
        numbered = np.zeros(len(self.diameters_mm) + 1, dtype=np.uint16)
        numbered[by_width] = np.arange(1, len(by_width) + 1)
        return numbered[labels], float(self.diameters_mm[by_width[0] - 1])

    def save(self, path: Path) -> None:
        """Write a compressed `.npz`; the file appears only once it is complete."""
        array_file.save(self, path)

    @classmethod
    def load(cls, path: Path) -> EvaluationSlices:
        """Read a file that `save` wrote.

        Raises
        ------
        ScanError
            If the file is missing, damaged or holds other arrays.
        """
        return cls(**array_file.load(cls, path, "evaluation slices", "run the stage that writes it again"))


def evaluation_slices(
    prepared: PreparedScan,
    centres_world_xyz: Sequence[Sequence[float]],
    diameters_mm: Sequence[float],
    nodule_free: int,
) -> EvaluationSlices:
    """Select the evaluation slices of a scan.

    The steps without defects select the slices, find the lungs and draw the nodules. The network's images come from
    `prepared`, with the recipe's defects.

    Parameters
    ----------
    prepared : PreparedScan
        The scan, prepared with the recipe's defects.
    centres_world_xyz, diameters_mm
        Centre and diameter of every nodule of the scan.
    nodule_free : int
        Number of candidate slices without a nodule, evenly spaced over the scan; those that show lungs are selected.

    Returns
    -------
    EvaluationSlices
        The training slices that cut a nodule (see `nodule_slices`), and the nodule-free slices.

    Raises
    ------
    ValueError
        If there are not as many diameters as centres, or one of their numbers is not finite.
    """
    scan, right = prepared.scan, replace(prepared.params, defects=NO_DEFECTS)
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
    return EvaluationSlices(
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
    """Select at most `count` indices at equal steps, without the two ends."""
    count = min(count, len(indices))
    return [int(indices[int((step + 0.5) * len(indices) / count)]) for step in range(count)]
