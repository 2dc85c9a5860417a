"""Build and paint the upper abdomen: diaphragm, liver, spleen, stomach with gas, and fat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nodules.scans.phantom.anatomy.build import Build, Frame
from nodules.scans.phantom.anatomy.canvas import Array, SmoothField, blend, filled, paint, smooth_cut, smooth_union
from nodules.scans.phantom.anatomy.thorax import Wall, distance_mm, ellipsoid_mm

LIVER_HU, SPLEEN_HU, GAS_HU, DIAPHRAGM_HU = 58.0, 48.0, -985.0, 40.0


@dataclass(frozen=True)
class Abdomen:
    """Fields that describe the upper abdomen."""

    diaphragm_mm: Array  # coarse signed distance, negative below
    diaphragm: SmoothField
    content: SmoothField
    liver: SmoothField
    spleen: SmoothField
    stomach: SmoothField
    gas: SmoothField
    contrast_hu: float


def build_abdomen(frame: Frame, wall: Wall, rng: np.random.Generator) -> Abdomen:
    """Describe the diaphragm and the organs under it on the coarse grid."""
    build, canvas = frame.build, frame.canvas
    below = distance_mm(frame.z - dome_height(build, frame.x, frame.y))
    room = smooth_cut(wall.cavity_mm + 3.0, below + 3.0, radius_mm=8.0)
    bend = 6 * np.sin(frame.y / 17 + rng.uniform(0, 6)) + 5 * np.sin(frame.z / 21 + rng.uniform(0, 6))
    to_left = (frame.x - (16 - 0.8 * (frame.y + 22)) + bend) * np.float32(0.75 * build.scale)
    z = build.dome_left
    stomach = smooth_cut(room, ellipsoid_mm(frame, (52, -20, z - 36), (44, 46, 36)), radius_mm=6.0)
    level = (frame.y - rng.uniform(-60, -15)) * np.float32(build.scale)
    edge = canvas.edge_field
    return Abdomen(
        diaphragm_mm=below,
        diaphragm=edge(np.maximum(wall.cavity_mm, below)),
        content=edge(room),
        liver=edge(smooth_cut(room + 1.0, to_left, radius_mm=10.0)),
        spleen=edge(smooth_cut(room + 1.0, ellipsoid_mm(frame, (90, 34, z - 40), (30, 46, 42)), radius_mm=8.0)),
        stomach=edge(stomach),
        gas=edge(np.maximum(stomach + 5.0, level)),
        contrast_hu=build.contrast_hu,
    )


def paint_abdomen(image: Array, organs: Abdomen, wall: Wall, k: int, grain: Array) -> None:
    """Paint everything under the diaphragm on slice `k`, over the heart where they overlap."""
    paint(image, organs.diaphragm, k, DIAPHRAGM_HU)
    found = organs.content.near(k)
    if found is not None:
        box, edge = found
        blend(image[box], filled(edge), wall.fat_hu + 8 * grain[box])
    paint(image, organs.stomach, k, 45.0)
    paint(image, organs.spleen, k, SPLEEN_HU + 0.45 * organs.contrast_hu)
    paint(image, organs.liver, k, LIVER_HU + 0.3 * organs.contrast_hu)
    paint(image, organs.gas, k, GAS_HU)


def dome_height(build: Build, x: Array, y: Array) -> Array:
    """Return the reference height of the diaphragm over reference x and y: two domes, steep behind and laterally."""
    right, left = (
        top
        - 30 * (np.maximum(side * (x - side * 62), 0) / 64) ** 2
        - 9 * (np.minimum(side * (x - side * 62), 0) / 62) ** 2
        - 60 * (np.maximum(y + 10, 0) / 82) ** 2
        - 20 * (np.minimum(y + 10, 0) / 82) ** 2
        for side, top in ((-1, build.dome_right), (1, build.dome_left))
    )
    return -smooth_union(-right, -left, radius_mm=16.0)
