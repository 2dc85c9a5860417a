"""Grow branching pulmonary arteries and veins that taper towards the pleura, and airways beside the arteries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodules.scans.phantom.anatomy.build import Frame
from nodules.scans.phantom.anatomy.canvas import COARSE_STEP_MM, Array
from nodules.scans.phantom.anatomy.lungs import Lungs
from nodules.scans.phantom.anatomy.mediastinum import AZYGOS, NECK_VESSELS, TRACHEA, VEINS
from nodules.scans.phantom.anatomy.tubes import Tubes

TERMINAL_STEP_MM = 8.4  # distance between the ends of neighbouring visible branches
BARE_RIM_MM = 3.0  # outer rim of the lung in which CT shows hardly any vessels
TERMINAL_RADIUS_MM = 0.62
MURRAY_POWER = 2.7  # flow is proportional to this power of the radius: 3 by Murray (1926), somewhat less in lungs
PATH_WEIGHT, TURN_WEIGHT = 0.18, 1.2
LARGEST_RADIUS_MM = 8.5

# Stems in reference mm: (parent, x, y, z); parent -1 is the hilum itself. Arteries, then veins.
STEMS = {
    ("right", "artery"): (
        (-1, -44, 8, -16), (0, -50, 2, 4), (1, -56, 4, 28), (0, -52, 18, -36), (3, -58, 26, -62), (4, -64, 32, -88),
        (3, -62, -12, -46), (2, -58, 12, 48),
    ),
    ("left", "artery"): (
        (-1, 48, 16, -6), (0, 54, 6, 14), (1, 58, 4, 36), (0, 54, 28, -28), (3, 60, 32, -58), (4, 66, 36, -88),
        (0, 62, -14, -30), (2, 56, 14, 52),
    ),
    ("right", "vein"): ((-1, -44, 10, -34), (0, -52, -12, -8), (1, -56, -14, 16), (0, -48, 26, -58), (3, -58, 36, -84)),
    ("left", "vein"): ((-1, 46, 8, -24), (0, 54, -12, 2), (1, 58, -14, 24), (0, 50, 28, -60), (3, 62, 40, -86)),
}  # fmt: skip
BRONCHI = (
    ((1, 10, 10, 8), (2, 12, 2, 8), (-14, 14, -10, 7.4), (-34, 16, -20, 6.8), (-42, 20, -34, 5.8), (-50, 26, -58, 4.6)),
    ((1, 10, 10, 8), (2, 12, 2, 8), (18, 16, -14, 6.8), (38, 22, -26, 6.4), (48, 28, -36, 5.2), (54, 34, -58, 4.2)),
    ((-32, 15, -18, 5), (-46, 12, -8, 4.4), (-52, 10, 6, 3.6)),
    ((38, 21, -25, 5), (50, 12, -16, 4.4), (56, 6, 2, 3.6)),
)
WALL_SHARE, THINNEST_WALL_MM = 0.12, 0.55  # an airway wall is the thinnest wall plus this share of the radius


@dataclass(frozen=True)
class Vessels:
    """All tubes of the lungs, with their branching points, where false candidates are placed."""

    blood: Tubes
    airway: Tubes  # lumen
    airway_outside: Tubes
    branch_points: Array  # (N, 3) thorax mm
    branch_radii: Array  # (N,) mm


def grow_vessels(lungs: Lungs, rng: np.random.Generator) -> Vessels:
    """Grow arteries and veins into both lungs and add the airways."""
    blood, airways, points, radii = [], [], [], []
    for side in ("right", "left"):
        ends = _terminals(lungs, side, rng)
        for part, kind in enumerate(("artery", "vein")):
            nodes, parents = _grow(lungs.frame, STEMS[side, kind], ends[part::2])
            radius = _murray(parents) * np.float32(lungs.frame.build.vascularity)
            tubes = _curves(nodes, parents, radius)
            blood.append(tubes)
            points.append(nodes[8:])
            radii.append(radius[8:])
            if kind == "artery":
                airways.append(_bronchi(tubes))
    frame = lungs.frame
    blood += [Tubes.through(frame, path) for path in (*NECK_VESSELS, *VEINS, AZYGOS)]
    airways += [Tubes.through(frame, path) for path in (TRACHEA, *BRONCHI)]
    lumen = Tubes.joined(airways)
    outside = lumen.widened(1 + WALL_SHARE, THINNEST_WALL_MM)
    return Vessels(Tubes.joined(blood), lumen, outside, np.concatenate(points), np.concatenate(radii))


def _terminals(lungs: Lungs, side: str, rng: np.random.Generator) -> Array:
    """Draw evenly scattered branch ends (N, 3), in random order, away from the pleura and the fissures."""
    canvas = lungs.frame.canvas
    axes = [np.arange(a[0], a[-1], TERMINAL_STEP_MM, dtype=np.float32) for a in canvas.coarse_axes_mm[::-1]]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    grid = grid + rng.uniform(-0.5, 0.5, grid.shape).astype(np.float32) * np.float32(TERMINAL_STEP_MM)
    depth = -canvas.coarse_values(lungs.outline_mm[side], grid)
    fissure = np.abs(canvas.coarse_values(lungs.oblique_mm, grid))
    if side == "right":
        above = canvas.coarse_values(lungs.oblique_mm, grid) > 0
        fissure = np.where(above, np.minimum(fissure, np.abs(canvas.coarse_values(lungs.minor_mm, grid))), fissure)
    keep = (depth > BARE_RIM_MM * rng.uniform(0.6, 1.4, len(grid))) & (fissure > 3)
    return rng.permutation(grid[keep])


def _grow(frame: Frame, stem: tuple[tuple[int, ...], ...], ends: Array) -> tuple[Array, NDArray[np.intp]]:
    """Connect all ends to the stem, nearest first, each to the node with the least cost in length and turning."""
    table = np.array(stem, dtype=np.float32)
    first = frame.to_thorax(table[:, 1:])
    n = len(first) + len(ends)
    nodes = np.empty((n, 3), dtype=np.float32)
    parents = np.full(n, -1, dtype=np.intp)
    heading, path = np.zeros((n, 3), dtype=np.float32), np.zeros(n, dtype=np.float32)
    order = np.argsort(np.min(np.linalg.norm(ends[:, None] - first[None], axis=2), axis=1), kind="stable")
    for i, place in enumerate(np.concatenate([first, ends[order]])):
        nodes[i] = place
        if i < len(first):
            parent = int(table[i, 0])
        else:
            away = place - nodes[:i]
            length = np.sqrt(np.einsum("ij,ij->i", away, away)) + np.float32(1e-3)
            straight = np.einsum("ij,ij->i", away, heading[:i]) / length
            parent = int(np.argmin(length * (1 + TURN_WEIGHT * (1 - straight)) + PATH_WEIGHT * path[:i]))
        if parent >= 0:
            step = place - nodes[parent]
            size = float(np.linalg.norm(step)) + 1e-3
            parents[i], path[i], heading[i] = parent, path[parent] + size, step / size
    return nodes, parents


def _murray(parents: NDArray[np.intp]) -> Array:
    """Return the radius of the branch that ends in each node, by Murray's law."""
    flow = np.zeros(len(parents))
    for i in range(len(parents) - 1, 0, -1):
        flow[i] = flow[i] or TERMINAL_RADIUS_MM**MURRAY_POWER
        if parents[i] >= 0:
            flow[parents[i]] += flow[i]
    return np.minimum(flow ** (1 / MURRAY_POWER), LARGEST_RADIUS_MM).astype(np.float32)


