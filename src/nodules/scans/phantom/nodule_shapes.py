"""Shape nodules (lobes, spikes, solid cores) and paint them on the voxel grid with exact partial volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nodules.scans.phantom.anatomy.canvas import Array, Canvas
from nodules.scans.phantom.anatomy.tubes import Tubes, tube_shares
from nodules.scans.phantom.nodules import Nodule

SUBSAMPLES_IN_PLANE = 3
SUBSAMPLE_Z_MM = 0.7
SPIKE_HU = 15.0
# A share of the small solid nodules without spikes are calcified granulomas, as bright as bone.
CALCIFIED_SHARE, CALCIFIED_HU, LARGEST_CALCIFIED_MM = 0.3, (120.0, 700.0), 14.0
DIRECTIONS = 2000  # for integrals over a bumpy shape
REACH_MARGIN = 1.04  # for bumps between two of the directions


@dataclass(frozen=True)
class Body:
    """A star-shaped body around a centre in thorax mm, optionally with spikes.

    The radius in direction u is `radius_mm` * (1 + sum of bumps a * exp(k * (u . axis - 1))) / stretch.
    """

    centre_xyz: Array
    radius_mm: float
    axes: Array  # (B, 3) unit vectors
    heights: Array  # (B,)
    sharpness: Array  # (B,)
    stretch: Array  # (3,)
    spikes: Tubes | None
    hu: float
    core_share: float  # radius of the solid core relative to the body; 1 for a solid nodule, 0 for none
    core_hu: float


def shape_nodule(nodule: Nodule, centre_xyz: Array, rng: np.random.Generator) -> Body:
    """Draw a body with the volume and the centroid of a sphere of the nodule's diameter at `centre_xyz`.

    The centroid counts because an annotation marks the middle of the readers' outlines, and bumps shift that middle.
    """
    bumps = {"round": 0, "lobulated": int(rng.integers(4, 8)), "spiculated": int(rng.integers(5, 9))}[nodule.shape]
    axes = rng.standard_normal((bumps, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True) if bumps else 1
    high = 0.7 if nodule.shape == "lobulated" else 0.5
    heights, sharpness = rng.uniform(0.2, high, bumps), rng.uniform(3, 11, bumps)
    stretch = np.exp(rng.normal(0, 0.06, 3))
    radius = nodule.diameter_mm / 2
    spikes = _spikes(radius, rng) if nodule.shape == "spiculated" else None
    volume = 4 / 3 * np.pi * radius**3 - (_outer_volume(spikes) if spikes else 0.0)
    unit = _relative_radius(_sphere(), axes, heights, sharpness, stretch)
    size = (volume / (4 / 3 * np.pi * float(np.mean(unit**3)))) ** (1 / 3)
    centre = (np.asarray(centre_xyz) - size * _centroid(unit)).astype(np.float32)
    hu, core_share, core_hu = _densities(nodule, rng)
    spikes = spikes.moved(centre) if spikes else None
    return Body(centre, size, axes, heights, sharpness, stretch, spikes, hu, core_share, core_hu)


def body_occupancy(canvas: Canvas, body: Body) -> tuple[tuple[slice, slice, slice], Array, Array] | None:
    """Return a box and the shares of its voxels inside the body and its core; None if the body is off the grid."""
    reach = _reach_mm(body)
    box, axes = [], []
    for axis, centre, spacing in zip(canvas.axes_mm, body.centre_xyz[::-1], canvas.spacing_zyx_mm, strict=True):
        hit = np.flatnonzero(np.abs(axis - centre) <= reach + spacing)
        if not len(hit):
            return None
        box.append(slice(int(hit[0]), int(hit[-1]) + 1))
        axes.append(axis[box[-1]] - centre)
    parts = [int(np.ceil(canvas.spacing_zyx_mm[0] / SUBSAMPLE_Z_MM)), SUBSAMPLES_IN_PLANE, SUBSAMPLES_IN_PLANE]
    fine = [
        (axis[:, None] + spacing * ((np.arange(n, dtype=np.float32) + 0.5) / n - 0.5)).ravel().astype(np.float32)
        for axis, spacing, n in zip(axes, canvas.spacing_zyx_mm, parts, strict=True)
    ]
    share = _fill(body, fine)
    shape = [v for axis, n in zip(axes, parts, strict=True) for v in (len(axis), n)]
    outer, core = (
        (share < limit).reshape(shape).mean(axis=(1, 3, 5), dtype=np.float32) for limit in (1, body.core_share)
    )
    return (box[0], box[1], box[2]), outer, core


def paint_nodules(hu_zyx: Array, canvas: Canvas, bodies: list[Body], rng: np.random.Generator) -> None:
    """Paint bodies in place; denser tissue, such as a vessel through ground glass, stays visible."""
    for body in bodies:
        found = body_occupancy(canvas, body)
        if found is None:
            continue
        box, outer, core = found
        view = hu_zyx[box]
        grain = 25 * rng.standard_normal(outer.shape, dtype=np.float32)
        view += outer * np.maximum(body.hu + grain * (body.hu < -100) - view, 0)
        view += core * np.maximum(body.core_hu - view, 0)
    spikes = [body.spikes for body in bodies if body.spikes is not None]
    if spikes:
        reached = tube_shares(canvas, Tubes.joined(spikes), rng)
        flat = hu_zyx.reshape(-1)
        flat[reached.voxels] += reached.shares * np.maximum(SPIKE_HU - flat[reached.voxels], 0)


def _reach_mm(body: Body) -> float:
    """Return the largest distance of the body's surface from its centre."""
    unit = _relative_radius(_sphere(), body.axes, body.heights, body.sharpness, body.stretch)
    return REACH_MARGIN * body.radius_mm * float(unit.max())


