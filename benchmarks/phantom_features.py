"""Features of synthetic patients without their scans: what a perfect detector would measure.

Each nodule is rendered alone in a small block of lung, with the blur and noise of the patient's scanner. Its outline is
where the block before noise is more than half nodule. The functions that measure real scans then measure candidates and
regions. Only the position in the chest is drawn at random, in the nodule's lobe of one reference chest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from nodules.imaging.candidates.outline import CANDIDATE_COLUMNS, Candidates, SegmentationSettings, find_candidates
from nodules.imaging.candidates.probability_map import Segmentation
from nodules.imaging.candidates.proposals import CandidateParams
from nodules.imaging.features.cross_sections import REGION_COLUMNS, find_regions
from nodules.imaging.features.definition import PatientFindings
from nodules.imaging.features.measure import measure
from nodules.imaging.geometry.volume import Volume
from nodules.imaging.lungs.sides import LEFT, RIGHT
from nodules.scans.phantom.anatomy.build import Build, draw_build
from nodules.scans.phantom.anatomy.canvas import Canvas
from nodules.scans.phantom.cohort import patient_id
from nodules.scans.phantom.nodule_shapes import Body, paint_nodules, shape_nodule
from nodules.scans.phantom.nodules import Nodule
from nodules.scans.phantom.patient import PhantomParams, Truth, draw_truth, stream
from nodules.scans.phantom.scanner import Scanner, draw_scanner
from reference_chest import ReferenceChest, build_chest

PIXEL_MM = 1.0  # in-plane, as scans are resampled for the network
MARGIN_MM = 8.0
CHEST_MM = 240.0  # height of the lungs, for the number of slices
SOFT_TISSUE_HU = 60.0  # a calcified nodule is not outlined at half its own brightness
EVERYTHING = SegmentationSettings(threshold=0.5, dilation_mm=0.0)
ANY_SIZE = CandidateParams(min_diameter_mm=0.0, proposal_threshold=0.5, proposal_peak=0.5, split_dynamic=1.0)
EMPHYSEMA_HU = -950.0
TEXTURE_HU = 20.0  # SD of the parenchyma of a rendered chest within a slice, after blur


def patient_tables(indices: Sequence[int], params: PhantomParams) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Features and labels of patients of the DSB-like cohort.

    Parameters
    ----------
    indices : sequence of int
        Numbers of the patients in the cohort.
    params : PhantomParams
        Cohort parameters.

    Returns
    -------
    features : DataFrame
        Index `id`, one column a feature.
    labels : DataFrame
        id, cancer, true_probability.
    """
    chest = build_chest()
    features, labels = [], []
    for index in indices:
        truth, identity = draw_truth(index, "dsb", params), patient_id(index, params)
        features.append({"id": identity, **measure(patient_findings(truth, params, chest))})
        labels.append({"id": identity, "cancer": truth.cancer, "true_probability": truth.true_probability})
    return pd.DataFrame(features).set_index("id"), pd.DataFrame(labels)


def patient_findings(truth: Truth, params: PhantomParams, chest: ReferenceChest) -> PatientFindings:
    """What the features of one patient are made from; nothing of it depends on risk or label."""
    rng = stream("placement", truth.index, truth.layout, params)
    scanner = draw_scanner(stream("scanner", truth.index, truth.layout, params), params)
    field_mm = params.grid_px * scanner.spacing_zyx_mm[1]
    anatomy = stream("anatomy", truth.index, truth.layout, params)
    build = draw_build(anatomy, field_mm=field_mm, emphysema=truth.emphysema)
    found = [_find(nodule, chest, build, scanner, rng) for nodule in truth.nodules]
    tables = [pd.DataFrame([], columns=CANDIDATE_COLUMNS)] if not found else [table for table, _ in found]
    regions = [pd.DataFrame([], columns=REGION_COLUMNS, dtype=float)] if not found else [part for _, part in found]
    slices = int(CHEST_MM * build.scale / scanner.spacing_zyx_mm[0])
    candidates = pd.concat(tables, ignore_index=True)
    candidates["label"] = np.arange(1, len(candidates) + 1)
    return PatientFindings(
        candidates, pd.concat(regions, ignore_index=True), slices, _lung_measures(build, scanner, chest)
    )


def _find(
    nodule: Nodule, chest: ReferenceChest, build: Build, scanner: Scanner, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of one nodule in the tables of candidates and regions."""
    place = chest.lobes[nodule.lobe].place(nodule, rng)
    block, outline = _block(nodule, build, scanner, rng)
    side = np.uint8(RIGHT if nodule.lobe.startswith("right") else LEFT)
    lungs = np.full(outline.shape, side, dtype=np.uint8)
    candidates = find_candidates(Segmentation(block, lungs, outline.astype(np.float32)), EVERYTHING, ANY_SIZE)
    main = candidates.table.head(1).assign(**place)
    kept = Candidates(np.where(candidates.labels_zyx == main["label"].iloc[0], candidates.labels_zyx, 0), main)
    regions = find_regions(block, lungs, kept)
    return main, regions.assign(relative_x=place["relative_x"], relative_y=place["relative_y"])


def _block(
    nodule: Nodule, build: Build, scanner: Scanner, rng: np.random.Generator
) -> tuple[Volume, NDArray[np.bool_]]:
    """HU around one nodule, and its outline."""
    half_mm = nodule.diameter_mm + MARGIN_MM
    spacing = (scanner.spacing_zyx_mm[0], PIXEL_MM, PIXEL_MM)
    depth, height, width = (int(2 * half_mm / step) + 1 for step in spacing)
    canvas = Canvas((depth, height, width), spacing, (-half_mm, -half_mm, -half_mm))
    body = shape_nodule(nodule, rng.uniform(-0.5, 0.5, 3) * spacing[::-1], rng)
    image = np.full(canvas.shape_zyx, build.lung_hu, dtype=np.float32)
    paint_nodules(image, canvas, [body], rng)
    blur_px = scanner.blur_mm / PIXEL_MM
    image = ndimage.gaussian_filter(image, (0, blur_px, blur_px))
    outline = image >= _edge_hu(image, body, build)
    noisy = image + rng.normal(0, math.hypot(scanner.noise_hu, TEXTURE_HU), image.shape)
    return Volume(np.rint(noisy).astype(np.int16), spacing), outline


def _edge_hu(image: NDArray[np.floating], body: Body, build: Build) -> float:
    """Half way from the lung to the nodule, or to its brightest voxel if none is filled by it."""
    return (build.lung_hu + min(body.hu, float(image.max()), SOFT_TISSUE_HU)) / 2


def _lung_measures(build: Build, scanner: Scanner, chest: ReferenceChest) -> dict[str, float]:
    """Volumes and emphysema as the mask of the rendered lungs would measure them, about."""
    size = build.scale**3 * build.depth_factor
    spread_hu = math.hypot(scanner.noise_hu, TEXTURE_HU)
    by_noise = _normal_share((EMPHYSEMA_HU - build.lung_hu) / spread_hu)
    destroyed = _normal_share(2.2 * build.emphysema - 2.2) if build.emphysema else 0.0
    return {
        "volume_right_l": chest.litres["right"] * size,
        "volume_left_l": chest.litres["left"] * size,
        "emphysema_share": destroyed + (1 - destroyed) * by_noise,
        "lungs_found": 1.0,
    }


def _normal_share(score: float) -> float:
    """Share of a standard normal distribution below a score."""
    return (1 + math.erf(score / math.sqrt(2))) / 2