def _curves(nodes: Array, parents: NDArray[np.intp], radius: Array) -> Tubes:
    """Return one curved tube per branch, which leaves its parent between the parent's direction and its own."""
    child = np.flatnonzero(parents >= 0)
    parent = parents[child]
    step = nodes[child] - nodes[parent]
    length = np.linalg.norm(step, axis=1, keepdims=True)
    grand = np.where(parents[parent] >= 0, parents[parent], parent)
    heading = nodes[parent] - nodes[grand]
    heading = heading / np.maximum(np.linalg.norm(heading, axis=1, keepdims=True), 1e-3)
    leave = 0.55 * heading + 0.45 * step / np.maximum(length, 1e-3)
    control = nodes[parent] + leave * length * 0.45
    start_radius = np.minimum(radius[parent], 1.25 * radius[child])
    return Tubes(nodes[parent], control.astype(np.float32), nodes[child], start_radius, radius[child])


def _bronchi(arteries: Tubes) -> Tubes:
    """Return the bronchi (lumen) beside the larger arteries; CT does not show smaller ones."""
    radius = np.minimum(arteries.start_radius, arteries.end_radius)
    large = np.flatnonzero((radius > 2.0) & (radius < 5.0))
    outward = np.array([[0.25, 0.85, 0.45]], dtype=np.float32)
    shift = outward * (1.9 * radius[large, None] + 0.6)
    lumen = 0.68 * radius[large]
    start, control, end = (v[large] + shift for v in (arteries.start, arteries.control, arteries.end))
    return Tubes(start, control, end, lumen, lumen * np.float32(0.9))


def lung_points(lungs: Lungs, rng: np.random.Generator, number: int) -> Array:
    """Draw points (N, 3) inside the lungs, in thorax mm."""
    found = []
    for side in ("right", "left"):
        cells = np.argwhere(lungs.outline_mm[side] < -4)
        if len(cells):
            chosen = cells[rng.integers(len(cells), size=number)]
            axes = lungs.frame.canvas.coarse_axes_mm
            zyx = np.stack([axis[chosen[:, i]] for i, axis in enumerate(axes)], axis=-1)
            found.append(zyx[:, ::-1] + rng.uniform(-0.5, 0.5, zyx.shape) * COARSE_STEP_MM)
    points = np.concatenate(found) if found else np.zeros((0, 3))
    return rng.permutation(points)[:number].astype(np.float32)