def _densities(nodule: Nodule, rng: np.random.Generator) -> tuple[float, float, float]:
    """Draw the HU of the body, the relative radius of the core and the HU of the core."""
    solid, calcified = float(rng.uniform(0, 90)), float(rng.uniform(*CALCIFIED_HU))
    may_be_calcified = nodule.shape != "spiculated" and nodule.diameter_mm <= LARGEST_CALCIFIED_MM
    if nodule.kind == "solid":
        hu = calcified if rng.random() < CALCIFIED_SHARE * may_be_calcified else solid
        return hu, 1.0, hu
    if nodule.kind == "part_solid":
        return float(rng.uniform(-560, -430)), float(rng.uniform(0.45, 0.7)), solid
    return float(rng.uniform(-650, -450)), 0.0, solid


def _centroid(radius: Array) -> Array:
    """Return the centroid (x, y, z) of a star-shaped body around 0 with these radii (DIRECTIONS,) along `_sphere`.

    A cone with solid angle dw has the volume r^3 dw / 3, and its centroid lies at 3/4 of its length.
    """
    moment: Array = 0.75 * np.mean(radius[:, None] ** 4 * _sphere(), axis=0) / np.mean(radius**3)
    return moment


def _spikes(radius: float, rng: np.random.Generator) -> Tubes:
    """Draw thin cones that start inside a body around 0 and leave it in all directions."""
    n = int(rng.uniform(6, 12) + 4.5 * radius)  # enough for every slice through a large nodule to cross some
    away = rng.standard_normal((n, 3)).astype(np.float32)
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    length = radius * rng.uniform(0.15, 0.7, (n, 1)).astype(np.float32) + 2.0
    start, end = 0.75 * radius * away, (0.95 * radius + length) * away
    bend = (start + end) / 2 + 0.12 * radius * rng.standard_normal((n, 3)).astype(np.float32)
    thick = rng.uniform(0.5, 1.0, n).astype(np.float32) * np.float32(min(1.2, 0.5 + radius / 14))
    return Tubes(start, bend, end, thick, np.full(n, 0.25, dtype=np.float32))


def _outer_volume(spikes: Tubes) -> float:
    """Return the volume of the spikes outside the body in mm3, about four fifths of the cones."""
    length = np.linalg.norm(spikes.end - spikes.start, axis=1)
    r0, r1 = spikes.start_radius, spikes.end_radius
    return float(0.8 * np.sum(np.pi / 3 * length * (r0 * r0 + r0 * r1 + r1 * r1)))


def _fill(body: Body, fine: list[Array]) -> Array:
    """Return the distance from the centre, relative to the radius in that direction, on the fine grid (Z, Y, X)."""
    z, y, x = np.meshgrid(*fine, indexing="ij")
    points = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    distance = np.sqrt(np.einsum("ij,ij->i", points, points)) + np.float32(1e-4)
    share = np.full(len(points), 9.0, dtype=np.float32)
    near = np.flatnonzero(distance < _reach_mm(body))
    unit = points[near] / distance[near, None]
    radius = body.radius_mm * _relative_radius(unit, body.axes, body.heights, body.sharpness, body.stretch)
    share[near] = distance[near] / radius
    return share.reshape(x.shape)


def _relative_radius(unit: Array, axes: Array, heights: Array, sharpness: Array, stretch: Array) -> Array:
    radius = np.ones(len(unit), dtype=np.float32)
    for axis, height, sharp in zip(axes, heights, sharpness, strict=True):
        radius += np.float32(height) * np.exp(np.float32(sharp) * (unit @ axis.astype(unit.dtype) - 1))
    return radius / np.sqrt(np.einsum("ij,j->i", unit * unit, np.asarray(stretch * stretch, dtype=unit.dtype)))


def _sphere() -> Array:
    """Return evenly spread unit vectors (DIRECTIONS, 3) on a Fibonacci lattice."""
    i = np.arange(DIRECTIONS) + 0.5
    z, turn = 1 - 2 * i / DIRECTIONS, np.pi * (1 + np.sqrt(5)) * i
    flat = np.sqrt(1 - z * z)
    return np.stack([flat * np.cos(turn), flat * np.sin(turn), z], axis=-1).astype(np.float32)
