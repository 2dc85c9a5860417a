"""Build and paint the mediastinum: heart, great vessels, oesophagus and fat, which bound the lungs medially."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nodules.scans.phantom.anatomy.build import Frame, spine_y
from nodules.scans.phantom.anatomy.canvas import (
    COARSE_STEP_MM,
    Array,
    SmoothField,
    blend,
    filled,
    paint,
    smooth_cut,
    smooth_union,
)
from nodules.scans.phantom.anatomy.thorax import Wall, cavity_shape, ellipsoid_mm

Point = tuple[float, float, float]
BLOOD_HU, MYOCARDIUM_HU, OESOPHAGUS_HU = 42.0, 50.0, 34.0
FAR_MM = 60.0

# Reference points (x, y, z, radius) in mm; +x is the patient's left, +y the back; the carina is at (2, 12, 0).
AORTA = (
    (2, -20, -58, 15), (-14, -24, -42, 16), (-16, -22, -10, 15.5), (-10, -12, 16, 14.5), (4, 4, 26, 13.5),
    (18, 22, 20, 13), (25, 36, 4, 12.5), (25, 40, -30, 12), (22, 40, -80, 11.5), (12, 36, -130, 11), (6, 32, -190, 10),
)  # fmt: skip
PULMONARY_TRUNK = ((10, -42, -48, 13), (15, -36, -30, 13.5), (20, -18, -12, 12))
PULMONARY_RIGHT = ((18, -14, -13, 11), (-6, -2, -15, 10), (-30, 2, -16, 10), (-48, 8, -18, 9))
PULMONARY_LEFT = ((20, -16, -12, 11), (36, 2, -6, 10.5), (50, 16, -6, 9.5))
CAVA = ((-26, -18, 44, 8), (-29, -14, 20, 9), (-30, -12, -10, 9.5), (-30, -14, -48, 11))
LOWER_CAVA = ((-26, 2, -84, 12), (-24, 10, -110, 11.5), (-22, 14, -190, 12))
OESOPHAGUS = (
    (2, 22, 110, 6.5),
    (6, 27, 30, 6.5),
    (8, 30, -20, 7),
    (7, 26, -70, 8),
    (14, 20, -120, 8),
    (26, 4, -140, 9),
)
NECK_VESSELS = (
    ((-10, -14, 26, 6.5), (-18, -10, 50, 6.2), (-27, -6, 80, 5), (-34, -8, 120, 4.5)),
    ((5, -4, 28, 4), (12, -6, 50, 3.8), (22, -6, 80, 3.6), (26, -8, 120, 3.6)),
    ((16, 14, 26, 5), (22, 12, 50, 4.8), (27, 10, 74, 4.6), (44, 4, 92, 4.2)),
    ((-26, -18, 42, 7.5), (-31, -18, 62, 6.5), (-38, -16, 100, 6)),
    ((-25, -20, 40, 7), (-4, -26, 44, 6.2), (22, -24, 54, 6.2), (30, -20, 72, 6.2), (38, -18, 100, 5.5)),
)
VEINS = (
    ((-14, 12, -42, 7), (-34, 12, -38, 6), (-44, 10, -34, 5.5)),
    ((-14, 16, -50, 7), (-36, 20, -54, 6), (-46, 24, -58, 5)),
    ((22, 14, -38, 7), (38, 10, -30, 6), (46, 8, -24, 5.5)),
    ((22, 16, -48, 7), (38, 22, -54, 6), (48, 26, -60, 5)),
)
AZYGOS = ((-4, 46, -150, 3), (-7, 45, -40, 3.6), (-9, 43, 0, 4), (-22, 30, 9, 4.2), (-29, 2, 10, 4.2))
TRACHEA = ((0, 2, 130, 8.5), (0, 4, 70, 8.8), (1, 7, 35, 9), (2, 12, 4, 9.5))


@dataclass(frozen=True)
class Mediastinum:
    """Fields that describe the organs between the lungs."""

    heart: SmoothField
    left_blood: SmoothField
    right_blood: SmoothField
    oesophagus: SmoothField
    beside_spine: SmoothField
    outline_mm: Array  # outline of everything between the lungs, with fat; coarse, negative inside
    contrast_hu: float


def build_mediastinum(frame: Frame, wall: Wall) -> Mediastinum:
    """Describe the organs between the lungs on the coarse grid."""
    build, canvas = frame.build, frame.canvas
    left, right, atria, ventricles = _chambers(frame)
    muscle = smooth_union(atria, ventricles, radius_mm=6.0) - 1.5
    groove = np.maximum(np.abs(atria - ventricles) - 2.2, -10.0 - muscle)
    heart = np.maximum(muscle, -groove)
    aorta = tube_mm(frame, AORTA)
    pulmonary = np.minimum.reduce([tube_mm(frame, p) for p in (PULMONARY_TRUNK, PULMONARY_RIGHT, PULMONARY_LEFT)])
    cava = np.minimum(tube_mm(frame, CAVA), tube_mm(frame, LOWER_CAVA))
    oesophagus = tube_mm(frame, OESOPHAGUS)
    small = np.minimum.reduce([tube_mm(frame, p) for p in (*NECK_VESSELS, *VEINS, AZYGOS)])
    airway = tube_mm(frame, TRACHEA)
    fat = 1.2 + 0.12 * build.fat
    spine = _spine_mm(frame)
    outline = smooth_union(
        smooth_union(muscle - fat, aorta - 1.5, cava - 1.5, pulmonary - 2, radius_mm=10.0),
        smooth_union(spine, oesophagus - 1.5, airway - 3, small - 2, _front_fat_mm(frame), radius_mm=9.0),
        radius_mm=12.0,
    )
    edge = canvas.edge_field
    return Mediastinum(
        heart=edge(heart),
        left_blood=edge(np.minimum(aorta, left)),
        right_blood=edge(np.minimum(np.minimum(pulmonary, cava), right)),
        oesophagus=edge(oesophagus),
        beside_spine=edge(
            np.maximum(np.maximum(spine, wall.cavity_mm), 12 - build.scale * (frame.y - spine_y(build, frame.z)))
        ),
        outline_mm=outline,
        contrast_hu=build.contrast_hu,
    )


def paint_mediastinum(image: Array, organs: Mediastinum, wall: Wall, k: int, inside: Array, grain: Array) -> None:
    """Paint fat, heart and great vessels on slice `k`; `inside` (Y, X) is the share of each pixel in the rib cage."""
    blend(image, inside, wall.fat_hu + 12 + 10 * grain)
    paint(image, organs.beside_spine, k, 38.0)
    paint(image, organs.heart, k, MYOCARDIUM_HU + 0.3 * organs.contrast_hu)
    paint(image, organs.left_blood, k, BLOOD_HU + organs.contrast_hu)
    paint(image, organs.right_blood, k, BLOOD_HU + 0.85 * organs.contrast_hu)
    found = organs.oesophagus.near(k)
    if found is not None:
        box, edge = found
        blend(image[box], filled(edge), OESOPHAGUS_HU + 0.1 * organs.contrast_hu)
        blend(image[box], filled(edge + np.float32(5.0)) * np.clip(grain[box] - 0.6, 0, 0.7), -500.0)


def tube_mm(frame: Frame, path: Sequence[tuple[float, float, float, float]]) -> Array:
    """Return the signed distance in mm to round tubes along reference points (x, y, z, radius); FAR_MM far away."""
    result = np.full(frame.x.shape, FAR_MM, dtype=np.float32)
    scale = np.float32(frame.build.scale)
    for start, stop in itertools.pairwise(path):
        box = _coarse_box(frame, start, stop)
        if box is None:
            continue
        a, b = np.array(start, dtype=np.float32), np.array(stop, dtype=np.float32)
        step = b[:3] - a[:3]
        x, y, z = frame.x[box] - a[0], frame.y[box] - a[1], frame.z[box] - a[2]
        t = np.clip((x * step[0] + y * step[1] + z * step[2]) / max(float(step @ step), 1e-6), 0, 1)
        away = np.sqrt((x - t * step[0]) ** 2 + (y - t * step[1]) ** 2 + (z - t * step[2]) ** 2)
        result[box] = np.minimum(result[box], (away - a[3] - t * (b[3] - a[3])) * scale)
    return result


def _spine_mm(frame: Frame) -> Array:
    """Return the signed distance to the vertebral bodies and the wedge of soft tissue behind them."""
    behind = frame.y - spine_y(frame.build, frame.z)
    body = (np.hypot(frame.x / 21, (behind - 2) / 18) - 1) * 18
    wedge = np.maximum(0.88 * (np.abs(frame.x) - 20 - 0.5 * behind), 2 - behind)
    return smooth_union(body, wedge, radius_mm=6.0) * np.float32(frame.build.scale)


def _front_fat_mm(frame: Frame) -> Array:
    """Return the signed distance to the fat between sternum and great vessels, which widens towards the neck."""
    half_width, half_depth, centre_y = cavity_shape(frame.build, frame.z)
    behind_front = np.maximum(frame.y - (centre_y - half_depth) - 3, 0)
    half = 2.5 + 0.26 * behind_front + 0.55 * np.clip(frame.z - 5, 0, 60)
    wedge = np.maximum(0.95 * (np.abs(frame.x - 3) - np.minimum(half, 0.25 * half_width)), frame.y + 12)
    return wedge * np.float32(frame.build.scale)


def _coarse_box(frame: Frame, start: Sequence[float], stop: Sequence[float]) -> tuple[slice, slice, slice] | None:
    """Return the coarse cells within reach of one tube segment, or None if there are none."""
    reach_mm = max(start[3], stop[3]) * frame.build.scale + 32.0
    box = []
    for axis_zyx, axis_xyz in ((0, 2), (1, 1), (2, 0)):
        centre = frame.build.offset_xyz_mm[axis_xyz]
        low = min(start[axis_xyz], stop[axis_xyz]) * frame.build.scale + centre - reach_mm
        high = max(start[axis_xyz], stop[axis_xyz]) * frame.build.scale + centre + reach_mm
        axis = frame.canvas.coarse_axes_mm[axis_zyx]
        first, last = (int(np.clip((v - axis[0]) // COARSE_STEP_MM + 1, 0, len(axis))) for v in (low, high))
        if first >= last:
            return None
        box.append(slice(first, last))
    return box[0], box[1], box[2]


def _chambers(frame: Frame) -> tuple[Array, Array, Array, Array]:
    """Return signed distances to the blood of the left and right heart, the atria and the ventricles."""
    f = frame.build.heart

    def chamber(centre: Point, semi: Point) -> Array:
        x, y, z = centre
        a, b, c = semi
        return ellipsoid_mm(frame, (x * f, -10 + (y + 10) * f, -50 + (z + 50) * f), (a * f, b * f, c * f))

    left_atrium = chamber((4, 10, -44), (34, 19, 22))
    right_atrium = chamber((-29, -24, -64), (25, 30, 33))
    right_ventricle = chamber((10, -56, -78), (45, 28, 33))
    left_ventricle = smooth_union(
        chamber((36, -24, -74), (33, 32, 34)), chamber((58, -44, -88), (32, 30, 28)), radius_mm=14.0
    )
    atria = smooth_union(left_atrium, right_atrium, radius_mm=8.0)
    ventricles = smooth_union(left_ventricle, right_ventricle, radius_mm=10.0)
    apart = np.float32(5.0)  # half of the septum
    left = np.minimum(left_atrium + 2, smooth_cut(left_ventricle + 10, right_ventricle * -1 + apart, radius_mm=4.0))
    right = np.minimum(right_atrium + 2, np.maximum(right_ventricle + 4, apart - left_ventricle))
    return left, right, atria, ventricles
