"""Build and paint the bones: ribs with cartilages, vertebrae and discs, sternum, scapulae and clavicles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nodules.scans.phantom.anatomy.build import Frame, spine_y
from nodules.scans.phantom.anatomy.canvas import Array, SmoothField, blend, filled
from nodules.scans.phantom.anatomy.thorax import Wall, cavity_shape
from nodules.scans.phantom.anatomy.tubes import Tubes

LEVEL_MM = 24.0  # reference height of one vertebra with its disc, and of one rib with its intercostal space
CORTEX_HU, MARROW_HU, CARTILAGE_HU, DISC_HU = 1400.0, 70.0, 95.0, 80.0
RIB_DEPTH_MM, RIB_HALF_THICK_MM, RIB_HALF_HIGH_MM, RIB_CORTEX_MM = 5.2, 3.5, 6.2, 1.35
CARTILAGE_FROM = 0.70  # share of the way from the spine to the sternum where bone ends
CLAVICLES = tuple(
    ((side * 22, -50, 60, 6.5), (side * 42, -50, 68, 5.5), (side * 80, -38, 78, 5.2), (side * 128, 2, 86, 6.5))
    for side in (-1, 1)
)


@dataclass(frozen=True)
class Skeleton:
    """Fields that describe the bones."""

    wall: Wall
    rib_number: SmoothField  # whole numbers on the axes of the ribs
    x: SmoothField
    behind: SmoothField  # reference mm behind the axis of the vertebral bodies
    height: SmoothField
    spine_zone: SmoothField
    sternum_y: SmoothField  # reference mm in front of the sternum's mid plane
    sternum_zone: SmoothField
    jitter: Array  # per rib and side, mm


def build_skeleton(frame: Frame, wall: Wall, rng: np.random.Generator) -> Skeleton:
    """Describe the bones of one patient."""
    canvas, build, turn = frame.canvas, frame.build, wall.turn_rad
    fall = build.rib_fall * (0.2 * turn / np.pi + 0.8 * np.sin(turn / 2))
    fall = fall * np.clip(1 - (frame.z + 0.5 * fall - 10) / 150, 0.45, 1)  # upper ribs slope less
    behind = frame.y - spine_y(build, frame.z)
    _, half_depth, centre_y = cavity_shape(build, frame.z)
    from_sternum = frame.y - (np.minimum(centre_y - half_depth, -40) - 6)
    spine_zone = np.maximum(np.abs(frame.x) - 46, np.abs(behind - 22) - 46) / 4
    sternum_zone = np.maximum(np.maximum(np.abs(frame.x) - 36, np.abs(from_sternum) - 12), frame.z - 58) / 4
    keep = canvas.smooth_field
    return Skeleton(
        wall=wall,
        rib_number=keep((frame.z + fall) / LEVEL_MM + build.rib_phase),
        x=keep(frame.x),
        behind=keep(behind),
        height=keep(frame.z / LEVEL_MM + build.rib_phase),
        spine_zone=keep(np.clip(spine_zone, -9, 9)),
        sternum_y=keep(from_sternum),
        sternum_zone=keep(np.clip(sternum_zone, -9, 9)),
        jitter=rng.normal(0, 1.2, (2, 40)).astype(np.float32),
    )


def clavicles(frame: Frame) -> Tubes:
    """Return both clavicles."""
    return Tubes.joined([Tubes.through(frame, path) for path in CLAVICLES])


def paint_skeleton(image: Array, bones: Skeleton, k: int, cavity_mm: Array, grain: Array) -> None:
    """Paint all bones on slice `k`; `grain` (Y, X) is a random texture of mean 0 and SD 1."""
    _paint_ribs(image, bones, k, cavity_mm)
    _paint_scapulae(image, bones, k, cavity_mm)
    _paint_sternum(image, bones, k, grain)
    _paint_spine(image, bones, k, grain)


def _paint_ribs(image: Array, bones: Skeleton, k: int, cavity_mm: Array) -> None:
    shell = np.flatnonzero((cavity_mm > 0) & (cavity_mm < 12))
    if not len(shell):
        return
    x = bones.x.at(k).ravel()[shell]
    shell, x = shell[np.abs(x) > 19], x[np.abs(x) > 19]
    number = bones.rib_number.at(k).ravel()[shell]
    turn = bones.wall.turn.at(k).ravel()[shell] / np.float32(np.pi)
    scale = bones.wall.frame.build.scale
    dz, _, dx = bones.wall.frame.canvas.spacing_zyx_mm
    nearest = np.rint(number)
    jitter = bones.jitter[(x > 0).astype(np.intp), nearest.astype(np.intp) % 40]
    along = (number - nearest) * np.float32(LEVEL_MM * scale * 0.9) + jitter
    across = cavity_mm.ravel()[shell] - RIB_DEPTH_MM
    bone = np.clip((CARTILAGE_FROM - turn) * 25, 0, 1)
    flat = image.reshape(-1)
    for shrink_mm, hard_hu, soft_hu in ((0.0, CORTEX_HU, CARTILAGE_HU + 20), (RIB_CORTEX_MM, MARROW_HU, CARTILAGE_HU)):
        u, v = across / (RIB_HALF_THICK_MM - shrink_mm), along / (RIB_HALF_HIGH_MM - shrink_mm)
        q = np.maximum(np.hypot(u, v), 1e-3)
        width = (
            np.abs(u) * dx / (RIB_HALF_THICK_MM - shrink_mm)
            + np.abs(v) * (0.9 * dz + 0.35 * dx) / (RIB_HALF_HIGH_MM - shrink_mm)
        ) / q
        share = np.clip(0.5 - (q - 1) / width, 0, 1) * np.clip(11 - nearest + 0 * q, 0, 1)
        hu = soft_hu + bone * (hard_hu - soft_hu)
        flat[shell] += share * (hu - flat[shell])


def _paint_scapulae(image: Array, bones: Skeleton, k: int, cavity_mm: Array) -> None:
    frame = bones.wall.frame
    z = float(np.median(bones.height.cells[k]) - frame.build.rib_phase) * LEVEL_MM
    up = np.clip((z + 62) / 120, 0, 1)
    if not 0 < up < 1:
        return
    turn = bones.wall.turn.at(k) / np.float32(np.pi)
    low, high = 0.30 - 0.13 * up, 0.33 + 0.13 * up  # the blade widens upwards from its tip
    depth_mm = RIB_DEPTH_MM + 13 + 8 * (turn - low) / (high - low)
    border = np.clip((turn - high + 0.05) / 0.05, 0, 1)
    half_mm = (1.3 + 2.8 * border) * np.clip(60 * np.minimum(turn - low, high - turn), 0, 1)
    dx = frame.canvas.spacing_zyx_mm[2]
    off_mm = np.abs(cavity_mm - depth_mm)
    blend(image, np.clip((half_mm - off_mm) / dx + 0.5, 0, 1) * (half_mm > 0), 620.0)
    blend(image, np.clip((half_mm - 1.6 - off_mm) / dx + 0.5, 0, 1), MARROW_HU)


def _paint_sternum(image: Array, bones: Skeleton, k: int, grain: Array) -> None:
    found = bones.sternum_zone.near(k)
    if found is None:
        return
    box, _ = found
    frame = bones.wall.frame
    x, y = bones.x.on(k, box), bones.sternum_y.on(k, box)
    z = (bones.height.on(k, box) - frame.build.rib_phase) * LEVEL_MM
    half_wide = np.where(z > 15, 19 + 0.28 * (z - 15), 17.0)
    share = np.clip((z + 112) / 6, 0, 1) * np.clip((56 - z) / 4, 0, 1)
    dx = frame.canvas.spacing_zyx_mm[2] / frame.build.scale
    for shrink, hu in ((0.0, 420.0), (1.3, 70.0)):
        q = _power4(x / (half_wide - shrink), y / (6.2 - shrink))
        blend(image[box], filled((q - 1) * (5.2 - shrink) / dx) * share, hu + 40 * grain[box])


def _paint_spine(image: Array, bones: Skeleton, k: int, grain: Array) -> None:
    found = bones.spine_zone.near(k)
    if found is None:
        return
    box, _ = found
    frame, view = bones.wall.frame, image[box]
    dz, _, dx = (s / frame.build.scale for s in frame.canvas.spacing_zyx_mm)
    x, y, level = bones.x.on(k, box), bones.behind.on(k, box), bones.height.on(k, box)
    z = (level - np.floor(level) - 0.5) * LEVEL_MM  # from the middle of this vertebra
    end = np.clip((np.abs(z) - 9.6) / dz + 0.5, 0, 1)  # share of disc
    waist = 1 + 0.10 * (np.minimum(np.abs(z), 10) / 10) ** 2
    body = (_power4(x / (18.5 * waist), y / (15.2 * waist)) - 1) * 15
    plate = np.clip(1 - np.abs(np.abs(z) - 9.2) / max(1.0, 0.5 * dz), 0, 1) * (1 - end)
    blend(view, filled(body / dx), 520.0 * (1 - end) + DISC_HU * end)
    inner_hu = (125 + 170 * plate + 42 * grain[box]) * (1 - end) + DISC_HU * end
    blend(view, filled((body + 1.2) / dx), inner_hu)
    _paint_arch(view, x, y, z, dx)


def _paint_arch(view: Array, x: Array, y: Array, z: Array, dx: float) -> None:
    """Paint the canal, pedicles, laminae, transverse and spinous processes, with gaps between the vertebrae."""
    canal_y = 22.0
    canal = np.hypot(x / 9.6, (y - canal_y) / 8.2)
    middle = np.clip((9 - np.abs(z - 1)) / 3, 0, 1)
    ring = np.abs(canal - 1.32) * 8.5 - 2.6
    blend(view, filled(ring / dx) * (0.25 + 0.75 * middle), 520.0)
    blend(view, filled((ring + 1.7) / dx) * middle, 240.0)
    reach = np.clip((8 - np.abs(z - 3)) / 3, 0, 1)
    wing = np.maximum(np.abs(y - 22 - 0.42 * np.abs(x)) - 3.6, np.maximum(np.abs(x) - 36, 12 - np.abs(x)))
    blend(view, filled(wing / dx) * reach, 480.0)
    blend(view, filled((wing + 1.5) / dx) * reach, 210.0)
    tail = np.clip((9.5 - np.abs(z + 4)) / 3, 0, 1)
    spine = np.maximum(np.abs(x) - 3.0 - 0.03 * (y - 30), np.maximum(33 - y, y - 56))
    blend(view, filled(spine / dx) * tail, 520.0)
    blend(view, filled((spine + 1.4) / dx) * tail, 230.0)
    blend(view, filled((canal - 1) * 8.5 / dx), -20.0)
    blend(view, filled((np.hypot(x / 7.6, (y - canal_y) / 6.4) - 1) * 7 / dx), 28.0)


def _power4(u: Array, v: Array) -> Array:
    u2, v2 = u * u, v * v
    return np.sqrt(np.sqrt(u2 * u2 + v2 * v2))
