"""Place each nodule in its lobe: isolated, on a vessel or on the pleura, clear of the other nodules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodules.scans.phantom.anatomy.canvas import COARSE_STEP_MM, Array
from nodules.scans.phantom.anatomy.lungs import Lungs, lobe_at
from nodules.scans.phantom.anatomy.vessels import Vessels
from nodules.scans.phantom.nodules import Nodule

TRIES = 1500
CLEARANCE_MM = 4.0


@dataclass(frozen=True)
class Place:
    """Centre of a nodule in thorax mm, and its attachment."""

    centre_xyz: Array
    attachment: str


def place_nodules(nodules: Sequence[Nodule], lungs: Lungs, vessels: Vessels, rng: np.random.Generator) -> list[Place]:
    """Find a place for every nodule, in the given order.

    If its lobe has no free place for its attachment, a nodule takes the deepest free place there and counts as
    isolated. No nodule is left out.
    """
    places: list[Place] = []
    for i, nodule in enumerate(nodules):
        radius = nodule.diameter_mm / 2
        taken = [(p.centre_xyz, n.diameter_mm / 2) for p, n in zip(places, nodules[:i], strict=True)]
        points, depth = _candidates(nodule, lungs, vessels, rng)
        free = _free(points, radius, taken)
        suited = free & _suits_attachment(nodule, depth)
        if suited.any():
            places.append(Place(points[int(np.argmax(suited))], nodule.attachment))
        else:
            inner, inner_depth = _candidates(nodule, lungs, None, rng)
            score = inner_depth + 1000 * _free(inner, radius, taken)
            places.append(Place(inner[int(np.argmax(score))], "isolated"))
    return places


def _candidates(nodule: Nodule, lungs: Lungs, vessels: Vessels | None, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw points (N, 3) in the nodule's lobe; also return their depth (N,) under the lung surface in mm."""
    side = "right" if nodule.lobe.startswith("right") else "left"
    if vessels is not None and nodule.attachment == "vessel":
        points = _at_vessels(nodule, vessels, rng)
    else:
        points = _in_lung(lungs, side, 1.5, rng)
    depth = -lungs.frame.canvas.coarse_values(lungs.outline_mm[side], points)
    lobe = np.array(lobe_at(lungs, side, points), dtype=str)
    keep = (lobe == nodule.lobe) & (depth > 0.5) & _in_view(lungs, points)
    if not keep.any():  # the lobe is out of view: use the same lung
        points = _in_lung(lungs, side, 0.0, rng)
        depth = -lungs.frame.canvas.coarse_values(lungs.outline_mm[side], points)
        keep = _in_view(lungs, points)
        keep = keep if keep.any() else np.ones(len(points), dtype=bool)
    return points[keep], depth[keep]


def _in_lung(lungs: Lungs, side: str, deeper_than_mm: float, rng: np.random.Generator) -> Array:
    outline = lungs.outline_mm[side]
    cells = np.argwhere(outline < -deeper_than_mm)
    cells = cells if len(cells) else np.argwhere(outline <= outline.min())
    chosen = cells[rng.integers(len(cells), size=TRIES)]
    axes = lungs.frame.canvas.coarse_axes_mm
    points = np.stack([axes[2][chosen[:, 2]], axes[1][chosen[:, 1]], axes[0][chosen[:, 0]]], axis=-1)
    return (points + rng.uniform(-0.5, 0.5, points.shape) * COARSE_STEP_MM).astype(np.float32)


def _at_vessels(nodule: Nodule, vessels: Vessels, rng: np.random.Generator) -> Array:
    fit = np.flatnonzero((vessels.branch_radii > 0.7) & (vessels.branch_radii < 2.5))
    fit = fit if len(fit) else np.arange(len(vessels.branch_radii))
    chosen = fit[rng.integers(len(fit), size=TRIES)]
    away = rng.standard_normal((TRIES, 3)).astype(np.float32)
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    distance = 0.8 * nodule.diameter_mm / 2 + vessels.branch_radii[chosen, None]
    return (vessels.branch_points[chosen] + away * distance).astype(np.float32)


def _in_view(lungs: Lungs, points: Array) -> NDArray[np.bool_]:
    """Return whether points lie on the grid and inside the round field of view."""
    canvas = lungs.frame.canvas
    z, y, x = canvas.axes_mm
    centre_y, centre_x = (y[0] + y[-1]) / 2, (x[0] + x[-1]) / 2
    inside = np.hypot(points[:, 0] - centre_x, points[:, 1] - centre_y) < 0.47 * min(np.ptp(x), np.ptp(y))
    return inside & (points[:, 2] > z[0] + 2) & (points[:, 2] < z[-1] - 2)


def _free(points: Array, radius: float, taken: list[tuple[Array, float]]) -> NDArray[np.bool_]:
    free = np.ones(len(points), dtype=bool)
    for centre, other in taken:
        free &= np.linalg.norm(points - centre, axis=1) > radius + other + CLEARANCE_MM
    return free


def _suits_attachment(nodule: Nodule, depth: Array) -> NDArray[np.bool_]:
    radius = nodule.diameter_mm / 2
    if nodule.attachment == "pleura":
        return np.abs(depth - 0.85 * radius) < 0.12 * radius + 0.3
    return depth > radius + (2.5 if nodule.attachment == "isolated" else 1.0)
