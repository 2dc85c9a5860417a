"""Candidates of the U-Net in annotated images, labelled by what LIDC's readers drew, and cubes around them."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from nodules.imaging.candidates.probability_map import Segmentation
from nodules.imaging.candidates.proposals import PROPOSAL_COLUMNS, Proposals
from nodules.imaging.candidates.watershed import CORE_SHARE
from nodules.imaging.geometry.resample import covered_slices, resample_slices
from nodules.imaging.geometry.volume import Volume
from nodules.imaging.network_input.cube import cut_cubes
from nodules.models.false_positive_reduction.training_cubes import CubeSet
from nodules.pretraining.reader_marks import ReaderMarks

Kind = Literal["nodule", "other", "unclear"]
COLUMNS = [*PROPOSAL_COLUMNS, "kind", "nodule"]


def marks_on_region(marks: ReaderMarks, scan: Volume, region: Volume) -> ReaderMarks:
    """Bring marks from the grid of a scan or cube to that of its segmentation, by the nearest pixel."""
    slices = covered_slices(scan, region)
    numbers = resample_slices(marks.numbers_zyx[slices], scan, region, nearest=True)
    drawn = resample_slices(marks.drawn_zyx[slices].astype(np.uint8), scan, region, nearest=True)
    return ReaderMarks(numbers, drawn > 0, marks.nodules)


def label_candidates(segmentation: Segmentation, proposals: Proposals, marks: ReaderMarks) -> pd.DataFrame:
    """Label each proposal by the marks that it touches.

    A proposal is a nodule if its core touches what the readers' majority drew, and another finding if none of its
    voxels touches what any reader drew or marked. All others are unclear: they are neither trained on nor counted.

    Parameters
    ----------
    proposals : Proposals
        Proposals of the segmentation.
    marks : ReaderMarks
        On the grid of the segmentation.

    Returns
    -------
    DataFrame
        `COLUMNS`: those of `Proposals.table`, the kind, and the number of the nodule or 0.
    """
    boxes = ndimage.find_objects(proposals.labels_zyx)
    kinds: list[Kind] = []
    numbers = []
    for label, peak in zip(proposals.table["label"], proposals.table["max_probability"], strict=True):
        box = boxes[int(label) - 1]
        inside = proposals.labels_zyx[box] == label
        core = inside & (segmentation.probability_zyx[box] >= CORE_SHARE * peak)
        touched = np.bincount(marks.numbers_zyx[box][core])[1:]
        numbers.append(int(touched.argmax()) + 1 if touched.any() else 0)
        drawn = marks.drawn_zyx[box][inside].any()
        kinds.append("nodule" if numbers[-1] else "unclear" if drawn else "other")
    return proposals.table.assign(kind=kinds, nodule=numbers)[COLUMNS]


def training_cubes(
    scan: Volume,
    candidates: pd.DataFrame,
    marks: ReaderMarks,
    side_mm: float,
    size_px: int,
    window_hu: tuple[float, float],
) -> CubeSet:
    """Cut cubes around the candidates whose kind is clear, and around the centre of every nodule of the marks.

    HU are clipped to the window before they are interpolated. Those of `nodule_cubes` were clipped when they were
    stored, and cubes of whole scans must not differ from them.

    Parameters
    ----------
    scan : Volume
        HU on the grid of the segmentation.
    candidates : DataFrame
        As `label_candidates` returns it.
    side_mm, size_px : float, int
        Edge length of the cubes with their margin.
    window_hu : tuple of float
        HU at which the network's input begins and ends.
    """
    clear = candidates[candidates["kind"] != "unclear"]
    annotated = np.array([nodule.centre_world_xyz for nodule in marks.nodules]).reshape(-1, 3)
    centres = np.concatenate([clear[["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=float), annotated])
    is_nodule: NDArray[np.bool_] = np.concatenate(
        [(clear["kind"] == "nodule").to_numpy(dtype=bool), np.ones(len(annotated), dtype=bool)]
    )
    clipped = scan.with_voxels(np.clip(scan.voxels_zyx, *window_hu).astype(np.int16))
    return CubeSet(cut_cubes(clipped, centres, side_mm, size_px), is_nodule)
