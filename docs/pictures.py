"""Draws the pictures of these pages from a synthetic patient, with the pipeline's own functions.

`python docs/pictures.py` after `make repro`. Pictures that need a trained network are left as they are where there is
none.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray

import tutorial_pictures
from drawing import outline, panels, save, show
from nodules import params
from nodules.imaging.candidates.outline import SegmentationSettings
from nodules.imaging.candidates.proposals import CandidateParams, unet_scorer
from nodules.imaging.features.cross_sections import find_regions
from nodules.imaging.features.measure import measure_patient
from nodules.imaging.geometry.spheres import draw_nodules
from nodules.imaging.geometry.volume import Volume
from nodules.imaging.lungs.segment import LungMaskParams, find_lungs
from nodules.imaging.network_input.lung_roi import LungRoi, LungRoiParams, extract, network_input
from nodules.imaging.network_input.slice_context import ContextParams
from nodules.pictures.overlay import REFERENCE_COLOUR, candidates_sheet, lung_contours
from nodules.scans.phantom.cohort import PhantomParams, make_patient
from nodules.scans.phantom.nodules import Nodule

PATIENT = 4  # of the DSB layout, so that no network has been trained on it; three nodules, the largest 13.3 mm
WRONG_COLOUR = "#ff4fd8"
CLOSE_UP_MM = 70.0
FAINTEST = 0.1  # probability that is still drawn


@dataclass(frozen=True)
class Patient:
    """One synthetic scan with what is known about it and its lungs.

    Attributes
    ----------
    scan, lungs : Volume
        HU, and labels on the same grid.
    nodules : tuple of Nodule
        Largest first.
    region : LungRoi
        What the network is shown.
    """

    scan: Volume
    lungs: Volume
    nodules: tuple[Nodule, ...]
    region: LungRoi

    @classmethod
    def make(cls) -> Patient:
        """Draw the patient, find the lungs and cut the region out."""
        scan, truth = make_patient(PATIENT, "dsb", params.load("phantoms", PhantomParams))
        labels = find_lungs(scan, params.load("lung_mask", LungMaskParams)).labels_zyx
        region = extract(scan, labels, params.load("lung_roi", LungRoiParams))
        return cls(scan, scan.with_voxels(labels), truth.nodules, region)

    def slice_of(self, nodule: Nodule, grid: Volume) -> int:
        """Index of the slice of `grid` through the nodule's middle."""
        return int(np.clip(round(float(grid.world_to_voxel(_centre(nodule))[0])), 0, grid.shape_zyx[0] - 1))

    def largest(self) -> tuple[int, NDArray[np.int16]]:
        """Index and HU of the slice through the largest nodule."""
        index = self.slice_of(self.nodules[0], self.scan)
        return index, self.scan.voxels_zyx[index]

    def sphere(self) -> NDArray[np.bool_]:
        """The largest nodule in that slice, as annotated."""
        nodule = self.nodules[0]
        return draw_nodules(self.scan, [_centre(nodule)], [nodule.diameter_mm])[self.largest()[0]] > 0


def main() -> None:
    """Draw all pictures that can be drawn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--segmenter", type=Path, default=Path("models/segmenter"))
    parser.add_argument("--reducer", type=Path, default=Path("models/false_positive_reduction"))
    parser.add_argument("--tuned", type=Path, default=Path("models/tuned_segmentation.json"))
    chosen = parser.parse_args()
    patient = Patient.make()
    pictures: dict[str, Callable[[Patient], Figure]] = {
        "slice": slice_and_histogram,
        "masks": sphere_and_double,
        "lungs": lambda one: lung_contours(one.scan, one.lungs.voxels_zyx, axial=3, coronal=1),
        "region": network_channels,
        "tutorial_lungs": lambda one: tutorial_pictures.lung_steps(one.largest()[1]),
        "tutorial_images": lambda one: tutorial_pictures.network_images(one.scan, one.largest()[0], one.sphere()),
    }
    for name, draw in pictures.items():
        save(draw(patient), name)
    if chosen.segmenter.is_dir():
        for name, figure in network_pictures(patient, chosen).items():
            save(figure, name)


def slice_and_histogram(patient: Patient) -> Figure:
    """A slice through the largest nodule, and where its HU lie."""
    index, plane = patient.largest()
    figure, (left, right) = panels(2, (8.4, 3.6))
    show(left, plane, patient.scan.spacing_zyx_mm[1])
    left.set_title(f"slice {index} of {patient.scan.shape_zyx[0]}, lung window", fontsize=9)
    right.set_axis_on()
    right.hist(plane.ravel(), bins=np.arange(-1050, 750, 25).tolist(), color="#4c72b0")
    threshold = params.load("lung_mask", LungMaskParams).threshold_hu
    right.axvline(threshold, color="#c44e52", label=f"lung mask: {threshold:g} HU")
    right.set_yscale("log")
    right.set_xlabel("HU")
    right.set_ylabel("pixels")
    right.legend(fontsize=8)
    return figure


def sphere_and_double(patient: Patient) -> Figure:
    """The largest nodule in three slices: the sphere of its diameter, and the one of twice its diameter."""
    nodule, scan = patient.nodules[0], patient.scan
    true = draw_nodules(scan, [_centre(nodule)], [nodule.diameter_mm])
    double = draw_nodules(scan, [_centre(nodule)], [2 * nodule.diameter_mm])
    middle = patient.slice_of(nodule, scan)
    figure, made = panels(3, (8.4, 3.08))
    for panel, index in zip(made, (middle - 1, middle, middle + 1), strict=True):
        show(panel, scan.voxels_zyx[index], scan.spacing_zyx_mm[1])
        outline(panel, true[index] > 0, scan.spacing_zyx_mm[1], REFERENCE_COLOUR)
        outline(panel, double[index] > 0, scan.spacing_zyx_mm[1], WRONG_COLOUR)
        _close_up(panel, scan, nodule)
        areas = [int((mask[index] > 0).sum()) for mask in (true, double)]
        panel.set_title(f"slice {index}: {areas[0]} and {areas[1]} pixels", fontsize=9)
    return figure


def network_channels(patient: Patient) -> Figure:
    """One input of the network, channel by channel."""
    roi, context = params.load("lung_roi", LungRoiParams), params.load("context", ContextParams)
    index = patient.slice_of(patient.nodules[0], patient.region.scan)
    image = network_input(patient.region, [index], roi, context)[0]
    figure, made = panels(context.slices, (9.6, 1.95))
    for number, panel in enumerate(made):
        panel.imshow(image[..., number], cmap="gray", vmin=0, vmax=1)
        panel.set_title(f"{(number - context.slices // 2) * context.distance_mm:+g} mm", fontsize=9)
    return figure


def network_pictures(patient: Patient, chosen: argparse.Namespace) -> dict[str, Figure]:
    """What needs a trained network: its answer, the nodules in it, the regions that the tutorial's features measure."""
    from nodules.models.false_positive_reduction.reducer import FalsePositiveReducer
    from nodules.models.unet.segmenter import Segmenter, segment_region

    scan = segment_region(patient.scan, patient.lungs, Segmenter.load(chosen.segmenter))
    scorer = FalsePositiveReducer.load(chosen.reducer) if chosen.reducer.is_dir() else unet_scorer
    settings = SegmentationSettings(**json.loads(chosen.tuned.read_text()))
    asked = params.load("candidates", CandidateParams)
    candidates, features = measure_patient(scan.segmentation, scan.lung_measures, settings, asked, scorer)
    regions = find_regions(scan.segmentation.scan, scan.segmentation.lungs_zyx, candidates)
    return {
        "prediction": answers(patient, scan.segmentation.probability_zyx),
        "candidates": candidates_sheet(patient.scan, patient.lungs.voxels_zyx, candidates.table, largest_count=3),
        "features": region_positions(patient, regions, features),
    }


