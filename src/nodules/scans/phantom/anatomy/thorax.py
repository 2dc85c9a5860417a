"""Build and paint the chest wall: rib-cage cavity, body outline, fat and muscle layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nodules.scans.phantom.anatomy.build import Build, Frame, random_field, spine_y
from nodules.scans.phantom.anatomy.canvas import (
    COARSE_STEP_MM,
    Array,
    SmoothField,
    blend,
    filled,
    smooth_cut,
    smooth_union,
)

HALF_WIDTH = 130.0  # reference half width of the cavity at its widest level
WIDEST_Z = -55.0
GUTTER = 29.0  # how far the lungs reach behind the axis of the vertebral bodies
RIB_CAGE_MM = 9.5  # thickness of the shell that holds the ribs
FAT_HU, MUSCLE_HU, SKIN_HU = -108.0, 52.0, 10.0


@dataclass(frozen=True)
class Wall:
    """Fields that describe the chest wall."""

    frame: Frame
    cavity_mm: Array  # coarse signed distance to the inside of the rib cage, negative inside
    cavity: SmoothField  # the same, in mm, for full slices
    turn_rad: Array  # coarse angle around the cavity, 0 behind and pi in front
    turn: SmoothField
    body: SmoothField
    body_mm: Array
    muscle: SmoothField
    streaks: SmoothField  # random wavy field that opens planes of fat between muscles
    fat_hu: float


def build_wall(frame: Frame, rng: np.random.Generator) -> Wall:
    """Describe the chest wall of one patient on the coarse grid."""
    build, canvas = frame.build, frame.canvas
    half_width, half_depth, centre_y = cavity_shape(build, frame.z)
    back = (frame.y - centre_y) / half_depth
    side = frame.x / (half_width * (1 + 0.09 * np.clip(back, -1, 1)))  # egg-shaped: narrower in front
    rise = np.maximum(_superellipse(side, back, 2.3) - 1, -0.9)
    top = frame.z - build.apex + 0.012 * (np.abs(frame.x) - 44) ** 2 + 0.010 * (frame.y - centre_y) ** 2
    around = distance_mm(rise)
    cavity_mm = smooth_cut(around, distance_mm(top), radius_mm=14.0)
    cos_turn = _cos_turn(side, back)
    body_mm = _body_mm(frame)
    muscle_mm = _muscle_mm(frame, cavity_mm, cos_turn, body_mm)
    return Wall(
        frame=frame,
        cavity_mm=cavity_mm,
        cavity=canvas.smooth_field(cavity_mm),
        turn_rad=np.arccos(cos_turn),
        turn=canvas.smooth_field(np.arccos(cos_turn)),
        body=canvas.edge_field(body_mm),
        body_mm=body_mm,
        muscle=canvas.edge_field(muscle_mm),
        streaks=canvas.smooth_field(0.7 * random_field(frame, 9.0, rng) + 0.6 * random_field(frame, 24.0, rng)),
        fat_hu=FAT_HU + float(rng.uniform(-8, 8)),
    )


def paint_wall(image: Array, wall: Wall, k: int) -> Array:
    """Paint skin, fat and muscle on slice `k` of air; return the distance to the cavity (Y, X) in mm."""
    cavity_mm = wall.cavity.at(k)
    edge = wall.body.at(k)
    inside = filled(edge)
    skin_px = 1.6 / wall.frame.canvas.spacing_zyx_mm[1]
    streaks = wall.streaks.at(k)
    blend(image, inside, SKIN_HU)
    blend(image, filled(edge + np.float32(skin_px)), wall.fat_hu + 9 * streaks)
    planes = np.exp(-(((cavity_mm - 20 - 2.5 * streaks) / 1.7) ** 2)) + 0.5 * np.exp(
        -(((cavity_mm - 31 - 5 * streaks) / 2.0) ** 2)
    )
    muscle = filled(wall.muscle.at(k)) * inside * (1 - 0.75 * np.minimum(planes, 1))
    blend(image, muscle, MUSCLE_HU + 8 * streaks)
    return cavity_mm


def cavity_shape(build: Build, z: Array) -> tuple[Array, Array, Array]:
    """Return half width, half depth and centre y of the cavity at reference heights; the back follows the spine."""
    up = np.clip((z - WIDEST_Z) / (build.apex - WIDEST_Z), 0, 1.1)
    down = np.clip((WIDEST_Z - z) / 100, 0, 1.2)
    half_width = HALF_WIDTH * (1 - 0.56 * up**2.4 - 0.03 * down**2)
    half_depth = build.half_depth * (1 - 0.56 * up**2.2 + 0.02 * down)
    return half_width, half_depth, spine_y(build, z) + GUTTER - half_depth


def distance_mm(implicit: Array) -> Array:
    """Turn an implicit surface into an approximate signed distance in mm by dividing by its slope."""
    gz, gy, gx = np.gradient(implicit, COARSE_STEP_MM)
    slope = np.sqrt(gz * gz + gy * gy + gx * gx)
    return (implicit / np.maximum(slope, 0.25 * np.median(slope))).astype(np.float32)


def ellipsoid_mm(frame: Frame, centre: tuple[float, float, float], semi_axes: tuple[float, float, float]) -> Array:
    """Return the approximate signed distance in mm to an ellipsoid given in reference mm."""
    parts = [
        (axis - np.float32(c)) / np.float32(s)
        for axis, c, s in zip((frame.x, frame.y, frame.z), centre, semi_axes, strict=True)
    ]
    radius = np.sqrt(parts[0] ** 2 + parts[1] ** 2 + parts[2] ** 2)
    slope = np.sqrt(sum((p / s) ** 2 for p, s in zip(parts, semi_axes, strict=True))) / np.maximum(radius, 1e-3)
    return (radius - 1) / np.maximum(slope, 1 / max(semi_axes)) * np.float32(frame.build.scale)


def _superellipse(u: Array, v: Array, power: float) -> Array:
    return (np.abs(u) ** power + np.abs(v) ** power) ** np.float32(1 / power)


def _cos_turn(u: Array, v: Array) -> Array:
    return np.clip(v / np.maximum(np.hypot(u, v), 1e-3), -1, 1).astype(np.float32)


def _body_mm(frame: Frame) -> Array:
    build = frame.build
    fat = build.fat / build.scale
    shoulders = _step((frame.z - 5) / 70)
    half_width = HALF_WIDTH + 20 + 10 * build.muscle + fat + 52 * shoulders
    deepest = cavity_shape(build, np.array(-60.0, dtype=np.float32))
    front = deepest[2] - deepest[1] - 23 - 0.9 * fat + 46 * _step((frame.z + 35) / 125)
    back = spine_y(build, frame.z) + 72 + 0.5 * fat
    half_depth, centre = (back - front) / 2, (back + front) / 2
    groove = 0.05 * np.exp(-((frame.x / 14) ** 2)) * (frame.y > centre)
    flat = _superellipse(frame.x / half_width, (frame.y - centre) / half_depth, 2.5) - 1 + groove
    outline = distance_mm(flat)
    if build.breast:
        size = build.breast
        for side in (-1, 1):
            y = float(np.mean(front)) + 6
            lump = ellipsoid_mm(frame, (side * 72, y, -48), (52 * size, 30 * size, 58 * size))
            outline = smooth_union(outline, lump, radius_mm=18.0)
    return outline


def _muscle_mm(frame: Frame, cavity_mm: Array, cos_turn: Array, body_mm: Array) -> Array:
    """Return the signed distance to muscle: layers on the rib cage, shoulder girdle and back."""
    build, z = frame.build, frame.z
    turn = np.arccos(cos_turn) / np.pi
    chest = _step((z + 45) / 40)  # arm muscles reach down to about this height
    pectoral = 14 * np.exp(-(((turn - 0.76) / 0.13) ** 2)) * chest
    latissimus = (6 + 7 * chest) * np.exp(-(((turn - 0.47) / 0.14) ** 2))
    scapular = 26 * np.exp(-(((turn - 0.25) / 0.12) ** 2)) * _step((z + 70) / 55)
    layers = cavity_mm - (RIB_CAGE_MM + build.muscle * (1.0 + pectoral + latissimus + scapular))
    spine = spine_y(build, z)
    parts: list[Array] = [layers]
    for side in (-1, 1):
        column = np.hypot((frame.x - side * 29) / 26, (frame.y - spine - 50) / 16) - 1
        parts.append((column * np.float32(18 * build.scale)).astype(np.float32))
        parts.append(ellipsoid_mm(frame, (side * 110, 36, 66), (46, 30, 42)))
        parts.append(ellipsoid_mm(frame, (side * 165, 16, 80), (44, 42, 56)))
    parts.append(ellipsoid_mm(frame, (0, 60, 92), (98, 22, 56)))
    parts.append(ellipsoid_mm(frame, (0, 22, 112), (58, 44, 46)))
    rim_mm = np.float32(max(3.5, 0.35 * build.fat))
    return smooth_cut(smooth_union(parts[0], *parts[1:], radius_mm=8.0), body_mm + rim_mm, radius_mm=6.0)


def _step(t: Array) -> Array:
    """Return a smooth step: 0 below 0, 1 above 1."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)