def answers(patient: Patient, probability_zyx: NDArray[np.float32]) -> Figure:
    """The network's probability over the slice of each nodule, beside the nodule's sphere."""
    region = patient.region.scan
    spheres = draw_nodules(
        region, [_centre(one) for one in patient.nodules], [one.diameter_mm for one in patient.nodules]
    )
    figure, made = panels(len(patient.nodules), (8.4, 3.08))
    for panel, nodule in zip(made, patient.nodules, strict=True):
        index, pixel_mm = patient.slice_of(nodule, region), region.spacing_zyx_mm[1]
        show(panel, region.voxels_zyx[index], pixel_mm)
        layer = np.ma.masked_less(probability_zyx[index], FAINTEST)
        height_mm, width_mm = (size * pixel_mm for size in layer.shape)
        panel.imshow(layer, cmap="autumn", vmin=0, vmax=1, alpha=0.5, extent=(0, width_mm, height_mm, 0))
        outline(panel, spheres[index] > 0, pixel_mm, REFERENCE_COLOUR)
        _close_up(panel, region, nodule)
        panel.set_title(f"nodule of {nodule.diameter_mm:.1f} mm", fontsize=9)
    return figure


def region_positions(patient: Patient, regions: pd.DataFrame, features: Mapping[str, float]) -> Figure:
    """Regions of all slices in the box of the lungs, seen from below, and their mean place."""
    lungs = patient.region.lungs_zyx.max(axis=0) > 0
    rows, columns = (np.flatnonzero(lungs.max(axis=axis)) for axis in (1, 0))
    box = lungs[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    pixel_mm = patient.region.scan.spacing_zyx_mm[1]
    height_mm, width_mm = (size * pixel_mm for size in box.shape)
    figure, (panel,) = panels(1, (5.6, 4.4))
    panel.imshow(box, cmap="Blues", vmin=0, vmax=4, extent=(0, width_mm, height_mm, 0))
    for region in regions.itertuples():
        place = (region.relative_x * width_mm, region.relative_y * height_mm)
        panel.add_patch(Circle(place, region.equivalent_diameter_mm / 2, fill=False, color="#c44e52", linewidth=0.9))
    mean = (features["weighted_x"] * width_mm, features["weighted_y"] * height_mm)
    panel.plot(*mean, "+", color="black", markersize=14, markeredgewidth=2)
    panel.set_title(
        f"{features['region_count']:.0f} regions, mean {features['mean_area_mm2']:.0f} mm2, "
        f"weighted x, y = {features['weighted_x']:.2f}, {features['weighted_y']:.2f}",
        fontsize=9,
    )
    return figure


def _close_up(panel: Axes, grid: Volume, nodule: Nodule) -> None:
    _, y_mm, x_mm = (np.asarray(grid.world_to_voxel(_centre(nodule))) + 0.5) * grid.spacing_zyx_mm
    panel.set_xlim(x_mm - CLOSE_UP_MM / 2, x_mm + CLOSE_UP_MM / 2)
    panel.set_ylim(y_mm + CLOSE_UP_MM / 2, y_mm - CLOSE_UP_MM / 2)


def _centre(nodule: Nodule) -> tuple[float, float, float]:
    if nodule.centre_world_xyz is None:
        raise ValueError("wanted a nodule of a rendered patient, got one without a place")
    return nodule.centre_world_xyz


if __name__ == "__main__":
    main()
